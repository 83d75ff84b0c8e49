"""Values from a program: held to the declared types, before anything is done with them."""

import numpy as np
import pytest

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.options import IngestOptions
from lensbank.query.given import given_states
from lensbank.query.options import QueryOptions
from lensbank.schemas.errors import UsageError

SENSELESS = {
    "layers": [[1.9], [True], "some", 3, b"x", (None,)],
    "bank_layers": [[1.5], True, "all"],
    "top_k": [True, 1.9, "5", None, float("nan"), 0, 10**30],
    "patches": [[(1.5, 0)], [(True, 0)], [(1,)], [(1, 2, 3)], 3, "1,2"],
    "prompt": [3, b"what", ["what"], "wh\udcff"],
    "exact": ["no", 0, None],
    "max_pixels": [1.5, True, "1", -1],
    "where": [["word=dog"], "word=dog", 3],
    "lenses": [3, [3], "latent"],
    "distinct": [3, ["word"], "words"],
    "search": [True, "fast"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SENSELESS.items() for value in values])
def test_senseless_query_options(name, value):
    with pytest.raises(UsageError):
        QueryOptions(**{name: value})


def test_numbers_of_any_library_are_numbers():
    asked = QueryOptions(layers=[np.int64(2), 3], top_k=np.int32(4), patches=[[np.uint8(1), 0]])
    assert (asked.layers, asked.top_k, asked.patches) == ((2, 3), 4, ((1, 0),))
    assert all(type(one) is int for one in (*asked.layers, asked.top_k, *asked.patches[0]))
    chosen = IngestOptions(layers=(1,), seed=np.int64(7), flush_seconds=np.float32(0.5), batch_tokens=np.int16(64))
    assert (chosen.seed, chosen.flush_seconds, chosen.batch_tokens) == (7, 0.5, 64)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_contexts", True, "max_contexts is True; expected a whole number or None"),
        ("seed", 1.5, "seed is 1.5; expected a whole number"),
        ("flush_seconds", float("nan"), "flush_seconds is nan; expected a number"),
        ("flush_seconds", float("inf"), "flush_seconds is inf; expected a number"),
        ("index", "x", "index is 'x'; expected True or False"),
        ("graph", "x", "graph is 'x'; expected True or False or None"),
        ("layers", [1.9], r"layers is \[1.9\]; expected several, each a whole number"),
    ],
)
def test_senseless_ingest_options_are_named(name, value, said):
    with pytest.raises(UsageError, match=said):
        IngestOptions(**{"layers": (1,), name: value})
    with pytest.raises(ValueError, match="flush_seconds is -1"):
        IngestOptions(layers=(1,), flush_seconds=-1)


@pytest.mark.parametrize("options", [{"name": 3}, {"text_field": b"x"}, {"split": "yes"}, {"language": None}])
def test_senseless_corpus_options(tmp_path, options):
    (tmp_path / "c.txt").write_text("A dog.\n")
    with pytest.raises(UsageError, match=f"{next(iter(options))} is .*; expected"):
        read_corpora([tmp_path / "c.txt"], **options)


@pytest.mark.parametrize(
    "states",
    [3, None, "x", [[1.0, 2.0]], {1: 3}, {1: [1.0, 2.0]}, {1: [[1.0]]}, {1: [[1.0, 2.0], [3.0]]}, {1: "ab"}]
    + [{1.5: [[1.0, 2.0]]}, {True: [[1.0, 2.0]]}, {1: [[None, object()]]}],
)
def test_what_are_no_states(states):
    with pytest.raises(UsageError, match="expected|not an array of numbers"):
        given_states(states, 2)


def test_states_of_any_kind_of_array():
    found = given_states({np.int64(3): [[1, 2], [3, 4]]}, 2)
    assert list(found) == [3] and found[3].dtype == np.float32 and found[3].tolist() == [[1, 2], [3, 4]]
