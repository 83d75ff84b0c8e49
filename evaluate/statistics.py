"""Shares over patches with intervals that draw whole images again: patches of an image are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: Times that the images are drawn again, with replacement.
DRAWS = 2000
#: Of the draws.
SEED = 11


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share, or a difference of shares, with its 95 % interval; all of them fractions of 1."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """JSON types only."""
        return asdict(self)


class Resampler:
    """Draws of the same images for every figure, so that figures can be compared draw by draw.

    Args:
        n_images: how many images there are.
    """

    def __init__(self, n_images: int) -> None:
        """Draw."""
        self._weights: Floats = np.zeros((0, n_images))
        if n_images:
            shares = np.full(n_images, 1 / n_images)
            self._weights = np.random.default_rng(SEED).multinomial(n_images, shares, size=DRAWS).astype(float)

    def ratio(self, hits: Floats, totals: Floats) -> Estimate | None:
        """Hits over totals of all images together; ``None`` where there is nothing to count.

        Args:
            hits: ``[n_images]``; fractions where they are expectations.
            totals: ``[n_images]``.
        """
        return self.mean([(hits, totals)])

    def mean(self, parts: Sequence[tuple[Floats, Floats]]) -> Estimate | None:
        """The mean of several ratios, those without a total left out."""
        drawn = [self._draw(hits, totals) for hits, totals in parts if totals.sum()]
        return _estimate(drawn) if drawn else None

    def difference(self, one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Estimate | None:
        """One ratio less another of the same images; ``None`` where either has nothing to count."""
        if not one[1].sum() or not other[1].sum():
            return None
        (value, drawn), (less, drawn_less) = self._draw(*one), self._draw(*other)
        return _estimate([(value - less, drawn - drawn_less)])

    def _draw(self, hits: Floats, totals: Floats) -> tuple[float, Floats]:
        above, below = self._weights @ hits, self._weights @ totals
        ratios = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
        return float(hits.sum() / totals.sum()), ratios


def _estimate(parts: Sequence[tuple[float, Floats]]) -> Estimate:
    value = float(np.mean([value for value, _ in parts]))
    drawn = np.mean([ratios for _, ratios in parts], axis=0)
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (float("nan"), float("nan"))
    return Estimate(value, float(low), float(high))
