import dataclasses

import pytest
import torch
from tiny_models import VOCAB, llama_config
from torch import nn
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaForCausalLM,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from models.layers import LAYOUTS, find_language_model
from models.verification import verify_language_model
from schemas.errors import UnsupportedModelError


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
