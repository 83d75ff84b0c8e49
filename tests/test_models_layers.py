import pytest
import torch
from tiny_models import N_LAYERS, VOCAB, llama_config
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BartConfig,
    BartForConditionalGeneration,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from lensbank.models.capture import capture_hidden_states
from lensbank.models.layers import LAYOUTS, check_layers, find_language_model
from lensbank.schemas.errors import LayerError, UnsupportedModelError

# Small for every family; each configuration takes the names it knows.
SIZES = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
SPECIAL = {
    "gpt2": dict(n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "gptj": dict(n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=8),
    "codegen": dict(n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=8),
    "gpt_neo": dict(hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]),
    "mpt": dict(d_model=32, n_layers=2, n_heads=4, max_seq_len=64),
    "bloom": dict(hidden_size=32, n_layer=2, n_head=4),
    "opt": dict(ffn_dim=48, word_embed_proj_dim=32),
    "gemma2": dict(head_dim=8, final_logit_softcapping=3.0),
    "gemma3_text": dict(head_dim=8, final_logit_softcapping=3.0),
    "cohere": dict(logit_scale=0.25),
    "granite": dict(logits_scaling=8.0),
    "phi3": dict(pad_token_id=0),
}
OLD_NAMES = ("gpt2", "gptj", "codegen", "gpt_neo", "mpt", "bloom")
EXPERTS = dict(
    num_experts=2,
    num_local_experts=2,
    num_experts_per_tok=1,
    moe_intermediate_size=16,
    shared_expert_intermediate_size=16,
)
HEAD_OF_8 = ("gpt_oss", "glm", "glm4", "helium", "exaone4", "mixtral", "ministral", "nemotron", "qwen3_moe")


def tiny(kind):
    torch.manual_seed(0)
    sizes = dict(vocab_size=64, bos_token_id=1, eos_token_id=2) if kind in OLD_NAMES else dict(SIZES)
    sizes |= SPECIAL.get(kind, {})
    if "moe" in kind or kind in ("mixtral", "gpt_oss"):
        sizes |= EXPERTS
    if kind in HEAD_OF_8:
        sizes["head_dim"] = 8
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes), attn_implementation="eager").eval()


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_listed_architecture_agrees_with_its_own_forward_pass(kind):
    """Blocks, norm, unembedding and logit scaling are the model's own, for the whole table."""
    model = tiny(kind)
    with torch.no_grad():  # else the logits are too small for a soft cap to show
        model.get_output_embeddings().weight.normal_()
    lm = find_language_model(model)
    assert (lm.n_layers, lm.dim, lm.vocab_size) == (2, 32, 64)
    ids = torch.tensor([[5, 9, 3, 7, 11]])
    with torch.inference_mode():
        expected = model(input_ids=ids, output_hidden_states=True)
        with capture_hidden_states(lm, [0, 1, 2]) as states:
            lm.module(input_ids=ids, use_cache=False)
        torch.testing.assert_close(states[0], expected.hidden_states[0])
        torch.testing.assert_close(states[1], expected.hidden_states[1])
        torch.testing.assert_close(lm.logits(states[2]), expected.logits)
        bare = lm.unembed(lm.final_norm(states[2]))
    scaled = kind in ("gemma2", "gemma3_text", "cohere", "cohere2", "granite")
    assert torch.allclose(bare, expected.logits, rtol=0.05) != scaled


def test_opt_that_projects_its_output_down():
    """OPT-350m: no final norm, but projections in and out of a narrower embedding."""
    config = OPTConfig(**{**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False})
    model = OPTForCausalLM(config).eval()
    lm = find_language_model(model)
    ids = torch.tensor([[5, 9, 3]])
    with torch.inference_mode():
        with capture_hidden_states(lm, [2]) as states:
            lm.module(input_ids=ids, use_cache=False)
        torch.testing.assert_close(lm.logits(states[2]), model(input_ids=ids).logits)


def test_the_embedding_and_unembedding_are_the_model_s():
    model = LlamaForCausalLM(llama_config())
    lm = find_language_model(model)
    assert lm.embed_tokens is model.model.embed_tokens
    assert lm.unembed is model.lm_head
    assert lm.final_norm is model.model.norm
    assert (lm.n_layers, lm.vocab_size) == (N_LAYERS, VOCAB)


def test_an_encoder_decoder_is_refused():
    config = BartConfig(
        vocab_size=64, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_attention_heads=2, decoder_ffn_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="encoder-decoder"):
        find_language_model(BartForConditionalGeneration(config))


def test_an_unlisted_architecture_is_discovered(monkeypatch):
    monkeypatch.delitem(LAYOUTS, "llama")
    model = LlamaForCausalLM(llama_config())
    lm = find_language_model(model)
    assert lm.blocks is model.model.layers
    assert lm.final_norm is model.model.norm


def test_discovery_refuses_what_it_cannot_tell_apart(monkeypatch):
    monkeypatch.delitem(LAYOUTS, "llama")
    model = LlamaForCausalLM(llama_config())
    model.model.other_norm = torch.nn.LayerNorm(8)
    with pytest.raises(UnsupportedModelError, match=r"'llama' is not known.*'norm', 'other_norm'.*LAYOUTS"):
        find_language_model(model)
    model = LlamaForCausalLM(llama_config())
    model.model.more_layers = torch.nn.ModuleList(torch.nn.Identity() for _ in range(N_LAYERS))
    with pytest.raises(UnsupportedModelError, match=r"one list of 3 blocks, found \['layers', 'more_layers'\]"):
        find_language_model(model)


def test_layers_are_sorted_and_unique():
    assert check_layers([3, 0, 3, 1], 3) == (0, 1, 3)


@pytest.mark.parametrize(("layers", "named"), [([4], "4"), ([-1, 2], "-1"), ([5, 9, 1], "5, 9")])
def test_a_layer_that_does_not_exist_names_the_range(layers, named):
    with pytest.raises(
        LayerError, match=rf"Layer {named} does not exist.*3 blocks.*0 \(input embedding\) to 3"
    ) as caught:
        check_layers(layers, 3)
    assert caught.value.exit_code == 2


def test_no_layer_at_all_is_an_error():
    with pytest.raises(LayerError, match="0 to 3"):
        check_layers([], 3)
