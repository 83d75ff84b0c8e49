"""The same rows and the same random filters through every engine must give the same answers.

Hypothesis makes the filters (from a fixed seed, so that every run sees the same) and prints the
smallest one that fails. What is right is decided by a reading of the rows in plain Python.

    pytest tests/test_store_congruence.py                                   embedded, local mode, stand-in
    QDRANT_TEST_URL=http://localhost:6333 pytest -m server                  a real server, too
"""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient
from standins import StandIn
from test_store_rows import CORPUS, WORDS, Rows, assert_same_hits

from schemas.errors import BankIncompleteError, BankMismatchError
from schemas.filters import Condition
from schemas.payload import FIELD_KINDS
from store.base import open_store
from store.embedded import EmbeddedStore
from store.server import ServerStore
from store.server_options import ServerOptions

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
ENGINES = [
    "embedded",
    "local mode",
    "stand-in over REST",
    "stand-in over gRPC",
    pytest.param("server over REST", marks=pytest.mark.server),
    pytest.param("server over gRPC", marks=pytest.mark.server),
]
COUNT = 400
ROWS = Rows(COUNT, layers=(4,))
PAYLOADS = [{**p, "norm": float(np.float32(n))} for p, n in zip(ROWS.payloads, ROWS.norms[4], strict=True)]
QUERIES = np.random.default_rng(1).standard_normal((2, 16))


@pytest.fixture(scope="module")
def stand_in():
    with StandIn() as server:
        yield server


@pytest.fixture(scope="module", params=ENGINES)
def store(request, tmp_path_factory):
    kind, _, protocol = request.param.partition(" over ")
    if kind == "embedded":
        opened = EmbeddedStore.at(tmp_path_factory.mktemp("store"))
    elif kind == "local mode":
        opened = ServerStore(QdrantClient(":memory:"), "memory")
    else:
        server = request.getfixturevalue("stand_in" if kind == "stand-in" else "real_server")
        options = ServerOptions(protocol=protocol.lower(), grpc_port=server.grpc_port)
        opened = open_store(server.url, server=options)
    with opened:
        clear(opened)
        yield opened
        clear(opened)


def clear(store):
    names = {identity.name() for identity in Rows(1).identities()}
    for info in store.list():
        if info.name in names:
            store.drop(info.name)


@pytest.fixture(scope="module")
def bank(store):
    with store.writer(ROWS.identities(), "/model") as writer:
        ROWS.put(writer)
        writer.finish(CORPUS)
    with store.open(ROWS.identities()[0]) as opened:
        yield opened


def values(field):
    """Values to compare a field with: those that occur, and others of its kind."""
    kind, there = FIELD_KINDS[field], st.sampled_from([p[field] for p in PAYLOADS])
    if kind == "keyword":
        return (
            there
            | st.sampled_from(["nowhere", "Dog", " dog", "do", "dog ", "消防", "", "\udcff"])
            | st.text(max_size=4)
        )
    if kind == "integer":
        return there | st.integers(-3, 60) | st.sampled_from([-(2**63), 2**62, 2**31])
    if kind == "float":
        # Not those that occur: the engine reads numbers from JSON up to one bit off.
        return st.floats(-1, 20) | st.sampled_from([1e300, -1e300])
    return there


def texts():
    """Words of the corpus in any case and order, and such as are not in it."""
    word = st.sampled_from([*WORDS, "zebra"]).flatmap(lambda w: st.sampled_from([w, w.upper(), w.capitalize()]))
    return st.lists(word, min_size=1, max_size=3).flatmap(
        lambda chosen: st.sampled_from([" ", ", ", "  ", "! "]).map(lambda joint: joint.join(chosen))
    )


@st.composite
def conditions(draw):
    field = draw(st.sampled_from(list(FIELD_KINDS)))
    kind = FIELD_KINDS[field]
    if kind == "text":
        return Condition(field, "~", (draw(texts()),))
    equal, ordered = ("=", "!="), (">", ">=", "<", "<=")
    op = draw(st.sampled_from({"integer": equal + ordered, "float": ordered}.get(kind, equal)))
    many = 4 if op in equal else 1
    return Condition(field, op, tuple(draw(st.lists(values(field), min_size=1, max_size=many))))


