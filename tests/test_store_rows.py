"""Rows that go into a bank (also the maker of rows for the other store tests)."""

import dataclasses
import uuid

import numpy as np
import pytest

from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.errors import StateError
from lensbank.schemas.payload import TokenPayload
from lensbank.store.rows import clean_payload, clean_text, payload_as_read, unit_queries, unit_rows

IDENTITY = BankIdentity(
    model="org/some-model",
    revision=None,
    weights="w1",
    tokenizer="t1",
    layer=4,
    n_layers=8,
    dim=16,
    compute_dtype="float32",
    vector_dtype="float32",
    max_contexts=20,
    seed=0,
)
#: Its rows are counted when it is written: no more than these.
CORPUS = CorpusRecord("captions", "fingerprint", 10, 100, 10**6)
NAMES = ("captions", "titles", "alt")
WORDS = ("dog", "cat", "fire", "truck", "the", "naïve", "消防车", "🙂", "giraffe", "7")


class Rows:
    """Seeded rows for layers 4 and 5: ids, payloads, raw states and their norms."""

    def __init__(self, count, dim=16, seed=0, layers=(4, 5), corpora=("captions",)):
        self.corpora = corpora
        rng = np.random.default_rng(seed)
        self.layers = layers
        self.ids = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(count)]
        self.payloads = [self._payload(rng, i) for i in range(count)]
        common = rng.standard_normal(dim)  # as in hidden states, vectors share much
        self.vectors = {layer: (rng.standard_normal((count, dim)) * 3 + common).astype(np.float32) for layer in layers}
        self.norms = {layer: np.linalg.norm(v, axis=1) for layer, v in self.vectors.items()}

    def _payload(self, rng, i):
        words = [WORDS[j] for j in rng.integers(0, len(WORDS), rng.integers(2, 6))]
        position = int(rng.integers(0, len(words)))
        return TokenPayload(
            token="Ġ" + words[position],
            token_id=int(rng.integers(0, 50)),
            word=words[position],
            sentence=" ".join(words).capitalize(),
            position=position,
            char_start=position,
            char_end=position + 3,
            norm=0.0,
            corpus=self._corpora(int(rng.integers(0, 3)), i),
            document=f"captions.txt:{i}",
            is_word=bool(rng.integers(0, 2)),
        ).to_dict()

    def _corpora(self, first, i):
        """One corpus, or two."""
        names = tuple(dict.fromkeys(self.corpora[(first + n) % len(self.corpora)] for n in range(2)))
        return names if i % 7 == 0 else names[:1]

    def written(self):
        """What is on record of all of these rows."""
        names = [name for payload in self.payloads for name in payload["corpus"]]
        return [CorpusRecord(name, "fingerprint", 10, 100, names.count(name)) for name in dict.fromkeys(names)]

    def put(self, writer, start=0, stop=None):
        part = slice(start, stop)
        writer.put(
            self.ids[part],
            self.payloads[part],
            {layer: v[part] for layer, v in self.vectors.items()},
            {layer: n[part] for layer, n in self.norms.items()},
        )

    def put_layer(self, writer, layer, start=0, stop=None):
        """Rows of one layer alone."""
        part = slice(start, stop)
        vectors, norms = {layer: self.vectors[layer][part]}, {layer: self.norms[layer][part]}
        writer.put(self.ids[part], self.payloads[part], vectors, norms)

    def identities(self, **changes):
        dim = next(iter(self.vectors.values())).shape[1]
        return [dataclasses.replace(IDENTITY, **{"layer": layer, "dim": dim, **changes}) for layer in self.layers]

    def nearest(self, layer, queries, k, keep=None):
        """Ids of the exact top-k, by brute force in float64."""
        chosen = np.arange(len(self.ids)) if keep is None else np.flatnonzero(keep)
        rows = self.vectors[layer][chosen].astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        queries = queries.astype(np.float64) / np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)
        scores = queries @ rows.T
        order = np.argsort(-scores, axis=1)[:, :k]
        return [[(self.ids[chosen[j]], scores[i, j]) for j in row] for i, row in enumerate(order)]


def assert_same_hits(hits, expected, tolerance=2e-6):
    """The same ids in the same order with the same scores; rows closer than the tolerance may swap."""
    assert len(hits) == len(expected)
    for found, wanted in zip(hits, expected, strict=True):
        assert [h.score for h in found] == pytest.approx([score for _, score in wanted], abs=tolerance)
        if [h.id for h in found] != [name for name, _ in wanted]:
            gaps = np.diff([score for _, score in wanted])
            assert {h.id for h in found} == {name for name, _ in wanted} and np.abs(gaps).min() < tolerance


def test_rows_become_unit_in_float32():
    rows = np.random.default_rng(0).standard_normal((5, 7)) * 40
    for dtype in (np.float16, np.float32, np.float64):
        unit = unit_rows(rows.astype(dtype), str)
        assert unit.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(unit.astype(np.float64), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_tiny_and_huge_states_keep_their_direction(scale):
    rows = np.array([[3.0, 4.0], [1.0, 0.0]], np.float32)
    np.testing.assert_allclose(unit_rows(rows * np.float32(scale), str), [[0.6, 0.8], [1, 0]], rtol=1e-6)


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_a_state_without_direction_is_named(bad, word):
    rows = np.ones((3, 4), np.float32)
    rows[2, 1] = bad
    with pytest.raises(StateError, match=f"row 2 is {word}"):
        unit_rows(rows, lambda i: f"row {i}")


def test_a_zero_state_is_named():
    rows = np.ones((3, 4), np.float32)
    rows[1] = 0
    with pytest.raises(StateError, match="row 1 is zero"):
        unit_rows(rows, lambda i: f"row {i}")


def test_queries_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 3\], expected \[n, 4\]"):
        unit_queries(np.ones((2, 3)), 4, 5)
    with pytest.raises(ValueError, match="k is -1"):
        unit_queries(np.ones((2, 4)), 4, -1)


def test_lone_surrogates_become_replacement_characters_of_the_same_length():
    text = "a\ud800b\udfffc😀\x00é"
    assert clean_text(text) == "a\ufffdb\ufffdc😀\x00é"
    assert len(clean_text(text)) == len(text)
    assert clean_payload({"word": "\udcff", "position": 3, "is_word": True}) == {
        "word": "\ufffd",
        "position": 3,
        "is_word": True,
    }


def test_rows_that_were_read_can_be_grouped_by_their_corpora():
    one, two = (payload_as_read({"corpus": names, "document": "a:1"}) for names in (["a"], ["a", "b"]))
    assert {row["corpus"] for row in (one, two, payload_as_read({"corpus": ["a"]}))} == {("a",), ("a", "b")}
    assert one["corpus"] == ["a"] and two["corpus"] == ["a", "b"] and one["corpus"] != ["b"]
    assert (one["corpus"] != ["a"]) is False
    assert clean_payload(one)["corpus"] == ["a"] and type(clean_payload(one)["corpus"]) is list
    assert payload_as_read({"corpus": "of an older bank"}) == {"corpus": "of an older bank"}
    assert payload_as_read(None) == {}
