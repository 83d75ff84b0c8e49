"""The best row of each word, by products: held to brute force, also where a bank has few words or one fills it."""

import numpy as np
import pytest
import torch
from test_query_rounded import Rows, unit

from lensbank.query import distinct_rows
from lensbank.query.distinct_rows import nearest_distinct
from lensbank.schemas.words import folded

COUNT, DIM = 3000, 8


class Words:
    """Words of a source's rows, and how often all rows of one were asked for."""

    def __init__(self, words):
        self.words, self.asked = np.array(words), []

    def of(self, places):
        return self.words[places].tolist()

    def rows(self, words):
        self.asked += words
        return np.flatnonzero(np.isin(self.words, words))


def some_words(draw, kind):
    """One word for nearly all rows; three words; a frequent one in two cases beside many rare ones."""
    if kind == "one":
        return np.where(draw.random(COUNT) < 0.999, "the", [f"rare{n % 9}" for n in range(COUNT)])
    if kind == "three":
        return draw.choice(["a", "b", "B"], COUNT)
    return np.where(draw.random(COUNT) < 0.5, draw.choice(["the", "The"], COUNT), [f"w{n % 300}" for n in range(COUNT)])


def brute_force(rows, words, query, k, keep):
    found, seen = [], set()
    scores = (rows.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    for n in np.lexsort((-np.arange(COUNT), -scores)):
        if keep[n] and folded(words[n]) not in seen:
            seen.add(folded(words[n]))
            found.append(int(n))
    return found[:k]


@pytest.mark.parametrize("kind", ["one", "three", "many"])
@pytest.mark.parametrize("k", [1, 4, 12])
def test_few_words(monkeypatch, kind, k):
    monkeypatch.setattr(distinct_rows, "_DEEPEST", 32)
    draw = np.random.default_rng(k)
    rows, queries = unit(draw.normal(size=(COUNT, DIM))), unit(draw.normal(size=(40, DIM)))
    words, keep = Words(some_words(draw, kind)), draw.random(COUNT) < 0.8
    calls, whole = [], distinct_rows.nearest
    monkeypatch.setattr(distinct_rows, "nearest", lambda *args: calls.append(args) or whole(*args))
    found = nearest_distinct(Rows(rows), words, queries, k, torch.device("cpu"), keep)
    for query, answer in zip(queries, found, strict=True):
        assert [place for _, place in answer] == brute_force(rows, words.words, query, k, keep)
        assert [score for score, _ in answer] == sorted((score for score, _ in answer), reverse=True)
    assert len(words.asked) == len(set(words.asked)), "each word's rows are looked up once"
    assert len(calls) < 20, "vectors that have seen the same words are asked together"
    listed = sum(len(some) for args in calls for some in args[5] or ())
    assert listed <= len(queries) * COUNT // 32 * k, "rows of frequent words are a mask that many vectors share"
