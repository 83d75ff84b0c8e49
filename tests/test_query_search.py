"""One list from several banks: held to brute force, with the real engine."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from query_banks import identity, payload, round_everything, row_id, write_rows

from lensbank.query import search
from lensbank.query.bank_product import BankProduct, product_of
from lensbank.query.search import search_banks
from lensbank.schemas.errors import StateError
from lensbank.schemas.filters import parse
from lensbank.store.opening import open_store

DIM, ROWS, LAYERS = 16, 600, (1, 2, 5)
# Few words, unevenly spread and in both cases: the first ones fill any short list.
WORDS = ["cat"] * 300 + ["Cat"] * 100 + ["dog"] * 120 + [f"word{n % 30}" for n in range(80)]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    vectors = {layer: rng.normal(size=(ROWS, DIM)).astype(np.float32) for layer in LAYERS}
    for rows in vectors.values():
        rows[:400] += 2.5  # cats stick together
    return vectors


@pytest.fixture(scope="module")
def banks(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    identities = [identity(layer, DIM) for layer in LAYERS]
    rows = [payload(word, position=n % 9) for n, word in enumerate(WORDS)]
    with open_store(folder, create=True) as store:
        write_rows(store, identities, [row_id(n) for n in range(ROWS)], rows, data)
        opened = [store.open(one.name()) for one in identities]
    yield opened
    for bank in opened:
        bank.close()


@pytest.fixture(scope="module")
def queries():
    rng = np.random.default_rng(1)
    near_cats = rng.normal(size=(10, DIM)) + 2.5
    return np.concatenate([near_cats, rng.normal(size=(10, DIM))]).astype(np.float32)


def brute_force(data, query, k, keep=lambda n: True, distinct=False):
    """(layer, id, score), best first; numpy only."""
    found = []
    for layer, rows in data.items():
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for n, score in enumerate(unit @ (query / np.linalg.norm(query))):
            if keep(n):
                found.append((-float(score), layer, n))
    chosen, words = [], set()
    for score, layer, n in sorted(found):
        if distinct and WORDS[n].casefold() in words:
            continue
        words.add(WORDS[n].casefold())
        chosen.append((layer, row_id(n), -score))
    return chosen[:k]


def assert_same(found, expected):
    assert [(f.layer, f.hit.id) for f in found] == [(layer, name) for layer, name, _ in expected]
    assert [f.hit.score for f in found] == pytest.approx([score for _, _, score in expected], abs=1e-5)


@pytest.fixture(params=["engine", "product", "rounded"])
def ask(request, monkeypatch):
    """`search_banks` in the ways that compare every row; `rounded` is the product's own, of many vectors and rows."""
    if request.param == "engine":
        return search_banks
    if request.param == "rounded":
        round_everything(monkeypatch)

    def product(banks, *args, **options):
        products = [product_of(bank, torch.device("cpu")) for bank in banks]
        assert all(isinstance(one, BankProduct) for one in products), products
        return search_banks(banks, *args, **options, products=products)

    return product


@pytest.mark.parametrize("k", [1, 5, 40])
def test_merge_agrees_with_brute_force(ask, banks, data, queries, k):
    answers = ask(banks, queries, k)
    assert len(answers) == len(queries)
    for query, found in zip(queries, answers, strict=True):
        assert_same(found, brute_force(data, query, k))
    assert len({f.layer for found in answers for f in found}) == len(LAYERS)


@pytest.mark.parametrize("k", [1, 4, 12, 32])
def test_distinct_words_agree_with_brute_force(ask, banks, data, queries, k):
    for query, found in zip(queries, ask(banks, queries, k, distinct="word"), strict=True):
        assert_same(found, brute_force(data, query, k, distinct=True))
        words = [f.hit.payload["word"].casefold() for f in found]
        assert len(set(words)) == len(words) == k  # there are 32 different ones


def test_distinct_words_beyond_the_deepest_list(ask, banks, data, queries, monkeypatch):
    """Where hundreds of rows of one word come first, the words seen are filtered away."""
    monkeypatch.setattr(search, "_DEEPEST", 8)
    for query, found in zip(queries, ask(banks, queries, 2, distinct="word"), strict=True):
        assert_same(found, brute_force(data, query, 2, distinct=True))
    for query, found in zip(queries[:3], ask(banks, queries[:3], 40, distinct="word"), strict=True):
        assert_same(found, brute_force(data, query, 32, distinct=True))


def test_small_requests_agree_with_large_ones(ask, banks, queries, monkeypatch):
    whole = ask(banks, queries, 7, distinct="word")
    monkeypatch.setattr(search, "_ROWS_AT_ONCE", 30)
    assert ask(banks, queries, 7, distinct="word") == whole


@pytest.mark.parametrize(
    ("where", "keep"),
    [
        (["word=dog"], lambda n: WORDS[n] == "dog"),
        (["word!=cat,Cat", "position>=4"], lambda n: WORDS[n].casefold() != "cat" and n % 9 >= 4),
        (["is_word=false"], lambda n: not WORDS[n].isalpha()),
        (["sentence~the word3"], lambda n: WORDS[n] == "word3"),
    ],
)
@pytest.mark.parametrize("distinct", [None, "word"])
def test_filters_agree_with_brute_force(ask, banks, data, queries, where, keep, distinct):
    for query, found in zip(queries, ask(banks, queries, 5, parse(where), distinct), strict=True):
        assert_same(found, brute_force(data, query, 5, keep, distinct is not None))