def holds(condition, payload):
    """What schemas.filters says a condition means."""
    value = payload[condition.field]
    asked = [v.replace("\udcff", "\ufffd") if isinstance(v, str) else v for v in condition.values]
    if condition.op == "=":
        return value in asked
    if condition.op == "!=":
        return value not in asked
    if condition.op == "~":
        # Full text knows letters and digits: an emoji is no word.
        words = re.findall(r"\w+", asked[0].lower())
        return bool(words) and set(words) <= set(re.findall(r"\w+", value.lower()))
    compare = {">": value > asked[0], ">=": value >= asked[0], "<": value < asked[0], "<=": value <= asked[0]}
    return compare[condition.op]


def same_payload(found, expected):
    """Equal values of equal types; the norm is a float32, and equal as one."""
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}
    return {**found, "norm": np.float32(found["norm"])} == {**expected, "norm": np.float32(expected["norm"])}


@settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(where=st.lists(conditions(), min_size=1, max_size=3), k=st.integers(1, 12), exact=st.booleans())
def test_random_filters(bank, where, k, exact):
    keep = np.array([all(holds(c, p) for c in where) for p in PAYLOADS])
    assert bank.count(where) == keep.sum()
    hits = bank.search(QUERIES, k, where, exact=exact)  # too few rows for an index: both compare all
    assert_same_hits(hits, ROWS.nearest(4, QUERIES, k, keep))
    by_id = dict(zip(ROWS.ids, PAYLOADS, strict=True))
    assert all(same_payload(hit.payload, by_id[hit.id]) for found in hits for hit in found)


def test_the_filters_are_worth_asking():
    """Of the conditions, a fair share must keep something, and leave something out."""
    kept = []

    @settings(max_examples=300, derandomize=True, deadline=None, database=None)
    @given(where=st.lists(conditions(), min_size=1, max_size=3))
    def collect(where):
        kept.append(sum(all(holds(c, p) for c in where) for p in PAYLOADS))

    collect()
    some = sum(0 < n < COUNT for n in kept)
    assert some > 0.3 * len(kept), (some, len(kept))


def test_every_row_comes_back_once(bank):
    seen, offset = [], None
    while True:
        page, offset = bank.scroll(90, offset, with_vectors=True)
        seen += page
        if offset is None:
            break
    assert {name for name, _, _ in seen} == set(ROWS.ids) and len(seen) == COUNT
    by_id = dict(zip(ROWS.ids, zip(PAYLOADS, ROWS.vectors[4], ROWS.norms[4], strict=True), strict=True))
    for name, vector, payload in seen:
        expected, raw, norm = by_id[name]
        assert same_payload(payload, expected)
        np.testing.assert_allclose(vector, raw / norm, atol=2e-7)


def test_state_and_identity_decide_who_may_read_and_write(store):
    few = Rows(30, layers=(5,))
    identity = few.identities()[0]
    with store.writer([identity], "/model") as writer:
        few.put(writer)
    with pytest.raises(BankIncompleteError, match="--model /model"):
        store.open(identity)
    with pytest.raises(BankMismatchError, match="seed 0 in the bank, 5 now"):
        store.writer(few.identities(seed=5), "/model")
    with store.writer([identity], "/model") as writer:
        few.put(writer)
        writer.finish(CORPUS)
    info = next(info for info in store.list() if info.name == identity.name())
    assert (info.record.identity, info.record.state, info.record.corpora, info.rows) == (
        identity,
        "complete",
        (CORPUS,),
        30,
    )
    store.drop(info.name)
    assert identity.name() not in {info.name for info in store.list()}


def test_a_centred_bank_keeps_its_mean_beside_the_raw_one(store):
    few = Rows(30, layers=(5,))
    raw = few.identities()[0]
    centred = raw.with_mean(np.linspace(-1e3, 1e-3, raw.dim))
    for identity in (raw, centred):
        with store.writer([identity], "/model") as writer:
            few.put(writer)
            writer.finish(CORPUS)
    kept = {info.name: info.record.identity for info in store.list()}
    assert kept[raw.name()] == raw and kept[centred.name()] == centred
    np.testing.assert_array_equal(kept[centred.name()].mean_state(), np.linspace(-1e3, 1e-3, raw.dim, dtype=np.float32))
    with pytest.raises(BankMismatchError, match="mean_fingerprint"):
        store.writer([raw.with_mean(np.zeros(raw.dim))], "/model")
    store.drop(raw.name())
    store.drop(centred.name())
