import pytest
import torch
from tiny_models import DIM, N_LAYERS, save_fastvlm, save_text_model

from lensbank.models.loading import load_model
from lensbank.models.states import text_states
from lensbank.schemas.errors import LayerError, ModelError, StateError, UsageError


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(str(save_text_model(tmp_path_factory.mktemp("models") / "text")), dtype="float32")


@pytest.fixture(scope="module")
def without_bos(tmp_path_factory):
    return load_model(str(save_text_model(tmp_path_factory.mktemp("models") / "text", bos=False)), dtype="float32")


def test_states_are_those_of_the_forward_pass_less_the_special_tokens(loaded):
    text = "Two dogs sleep."
    states, tokens = text_states(loaded, text, range(N_LAYERS + 1))
    ids = loaded.tokenizer(text, return_tensors="pt").input_ids
    assert ids[0, 0] == loaded.tokenizer.bos_token_id
    with torch.inference_mode():
        expected = loaded.model(ids, output_hidden_states=True).hidden_states
    for layer in range(N_LAYERS):
        assert states[layer].shape == (len(tokens), DIM)
        torch.testing.assert_close(states[layer], expected[layer][0, 1:])
    assert [token[0] for token in tokens] == list(range(1, ids.shape[1]))
    assert [token[2] for token in tokens] == ids[0, 1:].tolist()


def test_without_bos_the_first_word_is_the_first_token(without_bos):
    _, tokens = text_states(without_bos, "Two dogs", [0])
    assert tokens[0] == (0, "Two", tokens[0][2], 0, 3)


def test_spans_are_those_of_the_visible_characters(loaded):
    text = "  Two dogs – où? 猫 🐈"
    _, tokens = text_states(loaded, text, [0])
    assert [text[start:end] for _, string, _, start, end in tokens if string == "Ġdogs"] == ["dogs"]
    assert all(text[start:end] == text[start:end].strip() for *_, start, end in tokens)
    assert "".join(text[i] for i in sorted({i for *_, s, e in tokens for i in range(s, e)})) == "Twodogs–où?猫🐈"


def test_left_padding_tokenizers_make_no_difference(loaded):
    expected, _ = text_states(loaded, "Two dogs", [2])
    loaded.tokenizer.padding_side = "left"
    try:
        states, tokens = text_states(loaded, "Two dogs", [2])
    finally:
        loaded.tokenizer.padding_side = "right"
    assert torch.equal(states[2], expected[2])
    assert tokens[0][0] == 1


def test_a_vlm_reads_text_through_its_language_model(tmp_path):
    vlm = load_model(str(save_fastvlm(tmp_path / "vlm")), dtype="float32")
    states, tokens = text_states(vlm, "Two dogs", [1])
    assert states[1].shape == (len(tokens), DIM)


def test_no_text_is_a_usage_error(loaded):
    with pytest.raises(UsageError, match="holds no token"):
        text_states(loaded, "", [1])


def test_a_text_beyond_the_model_s_length(loaded):
    with pytest.raises(UsageError, match="accepts up to 128"):
        text_states(loaded, "dogs " * 200, [1])


def test_a_layer_that_does_not_exist(loaded):
    with pytest.raises(LayerError, match="Layer 9"):
        text_states(loaded, "dogs", [9])


def test_broken_states_name_the_token(tmp_path):
    loaded = load_model(str(save_text_model(tmp_path / "text")), dtype="float32")
    word = loaded.tokenizer("Two dogs").input_ids[2]
    with torch.no_grad():
        loaded.lm.embed_tokens.weight[word] = float("nan")
    with pytest.raises(StateError, match=r"token 'Ġdogs' at layer 0 is NaN.*1 of 2"):
        text_states(loaded, "Two dogs", [0])


def test_a_token_that_the_model_does_not_embed_is_refused(tmp_path):
    """A tokenizer of another model; on a GPU the forward pass would end the process."""
    small = load_model(str(save_text_model(tmp_path / "small", vocab_size=100)), device="cpu", dtype="float32")
    with pytest.raises(ModelError, match=r"gives id \d+, but the model embeds 100 tokens.*do not belong together"):
        text_states(small, "giraffe", [1])
