import dataclasses

import pytest
import torch
import transformers
from tiny_models import VOCAB, llama_config
from torch import nn
from transformers import (
    CLIPVisionConfig,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)

from lensbank.models.capture import capture_hidden_states
from lensbank.models.layers import LAYOUTS, find_language_model
from lensbank.models.loading import load_model
from lensbank.models.verification import verify_language_model, with_own_logits
from lensbank.schemas.errors import ModelError, UnsupportedModelError


def require_finite(lm):
    """What is NaN on both sides counts as equal: a check that passes must have compared numbers."""
    with torch.inference_mode(), capture_hidden_states(lm, range(lm.n_layers + 1)) as states:
        lm.module(input_ids=torch.tensor([[3, 1, 4, 1, 5]]), use_cache=False)
    assert len(states) == lm.n_layers + 1
    for layer, hidden in states.items():
        assert hidden.isfinite().all() and hidden.abs().max() > 0, layer
        assert lm.logits(hidden).isfinite().all(), layer


@pytest.fixture
def lm():
    torch.manual_seed(0)
    return find_language_model(LlamaForCausalLM(llama_config(initializer_range=0.3)).eval())


def test_a_sound_model_passes(lm):
    require_finite(lm)
    verify_language_model(lm)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_sound_model_passes_in_half_precision(lm, dtype):
    model = dataclasses.replace(lm, module=lm.module.to(dtype), unembed=lm.unembed.to(dtype))
    require_finite(model)
    verify_language_model(model)


def test_the_wrong_norm_is_noticed(lm):
    wrong = dataclasses.replace(lm, final_norm=nn.Identity())
    with pytest.raises(UnsupportedModelError, match="'llama' does not end in the norm"):
        verify_language_model(wrong)


def gemma(**settings):
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.3,
        **settings,
    )
    return find_language_model(Gemma3ForCausalLM(config).eval())


def test_a_model_with_the_mask_taken_away_is_noticed():
    """As embedding models are made of language models: one setting, the same architecture."""
    require_finite(gemma())
    verify_language_model(gemma())
    with pytest.raises(UnsupportedModelError, match="'gemma3_text' model is not causal"):
        verify_language_model(gemma(use_bidirectional_attention=True))


def test_the_language_model_of_qwen_vl_is_discovered():
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=48, num_attention_heads=4)
    config = Qwen2_5_VLConfig(
        text_config=dict(
            **sizes,
            num_hidden_layers=2,
            num_key_value_heads=2,
            vocab_size=VOCAB,
            rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2]},
            bos_token_id=0,
            eos_token_id=3,
        ),
        vision_config=dict(depth=1, hidden_size=32, num_heads=4, intermediate_size=32, out_hidden_size=32),
    )
    lm = find_language_model(Qwen2_5_VLForConditionalGeneration(config).eval())
    assert lm.module.config.model_type not in LAYOUTS
    assert lm.n_layers == 2
    require_finite(lm)
    verify_language_model(lm)


def test_a_vlm_that_does_not_apply_its_language_model_s_cap_is_found_out():
    """Gemma 2 caps its logits; inside LLaVA nobody does."""
    torch.manual_seed(0)
    text = Gemma2Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, initializer_range=0.3, final_logit_softcapping=0.5,
    )  # fmt: skip
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    inside = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text)).eval()
    alone = Gemma2ForCausalLM(text).eval()
    require_finite(find_language_model(inside))
    require_finite(find_language_model(alone))
    assert find_language_model(inside).logit_softcap == find_language_model(alone).logit_softcap == 0.5
    assert with_own_logits(find_language_model(inside), inside).logit_softcap is None
    assert with_own_logits(find_language_model(alone), alone).logit_softcap == 0.5


def test_logits_that_come_from_elsewhere_are_refused(lm):
    model = LlamaForCausalLM(llama_config(initializer_range=0.3)).eval()
    inside = find_language_model(model)
    other = dataclasses.replace(inside, unembed=nn.Linear(inside.dim, VOCAB))
    assert with_own_logits(inside, model) == inside
    with pytest.raises(UnsupportedModelError, match="logits of LlamaForCausalLM differ from its last state"):
        with_own_logits(other, model)


@pytest.mark.parametrize("place", ["norm", "state"])
def test_nan_on_one_side_is_noticed(lm, place):
    """Here what was found gives NaN where the model does not, and the other way round."""

    class Broken(nn.Module):
        def forward(self, states):
            return states * float("nan")

    if place == "norm":
        lm = dataclasses.replace(lm, final_norm=Broken())
    else:
        lm.module.norm.register_forward_hook(lambda _m, _i, output: output * float("nan"))
        lm = dataclasses.replace(lm, final_norm=nn.Identity())
    with pytest.raises(UnsupportedModelError, match="does not end in the norm"):
        verify_language_model(lm)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1.0, 0.01])
def test_a_soft_cap_that_nobody_knows_is_noticed(dtype, size):
    """RecurrentGemma calls it `logits_soft_cap`; at ordinary sizes it moves logits less than 16 bits round them."""
    torch.manual_seed(0)
    config = RecurrentGemmaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=1, lru_width=32, attention_window_size=32, logits_soft_cap=30.0,
    )  # fmt: skip
    model = RecurrentGemmaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(size)
    model.to(dtype)
    lm = find_language_model(model)
    require_finite(lm)
    verify_language_model(lm)
    with pytest.raises(UnsupportedModelError, match="logits of RecurrentGemmaForCausalLM differ from"):
        with_own_logits(lm, model)
    known = dataclasses.replace(lm, logit_softcap=30.0)
    assert with_own_logits(known, model) == known


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_ordinary_heads_pass_in_every_precision(lm, dtype):
    model = LlamaForCausalLM(llama_config(initializer_range=0.3)).eval().to(dtype)
    inside = find_language_model(model)
    assert with_own_logits(inside, model) == inside
    assert not inside.final_norm._forward_hooks  # what was hooked in for the comparison is gone


def test_a_model_whose_own_code_fails_is_said_to(tiny_llm, monkeypatch):
    """A configuration may contradict itself in ways that show only when the model runs."""
    monkeypatch.setattr(transformers.LlamaModel, "forward", lambda self, **_: torch.zeros(2, 3) + torch.zeros(4))
    with pytest.raises(ModelError, match="'llama' model fails on a text of five tokens: The size of tensor a"):
        load_model(str(tiny_llm), dtype="float32")
