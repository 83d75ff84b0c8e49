"""States in batches are those of one sentence at a time, straight from transformers."""

import itertools

import numpy as np
import pytest
import tiny_models
import torch

from lensbank.ingest.corpus import Sentence
from lensbank.ingest.planning import collect, select
from lensbank.ingest.rows import BatchRows
from lensbank.models.encoding import Encoder, Rows, batches, default_batch_tokens
from lensbank.models.loading import load_model
from lensbank.models.tokens import BulkTokenizer
from lensbank.schemas.errors import StateError
from lensbank.schemas.progress import Silent

LAYERS = (0, 1, 2, 3)
SENTENCES = [*tiny_models.SENTENCES, "Two dogs", "A cat", "A", "the old brick house is red and small"]


@pytest.fixture(scope="module", params=["text", "without <s>", "vlm"])
def loaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    if request.param == "vlm":
        return load_model(str(tiny_models.save_fastvlm(folder)), dtype="float32")
    return load_model(str(tiny_models.save_text_model(folder, bos=request.param == "text")), dtype="float32")


def in_batches(loaded, sentences, budget, vector_dtype="float32", layers=LAYERS, k=None):
    """(sentence, token index) → {layer: (unit vector, norm)}, through everything but the store."""
    corpus = [Sentence(text, "c", "f.txt", line) for line, text in enumerate(sentences, 1)]
    bulk = BulkTokenizer(loaded.tokenizer, loaded.lm.embed_tokens.weight.shape[0])
    selection = select(corpus, bulk, k, 0, loaded.max_positions, Silent())
    encoder = Encoder(loaded, layers, vector_dtype)
    found = {}
    with collect(corpus, selection, 0, Silent(), bulk) as texts:
        for first, end in batches(selection.lengths, budget):
            rows = BatchRows(selection, texts, bulk, first, end)
            units, norms = encoder.encode(rows.ids, rows.wanted()).fetch(rows.describe)
            ids, payloads = rows.ids_and_payloads()
            assert set(units) == set(norms) == set(layers)
            for i, (name, payload) in enumerate(zip(ids, payloads, strict=True)):
                found[name] = payload, {layer: (units[layer][i], norms[layer][i]) for layer in layers}
    return found


def alone(loaded, text):
    """Layer → raw states of one sentence: the model's own hidden states, its last block by a hook."""
    encoded = loaded.tokenizer(text, return_special_tokens_mask=True)
    ids = torch.tensor([encoded["input_ids"]])
    last = []
    handle = loaded.lm.blocks[-1].register_forward_hook(
        lambda _m, _a, out: last.append(out if isinstance(out, torch.Tensor) else out[0])
    )
    try:
        with torch.no_grad():
            states = loaded.lm.module(input_ids=ids, output_hidden_states=True).hidden_states
    finally:
        handle.remove()
    content = [i for i, special in enumerate(encoded["special_tokens_mask"]) if not special]
    layers = [*states[:-1], last[0]]
    return {layer: states[0, content].numpy() for layer, states in enumerate(layers)}


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_every_kept_row_is_the_state_of_its_sentence_alone(loaded, budget):
    found = in_batches(loaded, SENTENCES, budget)
    assert len(found) > 50
    for text, group in itertools.groupby(found.values(), key=lambda row: row[0]["sentence"]):
        raw = alone(loaded, text)
        for payload, states in group:
            for layer, (unit, norm) in states.items():
                expected = raw[layer][payload["position"]]
                assert np.abs(unit * norm - expected).max() < 1e-4 * max(1, np.abs(expected).max())
                assert abs(np.linalg.norm(unit) - 1) < 1e-5
                assert norm == pytest.approx(np.linalg.norm(expected), rel=1e-4)


def test_left_padding_tokenizers_give_the_same_states(loaded):
    right = in_batches(loaded, SENTENCES, 60)
    side = loaded.tokenizer.padding_side
    loaded.tokenizer.padding_side = "left" if side == "right" else "right"
    try:
        left = in_batches(loaded, SENTENCES, 60)
    finally:
        loaded.tokenizer.padding_side = side
    assert list(left) == list(right)
    for name, (payload, states) in right.items():
        assert left[name][0] == payload
        assert all(np.array_equal(left[name][1][layer][0], states[layer][0]) for layer in LAYERS)


def test_directions_are_normalised_before_they_are_narrowed(tmp_path):
    loaded = load_model(str(tiny_models.save_text_model(tmp_path)), dtype="float32")
    # Norms of 1e6 would be infinite in float16, and norms of 1e-9 zero.
    with torch.no_grad():
        loaded.lm.embed_tokens.weight.mul_(1e8)
    wide = in_batches(loaded, SENTENCES, 60, layers=(0,))
    narrow = in_batches(loaded, SENTENCES, 60, "float16", layers=(0,))
    assert min(states[0][1] for _, states in wide.values()) > 65_504
    for name, (_, states) in narrow.items():
        assert states[0][0].dtype == np.float16 and states[0][1].dtype == np.float32
        assert states[0][1] == wide[name][1][0][1]
        assert np.abs(states[0][0] - wide[name][1][0][0]).max() < 1e-3


@pytest.mark.parametrize(("value", "what"), [(float("nan"), "NaN"), (float("inf"), "infinite"), (0.0, "zero")])
def test_a_state_without_a_direction_stops_with_its_sentence(tmp_path, value, what):
    loaded = load_model(str(tiny_models.save_text_model(tmp_path)), dtype="float32")
    text = "Two dogs and a cat"
    poisoned = loaded.tokenizer(text, add_special_tokens=False)["input_ids"][-1]
    with torch.no_grad():
        loaded.lm.embed_tokens.weight[poisoned] = value
    with pytest.raises(StateError) as caught:
        in_batches(loaded, ["A house", text, "The old brick"], 1000, layers=(0, 2))
    assert what in str(caught.value)
    assert f"{text!r} (f.txt:2)" in str(caught.value) and "layer 0" in str(caught.value)
    assert "float32" in caught.value.hint


def test_only_the_layers_asked_for_run(loaded):
    ran = []
    handles = [
        block.register_forward_hook(lambda *_, n=n: ran.append(n)) for n, block in enumerate(loaded.lm.blocks, 1)
    ]
    try:
        Encoder(loaded, (1, 2), "float32").encode([[5, 6, 7]], Rows(np.array([0]), np.array([2])))
    finally:
        for handle in handles:
            handle.remove()
    assert ran == [1, 2]


def test_batches_keep_to_the_budget_and_cover_everything_once():
    lengths = np.sort(np.random.default_rng(0).integers(1, 60, 500).astype(np.int32))[::-1]
    spans = list(batches(lengths, 128))
    assert [i for first, end in spans for i in range(first, end)] == list(range(500))
    assert all((end - first) * lengths[first] <= 128 for first, end in spans)
    # As full as they can be: one more sentence would not fit.
    assert all((end - first + 1) * lengths[first] > 128 for first, end in spans[:-1])


def test_a_sentence_beyond_the_budget_is_a_batch_of_its_own():
    assert list(batches(np.array([300, 200, 40, 40], np.int32), 100)) == [(0, 1), (1, 2), (2, 4)]


def test_going_on_from_a_batch_gives_the_same_batches():
    lengths = np.sort(np.random.default_rng(1).integers(1, 60, 500).astype(np.int32))[::-1]
    spans = list(batches(lengths, 200))
    assert list(batches(lengths, 200, spans[7][0])) == spans[7:]


def test_a_gpu_gets_larger_batches():
    assert default_batch_tokens(torch.device("cuda")) > default_batch_tokens(torch.device("cpu"))
