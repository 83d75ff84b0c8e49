"""Every form of filter, on both engines, against a reading of the same rows in plain Python.

Random ones, on every engine there is: test_store_congruence.
"""

import re

import numpy as np
import pytest
from qdrant_client import QdrantClient
from test_store_rows import NAMES, Rows, assert_same_hits

from lensbank.schemas.errors import FilterError
from lensbank.schemas.filters import Condition, parse
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.filters import split
from lensbank.store.server.store import ServerStore

# The client's local mode stands in for a server; it says what it leaves out.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
FIXED = (
    "token=Ġdog",
    "token!=Ġdog",
    "word=dog,cat",
    "word!=dog,the,🙂",
    "word=naïve",
    "word=消防车",
    "word=nowhere",
    "corpus=captions,alt",
    "document=captions.txt:17",
    "position=0",
    "position=0,2",
    "position!=1",
    "position!=1,2",
    "position>=2",
    "position<1",
    "token_id>40",
    "token_id<=5",
    "token_id=99999999999",
    "char_end>=5",
    "norm>12.5",
    "norm<=11",
    "is_word=true",
    "is_word!=true",
    "is_word=true,false",
    "is_word!=true,false",
    "sentence~fire truck",
    "sentence~TRUCK fire",
    "sentence~fire zebra",
    "sentence~!!!",
)


@pytest.fixture(scope="module")
def rows():
    return Rows(700, layers=(4,), corpora=NAMES)


@pytest.fixture(scope="module", params=["embedded", "server"])
def bank(request, rows, tmp_path_factory):
    if request.param == "embedded":
        store = EmbeddedStore.at(tmp_path_factory.mktemp("store"))
    else:
        store = ServerStore(QdrantClient(":memory:"), "memory")
    with store:
        with store.writer(rows.identities(), "/model") as writer:
            rows.put(writer)
            writer.finish(rows.written())
        with store.open(rows.identities()[0]) as opened:
            yield opened


def holds(condition, payload):
    """What schemas.filters says a condition means."""
    value, values = payload[condition.field], condition.values
    held = value if isinstance(value, list) else [value]
    if condition.op == "=":
        return any(one in values for one in held)
    if condition.op == "!=":
        return not any(one in values for one in held)
    if condition.op == "~":
        words = set(re.findall(r"\w+|🙂", value.lower()))
        asked = re.findall(r"\w+|🙂", values[0].lower())
        return bool(asked) and set(asked) <= words
    compare = {">": value > values[0], ">=": value >= values[0], "<": value < values[0], "<=": value <= values[0]}
    return compare[condition.op]


def check(bank, rows, texts):
    where = parse(texts)
    payloads = [{**p, "norm": float(np.float32(n))} for p, n in zip(rows.payloads, rows.norms[4], strict=True)]
    keep = np.array([all(holds(c, p) for c in where) for p in payloads])
    queries = np.random.default_rng(len(texts)).standard_normal((3, 16))
    assert bank.count(where) == keep.sum(), texts
    hits = bank.search(queries, 7, where)
    assert_same_hits(hits, rows.nearest(4, queries, 7, keep))
    by_id = dict(zip(rows.ids, payloads, strict=True))
    for hit in (hit for found in hits for hit in found):
        expected = by_id[hit.id]
        assert hit.payload == {**expected, "norm": pytest.approx(expected["norm"])}, texts
    return int(keep.sum())


@pytest.mark.parametrize("text", FIXED)
def test_filter_means_the_same_on_every_engine(bank, rows, text):
    check(bank, rows, [text])


def test_no_filter_keeps_all(bank, rows):
    assert check(bank, rows, []) == 700


def test_numbers_are_not_taken_for_truth(bank, rows):
    """0 and 1 equal false and true in Python: a filter of both once kept every row."""
    kept = check(bank, rows, ["token_id=0,1"])
    assert 0 < kept < 700


@pytest.mark.parametrize("exact", [True, False])
def test_nothing_matches_is_an_empty_answer(bank, exact):
    assert bank.search(np.ones((2, 16)), 5, parse(["word=nowhere"]), exact=exact) == [[], []]


def test_a_surrogate_in_a_filter_is_read_like_one_in_a_payload(bank):
    assert bank.count((Condition("word", "=", ("\udcff",)),)) == 0


@pytest.mark.parametrize(
    "condition",
    [
        Condition("norm", ">", (float("nan"),)),
        Condition("norm", ">", (float("inf"),)),
        Condition("position", "=", (2**70,)),
    ],
)
def test_numbers_the_database_cannot_hold_are_refused(bank, condition):
    with pytest.raises(FilterError, match=condition.field):
        bank.search(np.ones((1, 16)), 5, (condition,))


def test_conditions_become_clauses_once():
    must, must_not = split(parse(["word=a,a", "is_word=true,false", "token!=x,y", "position>=2"]))
    assert [(c.field, c.kind, c.value) for c in must] == [("word", "value", "a"), ("position", "gte", 2)]
    assert [(c.field, c.kind, c.value) for c in must_not] == [("token", "any", ["x", "y"])]
