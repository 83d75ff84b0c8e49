import dataclasses

import pytest
import torch
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
)

from lensbank.models.layers import LAYOUTS, find_language_model
from lensbank.models.verification import verify_language_model, with_own_logits
from lensbank.schemas.errors import UnsupportedModelError


@pytest.fixture
def lm():
    torch.manual_seed(0)
    return find_language_model(LlamaForCausalLM(llama_config(initializer_range=0.3)).eval())


def test_a_sound_model_passes(lm):
    verify_language_model(lm)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_sound_model_passes_in_half_precision(lm, dtype):
    lm.module.to(dtype)
    verify_language_model(lm)


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
    assert find_language_model(inside).logit_softcap == find_language_model(alone).logit_softcap == 0.5
    assert with_own_logits(find_language_model(inside), inside).logit_softcap is None
    assert with_own_logits(find_language_model(alone), alone).logit_softcap == 0.5


def test_logits_that_come_from_elsewhere_are_refused(lm):
    model = LlamaForCausalLM(llama_config(initializer_range=0.3)).eval()
    inside = find_language_model(model)
    other = dataclasses.replace(inside, unembed=nn.Linear(inside.dim, VOCAB))
    assert with_own_logits(inside, model) == inside
    with pytest.raises(UnsupportedModelError, match="logits of LlamaForCausalLM are not those of its last state"):
        with_own_logits(other, model)
