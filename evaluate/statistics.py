"""Shares over patches, with 95 % intervals over images: the patches of one image are alike.

An interval is Clopper and Pearson's with the *effective* number of patches: so many independent ones
as would be as uncertain, by the spread between images (each left out in turn), less what few images, or
images of very different sizes, leave unknown of that spread (Korn and Graubard 1998, Survey Methodology 24). Where hits
fall into few images, these tell little of the spread either: the number is then drawn towards one
patch an image, and is that where there is no hit at all, so that the upper end of zero hits is near
3 / images. Drawing images again, the usual way, knows only the images there are and covers far too
little where shares are small. `python -m benchmarks.interval_coverage` compares the ways.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .quantiles import beta_quantile, t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: As a summary names them.
INTERVALS = "95 %, Clopper-Pearson with the effective number of patches, images as clusters"
_OUTSIDE = 0.05
_Z = 1.959964
#: So many images with hits weigh as much as not knowing whether patches of one image differ at all.
_UNKNOWING = 1.0
#: Below, one image has nearly all patches, and there is no spread to be seen.
_ONE_IMAGE = 1.05
#: So few patches leave everything open.
_NOTHING = 1e-3

#: Hits and totals by image, ``[n_images]`` each; hits are fractions where they are expectations.
Counted = tuple["Floats", "Floats"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share, or a difference of shares, with its 95 % interval; all of them fractions of 1."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """JSON types only."""
        return asdict(self)


def plain(estimate: Estimate | None) -> dict[str, float] | None:
    """An estimate as summaries have it: JSON types only, rounded."""
    if estimate is None:
        return None
    return {name: round(value, 6) for name, value in estimate.to_dict().items()}


class ClusteredShares:
    """Shares and differences of shares over the same images.

    Args:
        n_images: how many images there are.
    """

    def __init__(self, n_images: int) -> None:
        """Remember."""
        self._n = n_images

    def ratio(self, hits: Floats, totals: Floats) -> Estimate | None:
        """Hits over totals of all images together; ``None`` where there is nothing to count.

        Args:
            hits: ``[n_images]``; fractions where they are expectations.
            totals: ``[n_images]``.
        """
        return self.mean([(hits, totals)])

    def mean(self, parts: Sequence[Counted]) -> Estimate | None:
        """The mean of several ratios, those without a total left out."""
        found = _mean(parts)
        return None if found is None else found[0]

    def difference(self, one: Counted, other: Counted) -> Estimate | None:
        """One ratio less another of the same images; ``None`` where either has nothing to count."""
        return self.combined([([one], 1), ([other], -1)])

    def combined(self, signed: Sequence[tuple[Sequence[Counted], int]]) -> Estimate | None:
        """Means of ratios added up, or taken off, by their signs; ``None`` where one has nothing to count.

        The ends follow from the ends of the parts and from how the parts vary together over images
        (MOVER: Zou and Donner 2008, Statistics in Medicine 27), so that a difference of two small
        shares has an interval as honest as theirs.
        """
        found = [(_mean(parts), sign) for parts, sign in signed]
        known = [(*one, sign) for one, sign in found if one is not None]
        if len(known) < len(found):
            return None
        together = _correlation([sign * residuals for _, residuals, sign in known])
        down = np.array([e.value - e.low if sign > 0 else e.high - e.value for e, _, sign in known])
        up = np.array([e.high - e.value if sign > 0 else e.value - e.low for e, _, sign in known])
        value = sum(sign * estimate.value for estimate, _, sign in known)
        low, high = (math.sqrt(max(0.0, float(ends @ together @ ends))) for ends in (down, up))
        return Estimate(value, value - low, value + high)


def _mean(parts: Sequence[Counted]) -> tuple[Estimate, Floats] | None:
    """The mean of ratios, and what each image adds to its error, ``[n_images]``."""
    counted = [(hits, totals) for hits, totals in parts if totals.sum()]
    if not counted:
        return None
    ratios = [float(hits.sum() / totals.sum()) for hits, totals in counted]
    errors = [(h - r * t) / t.sum() for (h, t), r in zip(counted, ratios, strict=True)]
    share, residuals = float(np.mean(ratios)), np.mean(errors, axis=0)
    weights = np.mean([totals / totals.sum() for _, totals in counted], axis=0)
    patches = float(np.mean([totals.sum() for _, totals in counted]))
    low, high = _ends(share, residuals, weights, patches)
    return Estimate(share, low, high), residuals


def _ends(share: float, residuals: Floats, weights: Floats, patches: float) -> tuple[float, float]:
    size = _effective(share, residuals, weights, patches)
    hit, miss = share * size, (1 - share) * size
    low = beta_quantile(_OUTSIDE / 2, hit, miss + 1) if hit > 0 else 0.0
    high = beta_quantile(1 - _OUTSIDE / 2, hit + 1, miss) if miss > 0 else 1.0
    return min(round(low, 9), share), max(round(high, 9), share)


def _effective(share: float, residuals: Floats, weights: Floats, patches: float) -> float:
    """So many independent patches would be as uncertain.

    Args:
        share: hits over totals.
        residuals: what each image adds to its error.
        weights: what each image has of the total.
        patches: the total.
    """
    rare = min(share, 1 - share)
    # So many images of one size would know as much of the spread between images (Kish 1965).
    images = round(1 / float((weights**2).sum()), 9)
    if rare <= 0 or images < _ONE_IMAGE:
        return images
    # Each image left out in turn: one with most of the patches draws the share to its own, and hides what it adds.
    seen = int((weights > 0).sum())
    variance = (seen - 1) / seen * float(((residuals / (1 - weights)) ** 2).sum())
    measured = min(patches, share * (1 - share) / variance) if variance > 0 else patches
    weight = rare * measured  # about the number of images among which hits (or misses) are spread
    size = (weight + _UNKNOWING) / (weight / measured + _UNKNOWING / images)
    return max(_NOTHING, size * (_Z / t_quantile(1 - _OUTSIDE / 2, images - 1)) ** 2)


def _correlation(residuals: Sequence[Floats]) -> Floats:
    """Of the parts over images; a part that does not vary goes with no other."""
    rows = np.array(residuals)
    norms = np.linalg.norm(rows, axis=1)
    rows = rows / np.where(norms > 0, norms, 1)[:, None]
    together: Floats = rows @ rows.T
    np.fill_diagonal(together, 1.0)
    return together
