import pytest
import torch
from tiny_models import llama_config, save_fastvlm, save_text_model, tiny_tokenizer
from transformers import AutoTokenizer, LlamaForCausalLM

from lensbank.models.fingerprints import tokenizer_fingerprint, weights_fingerprint
from lensbank.models.layers import find_language_model
from lensbank.models.loading import load_model


def make(seed=0, **overrides):
    torch.manual_seed(seed)
    return LlamaForCausalLM(llama_config(**overrides))


def fingerprint(model):
    return weights_fingerprint(find_language_model(model))


def test_float32_and_bfloat16_loads_agree(tmp_path):
    source = str(save_text_model(tmp_path / "model"))
    prints = [load_model(source, dtype=dtype).weights for dtype in ("float32", "bfloat16")]
    assert prints[0] == prints[1]
    assert len(prints[0]) == 64


def test_a_text_model_and_a_vlm_with_the_same_language_model_agree(tmp_path):
    vlm = load_model(str(save_fastvlm(tmp_path / "vlm")), dtype="float32")
    text = LlamaForCausalLM(llama_config())
    text.model.load_state_dict(vlm.lm.module.state_dict())
    text.lm_head.load_state_dict(vlm.lm.unembed.state_dict())
    assert fingerprint(text) == vlm.weights
    assert fingerprint(make(seed=5)) != vlm.weights


def test_every_single_tensor_counts():
    model = make()
    seen = {fingerprint(model)}
    for number, (name, parameter) in enumerate(model.named_parameters(), start=1):
        with torch.no_grad():
            parameter.mul_(1.5)
        seen.add(fingerprint(model))
        assert len(seen) == number + 1, name


@pytest.mark.parametrize("column", [0, 3, 63])
def test_one_column_of_a_large_matrix_counts(column):
    """512 x 64 values sampled 4,096 times: a plain stride of 8 would never read column 3."""
    model = make(hidden_size=64, vocab_size=512, num_attention_heads=4)
    before = fingerprint(model)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, column] += 1
    assert fingerprint(model) != before


def test_tied_and_untied_equal_embeddings_agree():
    tied = make(tie_word_embeddings=True)
    untied = make()
    untied.load_state_dict({**tied.state_dict(), "lm_head.weight": tied.model.embed_tokens.weight.clone()})
    assert fingerprint(tied) == fingerprint(untied)


def test_other_shapes_of_the_same_values_differ():
    model = make()
    before = fingerprint(model)
    weight = model.model.layers[0].mlp.up_proj.weight
    weight.data = weight.data.reshape(32, 48)
    assert fingerprint(model) != before


def test_padding_and_truncation_do_not_change_a_tokenizer():
    tokenizer = tiny_tokenizer()
    before = tokenizer_fingerprint(tokenizer)
    tokenizer.padding_side = "left"
    tokenizer(["a b c d", "a"], padding=True, truncation=True, max_length=3)
    assert tokenizer.backend_tokenizer.padding is not None
    assert tokenizer_fingerprint(tokenizer) == before


def test_a_saved_tokenizer_is_the_same(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_fingerprint(AutoTokenizer.from_pretrained(tmp_path)) == tokenizer_fingerprint(tokenizer)


def test_bos_and_added_tokens_make_another_tokenizer():
    plain = tokenizer_fingerprint(tiny_tokenizer(bos=False))
    assert tokenizer_fingerprint(tiny_tokenizer(bos=True)) != plain
    more = tiny_tokenizer(bos=False)
    more.add_tokens(["giraffe"])
    assert tokenizer_fingerprint(more) != plain