def test_fewer_rows_than_asked_for(ask, banks, queries):
    found = ask(banks, queries[:1], 50, parse(["word=word3"]))[0]
    assert len(found) == WORDS.count("word3") * len(LAYERS)
    assert len(ask(banks, queries[:1], 50, parse(["word=word3"]), "word")[0]) == 1


def test_nothing_to_find(ask, banks, queries):
    assert ask(banks, queries, 5, parse(["word=zebra"])) == [[]] * len(queries)
    assert ask([], queries, 5) == [[]] * len(queries)
    assert ask(banks, queries[:0], 5) == []


def test_norm_of_a_query_does_not_matter(ask, banks, queries):
    plain = ask(banks, queries, 5)
    scaled = ask(banks, queries * 1e4, 5)
    assert [[f.hit.id for f in found] for found in plain] == [[f.hit.id for f in found] for found in scaled]


@pytest.mark.parametrize("number", [np.nan, np.inf, 0.0])
def test_states_without_direction_are_refused(ask, banks, queries, number):
    states = queries.copy()
    states[3] = number
    for distinct in (None, "word"):
        with pytest.raises(StateError):
            ask(banks, states, 5, distinct=distinct)


@pytest.mark.parametrize("distinct", [None, "word"])
def test_more_neighbours_than_rows_and_none(ask, banks, data, queries, distinct):
    every = ask(banks, queries[:2], 5000, distinct=distinct)
    for query, found in zip(queries[:2], every, strict=True):
        assert_same(found, brute_force(data, query, 5000, distinct=distinct is not None))
    assert len(every[0]) == (32 if distinct else ROWS * len(LAYERS))
    assert ask(banks, queries, 0, distinct=distinct) == [[]] * len(queries)
    assert ask(banks, queries[:2], 5, [], distinct) == ask(banks, queries[:2], 5, distinct=distinct)


def test_ties_are_ordered_by_layer_and_id(ask, tmp_path):
    """Equal states, as layer 0 has them for every context of a token: one list, always the same."""
    count = 40
    vectors = {layer: np.tile(np.arange(1, 5, dtype=np.float32), (count, 1)) for layer in (0, 3)}
    shuffled = np.random.default_rng(2).permutation(count)
    identities = [identity(layer, 4) for layer in (0, 3)]
    with open_store(tmp_path, create=True) as store:
        rows = [payload("same") for _ in range(count)]
        write_rows(store, identities, [row_id(int(n)) for n in shuffled], rows, vectors)
        with store.open(identities[1].name()) as later, store.open(identities[0].name()) as first:
            found = ask([later, first], np.ones((1, 4), np.float32), 45)[0]
            short = ask([later, first], np.ones((1, 4), np.float32), 3)[0]
    expected = [(0, row_id(n)) for n in range(count)] + [(3, row_id(n)) for n in range(5)]
    assert [(f.layer, f.hit.id) for f in found] == expected
    assert [(f.layer, f.hit.id) for f in short] == expected[:3]


def test_a_row_in_two_banks_of_one_layer_counts_once(ask, tmp_path):
    """A text model's bank and that of the VLM around it can stand side by side in a store."""
    vectors = {1: np.eye(4, dtype=np.float32)}
    one, two = identity(1, 4), replace(identity(1, 4), model="wrapped")
    with open_store(tmp_path, create=True) as store:
        for each in (one, two):
            write_rows(store, [each], [row_id(n) for n in range(4)], [payload(w) for w in "abcd"], vectors)
        with store.open(one.name()) as a, store.open(two.name()) as b:
            found = ask([a, b], np.ones((1, 4), np.float32), 3)[0]
    assert [f.hit.id for f in found] == [row_id(0), row_id(1), row_id(2)]


def test_progress_counts_every_query_of_every_bank(banks, queries):
    counts = []
    search_banks(banks, queries, 3, distinct="word", advance=counts.append)
    assert sum(counts) == len(queries) * len(banks)


def test_one_request_per_bank_where_nothing_ties(banks, queries, monkeypatch):
    """Asking again is for ties and repeated words; an ordinary query must not pay for it."""
    asked = []
    for bank in banks:
        whole = bank.search
        monkeypatch.setattr(bank, "search", lambda *args, whole=whole: asked.append(args[1]) or whole(*args))
    search_banks(banks, queries, 5)
    assert asked == [6] * len(banks)


@pytest.mark.parametrize("distinct", [None, "word"])
def test_every_row_comes_with_its_own_payload(banks, data, queries, distinct):
    for found in search_banks(banks, queries, 7, distinct=distinct):
        for neighbor in found:
            n = next(n for n in range(ROWS) if row_id(n) == neighbor.hit.id)
            assert (neighbor.hit.payload["word"], neighbor.hit.payload["position"]) == (WORDS[n], n % 9)
            norm = float(np.linalg.norm(data[neighbor.layer][n]))  # the one field that differs between banks
            assert neighbor.hit.payload["norm"] == pytest.approx(norm, rel=1e-5)


def test_payload_is_fetched_for_the_answer_only(banks, queries, monkeypatch):
    fetched = []
    for bank in banks:
        search_whole, payloads_whole = bank.search, bank.payloads
        monkeypatch.setattr(
            bank,
            "search",
            lambda *args, whole=search_whole: [
                fetched.extend(hit.id for hit in hits if hit.payload) or hits for hits in whole(*args)
            ],
        )
        monkeypatch.setattr(bank, "payloads", lambda ids, whole=payloads_whole: fetched.extend(ids) or whole(ids))
    found = search_banks(banks, queries, 5)
    assert len(fetched) == len({(f.bank, f.hit.id) for best in found for f in best})
