"""The same rows and the same random filters through every engine must give the same answers.

Hypothesis makes the filters (from a fixed seed, so that every run sees the same) and prints the
smallest one that fails, as one would type it. What is right is decided by a reading of the rows in
plain Python.

    pytest tests/test_store_congruence.py                                   embedded, local mode, stand-in
    QDRANT_TEST_URL=http://localhost:6333 pytest -m server                  a real server, too
"""

import dataclasses
import itertools
import re
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient
from query_banks import round_everything
from standins import StandIn
from test_store_rows import CORPUS, NAMES, WORDS, Rows, assert_same_hits

from lensbank.banks.local_copies import with_local_copies
from lensbank.query.bank_product import BankProduct, product_of
from lensbank.query.search import search_banks
from lensbank.schemas.errors import BankIncompleteError, BankMismatchError
from lensbank.schemas.filters import PREFIXED_FIELDS, Condition, parse
from lensbank.schemas.payload import FIELD_KINDS
from lensbank.schemas.progress import Silent
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.opening import open_store
from lensbank.store.rows import Names
from lensbank.store.server.options import ServerOptions
from lensbank.store.server.store import ServerStore

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
ENGINES = [
    "embedded",
    "local mode",
    "stand-in over REST",
    "stand-in over gRPC",
    "local copy",
    pytest.param("server over REST", marks=pytest.mark.server),
    pytest.param("server over gRPC", marks=pytest.mark.server),
]
COUNT, LAYERS = 400, (4, 6)
# What names of files, and tokens, may hold: commas, quotes, nothing, what looks like another type.
ODD = (
    "",
    "a,b",
    'say "cheese"',
    '"',
    "it's",
    "\\",
    "tab\there",
    "null",
    "true",
    "1",
    "e\u0301t\u00e9",
    "DOG",
    "消防,车",
)


