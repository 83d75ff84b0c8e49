"""What an approximate search missed, held to what it was given."""

from dataclasses import replace

import numpy as np
import pytest
from query_banks import identity, payload, row_id, write_rows

from lensbank.query.recall import SAMPLE, Recall, recall_note, sample_recall, with_recall
from lensbank.query.search import Found, search_banks
from lensbank.schemas.filters import parse
from lensbank.schemas.searches import BankSearch
from lensbank.store.found import Hit
from lensbank.store.opening import open_store

DIM, LAYERS, K = 16, (1, 2, 5), 5


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    rng = np.random.default_rng(0)
    vectors = {layer: rng.normal(size=(200, DIM)).astype(np.float32) for layer in LAYERS}
    identities = [identity(layer, DIM) for layer in LAYERS]
    with open_store(tmp_path_factory.mktemp("store"), create=True) as store:
        write_rows(
            store, identities, [row_id(n) for n in range(200)], [payload(f"word{n}") for n in range(200)], vectors
        )
        opened = [store.open(one.name()) for one in identities]
    yield opened
    for bank in opened:
        bank.close()


@pytest.fixture(scope="module")
def queries():
    return np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def truth(banks, queries):
    return search_banks(banks, queries, K)


def measured(banks, queries, found, **options):
    return sample_recall(banks, queries, found, K, **options)


def test_without_an_index_nothing_is_missed(banks, queries, truth):
    recall = measured(banks, queries, search_banks(banks, queries, K, exact=False))
    assert recall.share == 1.0 and recall.states == len(queries)
    in_layers = {layer: sum(f.layer == layer for found in truth for f in found) for layer in LAYERS}
    assert recall.wanted == recall.found == in_layers


def test_what_was_missed_counts_where_it_was_missed(banks, queries, truth):
    stranger = Found(1, Hit("nowhere", -1.0, {}))
    recall = measured(banks, queries, [[*found[:3], stranger, stranger] for found in truth])
    assert recall.share == pytest.approx(0.6)
    without = [[f for f in found if f.layer != 2] for found in truth]
    recall = measured(banks, queries, without)
    assert recall.at(2) == 0.0 and recall.at(1) == recall.at(5) == 1.0 and recall.at(9) is None
    assert measured(banks, queries, [[] for _ in truth]).share == 0.0


def test_what_ties_with_the_last_one_is_as_good(banks, queries, truth):
    twins = [[*found[:4], Found(9, Hit("twin", found[4].hit.score, {}))] for found in truth]
    assert measured(banks, queries, twins).share == 1.0


def test_a_better_one_that_was_missed_has_no_substitute(banks, queries, truth):
    """Rows that tie with the last one stand in for each other, not for the nearest."""
    spoilt = [[*found[1:], Found(9, Hit("twin", found[4].hit.score, {}))] for found in truth]
    assert measured(banks, queries, spoilt).share == pytest.approx(0.8)


def test_the_same_filters_hold_for_the_sample(banks, queries):
    where = parse(["word=word3,word4"])
    found = search_banks(banks, queries, K, where, "word", exact=False)
    recall = measured(banks, queries, found, where=where, distinct="word")
    assert recall.share == 1.0 and sum(recall.wanted.values()) == 2 * len(queries)
    nothing = measured(banks, queries, [[] for _ in queries], where=parse(["word=zebra"]))
    assert nothing.share is None and recall_note(nothing, K) is None


def test_a_sample_is_compared(banks, queries):
    many = np.concatenate([queries] * 5)  # 100 states: every fourth is compared
    spoilt = [[] if n % 4 else found for n, found in enumerate(search_banks(banks, many, K))]
    recall = measured(banks, many, spoilt)
    assert recall.share == 1.0 and recall.states == 25 <= SAMPLE


def test_samples_add_up():
    total = sum((Recall(3, {1: 10, 2: 5}, {1: 9, 2: 0}), Recall(2, {1: 10}, {1: 10}), Recall()), Recall())
    assert (total.states, total.share, total.at(1), total.at(2)) == (5, 19 / 25, 19 / 20, 0.0)
    assert recall_note(total, 5) == (
        "Approximate search: recall@5 0.760 compared with exact search, on 5 of the searched states "
        "(by bank layer 1: 0.950, 2: 0.000)."
    )


def test_banks_that_were_searched_exactly_have_no_recall():
    searches = (BankSearch("a", 1, 9, False), BankSearch("b", 2, 9, True))
    assert with_recall(searches, None) == searches
    assert with_recall(searches, Recall(1, {1: 2, 2: 2}, {1: 1, 2: 2})) == (
        replace(searches[0], recall=0.5),
        searches[1],
    )
