import dataclasses

import pytest
import torch
from tiny_models import VOCAB, llama_config
from torch import nn
from transformers import LlamaForCausalLM, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from models.layers import LAYOUTS, find_language_model
from models.verification import verify_language_model
from schemas.errors import UnsupportedModelError


@pytest.fixture
def discovered(monkeypatch):
    """A language model that is found by discovery, as an architecture outside the table is."""
    monkeypatch.delitem(LAYOUTS, "llama")
    torch.manual_seed(0)
    model = LlamaForCausalLM(llama_config(initializer_range=0.3)).eval()
    return find_language_model(model)


def test_a_sound_discovery_passes(discovered):
    assert not discovered.verified
    verify_language_model(discovered)


def test_the_wrong_norm_is_noticed(discovered):
    wrong = dataclasses.replace(discovered, final_norm=nn.Identity())
    with pytest.raises(UnsupportedModelError, match="'llama' does not end in the norm"):
        verify_language_model(wrong)


def test_a_model_that_looks_ahead_is_noticed(discovered):
    for block in discovered.blocks:
        block.self_attn.is_causal = False
    discovered.module.config._attn_implementation = "eager"
    original = discovered.module.forward

    def forward(input_ids, **kwargs):
        everything = torch.zeros(1, 1, input_ids.shape[1], input_ids.shape[1])
        return original(input_ids=input_ids, attention_mask=everything, **kwargs)

    discovered.module.forward = forward
    with pytest.raises(UnsupportedModelError, match="'llama' is not causal"):
        verify_language_model(discovered)


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
    assert not lm.verified
    assert lm.n_layers == 2
    verify_language_model(lm)
