"""Average precision of an order of images, and the mean over labels with its interval over images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..evaluate.statistics import Estimate
from .voting import Votes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Draws of images for the interval of a mean average precision.
DRAWS = 500


class Precision(NamedTuple):
    """Average precisions of one label that is an annotated thing.

    Attributes:
        precision: of the order of images by the label's share.
        chance: of a random order, on average.
        other: mean over the orders by the other labels' shares.
    """

    precision: float
    chance: float
    other: float


def average_precision(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Mean precision at each positive, images in order of their scores; ties share what their orders get on average.

    Args:
        scores: ``[images]``.
        positive: ``[images]``, at least one true.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], positive[order].astype(np.float64)
    total, before, seen = 0.0, 0.0, 0
    while seen < len(ranked):
        size = int(np.searchsorted(-ranked, -ranked[seen], side="right")) - seen
        inside = hits[seen : seen + size].sum()
        if inside:
            # Of a tied block each place holds a positive with the same chance, also beside another positive.
            places = np.arange(1, size + 1)
            others = (inside - 1) / (size - 1) * (places - 1) if size > 1 else np.zeros(1)
            total += float((inside / size * (before + 1 + others) / (seen + places)).sum())
        before, seen = before + inside, seen + size
    return total / float(hits.sum())


def precisions_of(votes: Votes, names: Sequence[str], shares: Floats) -> dict[str, Precision]:
    """Of the labels that are annotated on some of the images, and not on all.

    Args:
        votes: of one bank and lens.
        names: of the labels.
        shares: ``[images, labels]``.
    """
    found = {}
    for number, name in enumerate(names):
        positive = np.array([name in things for things in votes.things])
        if positive.any() and not positive.all():
            others = [average_precision(shares[:, o], positive) for o in range(len(names)) if o != number]
            chance = average_precision(np.zeros(len(positive)), positive)
            other = float(np.mean(others)) if others else chance
            found[name] = Precision(average_precision(shares[:, number], positive), chance, other)
    return found


def mean_precision(
    votes: Votes, names: Sequence[str], shares: Floats, precisions: Mapping[str, Precision], rng: np.random.Generator
) -> Estimate:
    """The mean over labels; its 95 % interval by drawing images anew (bootstrap).

    Args:
        votes: of one bank and lens.
        names: of the labels.
        shares: ``[images, labels]``.
        precisions: of the labels that count, at least one.
        rng: of the draws.
    """
    numbers = [names.index(name) for name in precisions]
    positive = np.array([[name in things for name in precisions] for things in votes.things])
    drawn = []
    for _ in range(DRAWS):
        rows = rng.integers(0, len(shares), len(shares))
        kept = [i for i in range(len(numbers)) if positive[rows, i].any()]
        if kept:
            drawn.append(np.mean([average_precision(shares[rows, numbers[i]], positive[rows, i]) for i in kept]))
    value = float(np.mean([one.precision for one in precisions.values()]))
    # An image drawn twice stands beside itself in the order, so draws lie above: only their spread is taken.
    low, high = value + np.quantile(drawn, [0.025, 0.975]) - np.mean(drawn) if drawn else (value, value)
    return Estimate(value, max(0.0, min(value, float(low))), min(1.0, max(value, float(high))))
