"""Candidates from rows of eight bits: never fewer than there are, whatever rows and vectors look like."""

import numpy as np
import pytest
import torch
from query_banks import round_everything

from lensbank.query import product, rounded
from lensbank.query.rounded import nearest_rounded

CPU = torch.device("cpu")


class Rows:
    """A source of arrays; keys run against the numbers."""

    def __init__(self, rows):
        self.rows, (self.count, self.dim) = rows, rows.shape

    def blocks(self, device, size):
        for start in range(0, self.count, size):
            yield start, torch.from_numpy(self.rows[start : start + size].astype(np.float32))

    def take(self, places):
        return self.rows[places]

    def keys(self, places):
        return (-places,)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(rng, count, dim):
    """Shared mean, outlier dimensions, few clusters, as hidden states have them."""
    rows = rng.normal(size=(12, dim))[rng.integers(0, 12, count)] + rng.normal(size=(count, dim)) * 0.2 + 0.8
    rows[:, 0] += 25
    return rows


def nearly_equal(rng, count, dim):
    """Scores that float32 can hardly tell apart, and ties."""
    rows = np.tile(rng.normal(size=(1, dim)), (count, 1)) + rng.normal(size=(count, dim)) * 1e-6
    rows[count // 2 : count // 2 + 50] = rows[:50]
    return rows


def one_large(rng, count, dim):
    """Rows of which one number makes all others round to nothing."""
    rows = rng.normal(size=(count, dim)) * 1e-3
    rows[np.arange(count), rng.integers(0, dim, count)] = 1
    return rows


KINDS = [clustered, nearly_equal, one_large, lambda rng, count, dim: rng.normal(size=(count, dim))]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    round_everything(monkeypatch)
    monkeypatch.setattr(rounded, "BLOCK_ROWS", 256)
    monkeypatch.setattr(rounded, "VECTORS_AT_ONCE", 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_the_same_rows_and_scores_as_all_rows_in_float32(kind, seed):
    rng = np.random.default_rng(seed)
    count, dim, k = int(rng.integers(300, 3000)), int(rng.choice([3, 16, 65])), int(rng.choice([1, 5, 20]))
    rows = unit(kind(rng, count, dim)).astype(np.float16 if seed == 3 else np.float32)
    mixed = rows[rng.integers(0, count, (30, 2))].astype(np.float32).sum(1)
    queries = unit(np.concatenate([mixed, rows[:5].astype(np.float32), rng.normal(size=(10, dim))]))
    keep = None if seed % 2 else rng.random(count) < 0.6
    without = [np.sort(rng.choice(count, int(rng.integers(0, 40)), replace=False)) for _ in queries] if seed else None
    source = Rows(rows)
    found = product.nearest(source, queries, k, CPU, keep, without)
    true = product.by_float32(source, queries, k, CPU, keep, without)
    for (scores, places), (true_scores, true_places) in zip(found, true, strict=True):
        assert places.tolist() == true_places.tolist() and scores.tolist() == true_scores.tolist()


def test_most_vectors_need_a_few_rows(monkeypatch):
    """Else nothing would be gained: those given up are searched by all rows."""
    rng = np.random.default_rng(0)
    rows = unit(clustered(rng, 4000, 64))
    answers = nearest_rounded(Rows(rows), unit(rows[:40] + 0.02 * rng.normal(size=(40, 64))), 5, None, None)
    assert sum(answer is None for answer in answers) < 4
    monkeypatch.setattr(rounded, "_MOST_CANDIDATES", 5)
    assert None in nearest_rounded(Rows(rows), unit(rows[:40]), 5, None, None)


def test_fewer_rows_than_neighbours(monkeypatch):
    rows = unit(np.random.default_rng(1).normal(size=(300, 8)))
    keep = np.zeros(300, bool)
    keep[[3, 70, 200]] = True
    for k in (2, 3, 5):
        (one,) = product.by_rounded(Rows(rows), rows[:1], k, keep, None)
        best = sorted((n for n in (3, 70, 200)), key=lambda n: -float(rows[n] @ rows[0]))
        assert one[1].tolist() == best[:k]
    assert product.by_rounded(Rows(rows), rows[:1], 3, np.zeros(300, bool), None)[0][1].tolist() == []


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_of_residuals_are_never_too_small(kind):
    """What the proof rests on, in float64: also where every residual points the same way."""
    rng = np.random.default_rng(7)
    rows = unit(kind(rng, 500, 48))
    levels = rng.integers(-127, 127, (100, 48)) + 0.499
    levels[:, 0] = 127
    for given in (torch.from_numpy(rows - rows.mean(0)), torch.from_numpy((levels * 1e-3).astype(np.float32))):
        of = rounded._rounded(given)
        shown = of.numbers.double() * of.scale.double().unsqueeze(1)
        assert (of.off.double() >= (given.double() - shown).norm(dim=1)).all()
        assert (of.length.double() >= shown.norm(dim=1)).all()
        assert int(of.numbers.abs().max()) <= 127


def test_a_row_that_is_the_mean_itself():
    rows = np.tile(unit(np.ones((1, 16))), (200, 1))
    (one,) = product.by_rounded(Rows(rows), rows[:1], 3, None, None)
    assert one[1].tolist() == [199, 198, 197] and one[0] == pytest.approx([1, 1, 1])


def test_processors_that_lose_products_are_noticed(monkeypatch):
    whole = torch._int_mm
    assert rounded.is_exact(64)
    monkeypatch.setattr(rounded.torch, "_int_mm", lambda one, other: whole(one, other).clamp(-(1 << 15), 1 << 15))
    assert not rounded.is_exact(64)

    def lacking(one, other):
        raise NotImplementedError("no such product")

    monkeypatch.setattr(rounded.torch, "_int_mm", lacking)
    assert not rounded.is_exact(64)


def test_few_vectors_or_rows_are_not_worth_it(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(rounded, "is_quick", lambda dim: True)
    rows = Rows(np.ones((60_000, 2), np.float32))
    assert rounded.pays(rows, 9 * 576, 5)
    assert not rounded.pays(rows, 576, 5) and not rounded.pays(rows, 9 * 576, 100)
    assert not rounded.pays(Rows(np.ones((20_000, 2), np.float32)), 9 * 576, 1)