def odd_rows():
    rows = Rows(COUNT, layers=LAYERS, corpora=NAMES)
    for number, payload in enumerate(rows.payloads):
        if number % 4 == 0:
            payload["corpus"] = [ODD[number // 4 % len(ODD)], *payload["corpus"][1:]]
        if number % 5 == 0:
            payload["word"] = ODD[number // 5 % len(ODD)]
        if number % 50 == 0:  # the ends of what 64 bits, and of what a vocabulary, can hold
            payload["token_id"] = (2**31 - 1, 2**63 - 1, -(2**63), 0)[number // 50 % 4]
    return rows


ROWS = odd_rows()
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
    elif kind == "local copy":
        server = open_store(request.getfixturevalue("stand_in").url)
        opened = with_local_copies(server, Silent(), True, tmp_path_factory.mktemp("cache"))
    else:
        server = request.getfixturevalue("stand_in" if kind == "stand-in" else "real_server")
        options = ServerOptions(protocol=protocol.lower(), grpc_port=server.grpc_port)
        opened = open_store(server.url, server=options)
    with opened:
        clear(opened)
        yield opened
        clear(opened)


def clear(store):
    names = {identity.name() for identity in Rows(1, layers=(*LAYERS, 5)).identities()}
    for info in store.list():
        if info.name in names:
            store.drop(info.name)


@pytest.fixture(scope="module")
def banks(store):
    with store.writer(ROWS.identities(), "/model") as writer:
        ROWS.put(writer)
        writer.finish(ROWS.written())
    opened = [store.open(one) for one in ROWS.identities()]
    yield opened
    for bank in opened:
        bank.close()


@pytest.fixture(scope="module")
def bank(banks):
    return banks[0]


INTEGERS = (-(2**63), 2**63 - 1, 2**62, 2**31, 2**53 + 1, 0, -1)
FLOATS = (1e300, -1e300, 1.7976931348623157e308, 5e-324, -0.0)


def held(payload, field):
    """The values of a field: a row may be of several corpora."""
    return payload[field] if isinstance(payload[field], list) else [payload[field]]


def values(field, op):
    """Values to compare a field with: those that occur, and others of its kind."""
    kind = FIELD_KINDS[field]
    there = st.sampled_from([value for payload in PAYLOADS for value in held(payload, field)])
    if kind == "keyword":
        others = ["nowhere", "Dog", " dog", "do", "dog ", "消防", "\udcff", "*", "%", "dog\n"]
        return there | st.sampled_from(others + list(ODD)) | st.text(max_size=4)
    if kind == "integer":
        # Ranges are compared as 64-bit floats, which cannot tell the largest integers apart.
        beyond = [2**70, -(2**70), 2**40] if op in RANGES else INTEGERS
        return (
            (there.filter(lambda v: abs(v) < 2**53) if op in RANGES else there)
            | st.integers(-3, 60)
            | st.sampled_from(beyond)
        )
    if kind == "float":
        # Not those that occur: the engine reads numbers from JSON up to one bit off.
        return st.floats(-1, 20) | st.sampled_from(FLOATS)
    return there


def texts():
    """Words of the corpus in any case and order, and such as are not in it."""
    word = st.sampled_from([*WORDS, "zebra"]).flatmap(lambda w: st.sampled_from([w, w.upper(), w.capitalize()]))
    return st.lists(word, min_size=1, max_size=3).flatmap(
        lambda chosen: st.sampled_from([" ", ", ", "  ", "! "]).map(lambda joint: joint.join(chosen))
    )


EQUAL, RANGES = ("=", "!="), (">", ">=", "<", "<=")
KINDS = {field: "prefixed" if field in PREFIXED_FIELDS else kind for field, kind in FIELD_KINDS.items()}
OPERATORS = {
    "prefixed": (*EQUAL, "~"),
    "keyword": EQUAL,
    "bool": EQUAL,
    "integer": EQUAL + RANGES,
    "float": RANGES,
    "text": ("~",),
}


@st.composite
def conditions(draw):
    field = draw(st.sampled_from(list(FIELD_KINDS)))
    op = draw(st.sampled_from(OPERATORS[KINDS[field]]))
    if op == "~" and field in PREFIXED_FIELDS:
        word = draw(values(field, op).filter(bool))
        return Condition(field, op, (word[: draw(st.integers(1, 3))],))
    if op == "~":
        return Condition(field, op, (draw(texts()),))
    most = 4 if op in EQUAL else 1
    return Condition(field, op, tuple(draw(st.lists(values(field, op), min_size=1, max_size=most))))


def holds(condition, payload):
    """What schemas.filters says a condition means."""
    value = payload[condition.field]
    asked = [v.replace("\udcff", "\ufffd") if isinstance(v, str) else v for v in condition.values]
    if condition.op == "=":
        return any(one in asked for one in held(payload, condition.field))
    if condition.op == "!=":
        return not any(one in asked for one in held(payload, condition.field))
    if condition.op == "~" and condition.field in PREFIXED_FIELDS:
        return value.startswith(asked[0])
    if condition.op == "~":
        # Full text knows letters and digits: an emoji is no word.
        words = re.findall(r"\w+", asked[0].lower())
        return bool(words) and set(words) <= set(re.findall(r"\w+", value.lower()))
    compare = {">": value > asked[0], ">=": value >= asked[0], "<": value < asked[0], "<=": value <= asked[0]}
    return compare[condition.op]


def same_payload(found, expected):
    """Equal values of equal types, names of corpora apart; the norm is a float32, and equal as one."""
    assert isinstance(found["corpus"], Names)
    found = {**found, "corpus": list(found["corpus"])}
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}
    return {**found, "norm": np.float32(found["norm"])} == {**expected, "norm": np.float32(expected["norm"])}


def asked(examples):
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def typed(where):
    for condition in where:
        note(f"--where {condition}")


@asked(120)
@given(where=st.lists(conditions(), min_size=1, max_size=3), k=st.integers(1, 12), exact=st.booleans())
def test_random_filters(bank, where, k, exact):
    typed(where)
    keep = np.array([all(holds(c, p) for c in where) for p in PAYLOADS])
    assert bank.count(where) == keep.sum()
    hits = bank.search(QUERIES, k, where, exact=exact)  # too few rows for an index: both compare all
    assert_same_hits(hits, ROWS.nearest(4, QUERIES, k, keep))
    by_id = dict(zip(ROWS.ids, PAYLOADS, strict=True))
    assert all(same_payload(hit.payload, by_id[hit.id]) for found in hits for hit in found)


def test_every_operator_of_every_field(bank):
    """Each with one value that occurs, and where it takes several with two that do."""
    for field, op in [(field, op) for field, kind in KINDS.items() for op in OPERATORS[kind]]:
        there = list(dict.fromkeys(v for p in PAYLOADS if abs(p["token_id"]) < 2**53 for v in held(p, field)))
        if FIELD_KINDS[field] == "float":
            there = [value + 0.01 for value in there]
        for some in (there[-1:], there[:2]) if op in EQUAL else (there[-1:],):
            condition = Condition(field, op, tuple(some))
            keep = np.array([holds(condition, p) for p in PAYLOADS])
            assert bank.count([condition]) == keep.sum(), condition
            assert_same_hits(bank.search(QUERIES, 5, [condition]), ROWS.nearest(4, QUERIES, 5, keep))


def same_word(word):
    """Case and the coding of accents apart; said in another way than `schemas.words.folded` does it."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", word).casefold())


def best_of_all(query, k, keep, distinct):
    """(score, layer, id) of all rows of all banks, best first; plain Python over float64 products."""
    found = []
    for layer in LAYERS:
        rows = ROWS.nearest(layer, query[None], COUNT, keep[layer])[0]
        found += [(score, layer, name) for name, score in rows]
    words = dict(zip(ROWS.ids, (same_word(p["word"]) for p in PAYLOADS), strict=True))
    chosen, seen = [], set()
    for score, layer, name in sorted(found, key=lambda f: -f[0]):
        if not distinct or words[name] not in seen:
            seen.add(words[name])
            chosen.append((score, layer, name))
    return chosen[:k]


@asked(40)
@given(
    where=st.lists(conditions(), max_size=2),
    k=st.integers(1, 40),
    distinct=st.sampled_from([None, "word"]),
    exact=st.booleans(),
    multiplied=st.sampled_from([None, "float32", "rounded"]),
)
def test_random_questions_to_all_banks(banks, where, k, distinct, exact, multiplied):
    """Filters, distinct words and the merge of bank layers together; `k` beyond all words there are, too."""
    typed(where)
    norms = {layer: ROWS.norms[layer].astype(np.float32).tolist() for layer in LAYERS}
    keep = {
        layer: np.array(
            [all(holds(c, {**p, "norm": n}) for c in where) for p, n in zip(PAYLOADS, norms[layer], strict=True)]
        )
        for layer in LAYERS
    }
    stored = {
        layer: {name: {**p, "norm": n} for name, p, n in zip(ROWS.ids, PAYLOADS, norms[layer], strict=True)}
        for layer in LAYERS
    }
    products = [product_of(bank, torch.device("cpu")) for bank in banks] if multiplied else []
    if not all(isinstance(one, BankProduct) for one in products):  # a server's vectors cannot be had
        products = []
    with pytest.MonkeyPatch.context() as patch:
        if multiplied == "rounded":
            round_everything(patch)
        answers = search_banks(banks, QUERIES, k, where, distinct, exact, products=products)
    for query, found in zip(QUERIES, answers, strict=True):
        expected = best_of_all(query, k, keep, distinct)
        assert [f.hit.score for f in found] == pytest.approx([score for score, _, _ in expected], abs=2e-6)
        true = {(layer, name): score for score, layer, name in best_of_all(query, None, keep, None)}
        assert [f.hit.score for f in found] == pytest.approx([true[f.layer, f.hit.id] for f in found], abs=2e-6)
        assert len({(f.layer, f.hit.id) for f in found}) == len(found)
        assert all(same_payload(f.hit.payload, stored[f.layer][f.hit.id]) for f in found)
        if distinct:
            words = [same_word(f.hit.payload["word"]) for f in found]
            assert len(set(words)) == len(words)
            anywhere = np.logical_or(*keep.values())
            there = {same_word(p["word"]) for p, kept in zip(PAYLOADS, anywhere, strict=True) if kept}
            assert len(words) == min(k, len(there))


def drawn(examples):
    """The filters that a test with so many examples sees."""
    seen = []

    @asked(examples)
    @given(where=st.lists(conditions(), min_size=1, max_size=3))
    def collect(where):
        seen.append(where)

    collect()
    return seen


def test_the_filters_are_worth_asking():
    """A fair share keeps something and leaves something out; every operator of every kind and every oddity occurs."""
    seen = drawn(1000)
    kept = [sum(all(holds(c, p) for c in where) for p in PAYLOADS) for where in seen]
    some = sum(0 < n < COUNT for n in kept)
    assert some > 0.3 * len(kept), (some, len(kept))
    every = list(itertools.chain.from_iterable(seen))
    assert {c.field for c in every} == set(FIELD_KINDS)
    drawn_ops = {(KINDS[c.field], c.op) for c in every}
    assert drawn_ops == {(kind, op) for kind, ops in OPERATORS.items() for op in ops}
    texts_seen = {v for c in every if FIELD_KINDS[c.field] == "keyword" for v in c.values}
    for odd in ("", ",", '"', "'"):
        assert any(odd in v if odd else v == "" for v in texts_seen), odd
    assert any(not v.isascii() for v in texts_seen) and any("\udcff" in v for v in texts_seen)
    assert {v for c in every for v in c.values if isinstance(v, int)} >= {-(2**63), 2**63 - 1, 2**70}
    assert {len(c.values) for c in every if c.op == "!="} >= {1, 2, 3, 4}
    assert max(len({c.field for c in where}) for where in seen) == 3


def test_a_filter_prints_as_it_is_typed_and_is_read_back():
    for where in drawn(120):
        texts_ = [str(c) for c in where if "\udcff" not in str(c)]
        assert parse(texts_) == tuple(c for c in where if "\udcff" not in str(c))


def test_a_filter_that_fails_is_printed(bank):
    @asked(20)
    @given(where=st.just([Condition("word", "=", ("a,b", "dog"))]))
    def wrong(where):
        typed(where)
        assert bank.count(where) == -1

    with pytest.raises(AssertionError) as caught:
        wrong()
    assert '--where word="a,b",dog' in "\n".join(caught.value.__notes__)


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


def test_payload_is_fetched_by_id(bank, monkeypatch):
    monkeypatch.setattr("lensbank.store.server.bank.ROWS_PER_ANSWER", 30)  # several requests
    by_id = dict(zip(ROWS.ids, PAYLOADS, strict=True))
    wanted = [*ROWS.ids[7:300:3], ROWS.ids[7], "00000000-0000-0000-0000-000000000000"]  # one twice, one not there
    found = bank.payloads(wanted)
    assert set(found) == set(wanted[:-1])
    assert all(same_payload(payload, by_id[name]) for name, payload in found.items())
    assert bank.payloads([]) == {}


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
        (dataclasses.replace(CORPUS, rows=30),),
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
