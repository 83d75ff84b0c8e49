"""How often 95 % intervals of a difference hold the truth where two settings read the same images.

Printed by `python -m benchmarks.interval_coverage --paired [--runs N]`. The first
setting's hits are drawn as for shares: images differ, and patches of one image are alike. The second is the first with
some hits lost and some patches gained (these changes cluster in images, too, up to whole images that change), or draws
hits of its own. Ways compared: what lensbank uses (from the intervals of both shares), and McNemar's idea over images:
by how much an image gains and by how much it loses are two shares of the same totals, each with lensbank's interval.
Where nothing changed, that is near the rule of three: 3 / images to either side.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lensbank.evaluate.statistics import ClusteredShares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Interval = tuple[float, float]

SHARES = (0.02, 0.1, 0.4)
IMAGES = (10, 20, 50, 200)
PATCHES = 49
RHO = 0.1
#: Of patches an image has: many in one, or drawn from a wide distribution.
SIZES = ("mixed", "one has most")


@dataclass(frozen=True)
class Change:
    """What the second setting does to the hits of the first.

    Attributes:
        name: for people.
        gained: share of all patches that become hits.
        lost: share of all patches that were hits and are none any more.
        rho: correlation of changes within images; 1 for images that change as a whole.
        drawn: ``None``, or the second draws its own hits, so many times as many; ``gained`` and ``lost`` are unused.
        eased: whether its own hits are of images as easy as for the first.
    """

    name: str
    gained: float = 0.0
    lost: float = 0.0
    rho: float = RHO
    drawn: float | None = None
    eased: bool = False


CHANGES = (
    Change("identical"),
    Change("1 point gained", 0.01),
    Change("0.5 points gained, 0.5 lost", 0.005, 0.005),
    Change("3 points gained", 0.03, rho=0.3),
    Change("3 points gained by whole images", 0.03, rho=1.0),
    Change("10 points gained, 1 lost", 0.1, 0.01, rho=0.3),
    Change("independent, as many", drawn=1.0),
    Change("independent, half as many", drawn=0.5),
    Change("equally easy images, half as many", drawn=0.5, eased=True),
)


def two_settings(
    rng: np.random.Generator, change: Change, share: float, images: int, sizes: str
) -> tuple[Floats, Floats, Floats, float]:
    """Hits of the second and of the first setting and their totals, ``[images]`` each; and the true difference."""
    totals = np.maximum(1, np.round(PATCHES * rng.beta(1.5, 2.5, images)))
    if sizes == "one has most":
        totals = np.array([40.0 * PATCHES, *[10.0] * (images - 1)])
    patches, easy = totals.astype(int), _by_image(rng, share, RHO, images)
    first = rng.binomial(patches, easy)
    if change.drawn is not None:
        own = change.drawn * (easy if change.eased else _by_image(rng, share, RHO, images))
        return rng.binomial(patches, own).astype(float), first.astype(float), totals, (change.drawn - 1) * share
    lost = rng.binomial(first, _by_image(rng, change.lost / share, change.rho, images))
    gained = rng.binomial(patches - first, _by_image(rng, change.gained / (1 - share), change.rho, images))
    second = first - lost + gained
    return second.astype(float), first.astype(float), totals, change.gained - change.lost


def _by_image(rng: np.random.Generator, share: float, rho: float, images: int) -> Floats:
    if share <= 0 or rho >= 1:
        return (rng.random(images) < share).astype(float)
    spread = (1 - rho) / rho
    return rng.beta(share * spread, (1 - share) * spread, images)


def ours(one: Floats, other: Floats, totals: Floats) -> Interval:
    """The product's."""
    found = ClusteredShares(len(totals)).difference((one, totals), (other, totals))
    assert found is not None
    return found.low, found.high


def gains_and_losses(one: Floats, other: Floats, totals: Floats) -> Interval:
    """Gains less losses of images, two shares that vary together (MOVER: Zou and Donner 2008)."""
    shares = ClusteredShares(len(totals))
    parts = [np.maximum(one - other, 0), np.maximum(other - one, 0)]
    found = [shares.ratio(part, totals) for part in parts]
    gain, loss = (estimate for estimate in found if estimate is not None)
    errors = [part - estimate.value * totals for part, estimate in zip(parts, (gain, loss), strict=True)]
    norm = float(np.linalg.norm(errors[0]) * np.linalg.norm(errors[1]))
    together = float(errors[0] @ errors[1]) / norm if norm > 0 else 0.0

    def end(of_gain: float, of_loss: float) -> float:
        return math.sqrt(max(0.0, of_gain**2 + of_loss**2 - 2 * together * of_gain * of_loss))

    value = gain.value - loss.value
    down = end(gain.value - gain.low, loss.high - loss.value)
    return value - down, value + end(gain.high - gain.value, loss.value - loss.low)


WAYS: dict[str, Callable[[Floats, Floats, Floats], Interval]] = {
    "lensbank": ours,
    "gains and losses": gains_and_losses,
}


def paired_coverage(
    change: Change, share: float, images: int, sizes: str, runs: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Of each way: how often its interval holds the true difference, and its mean width."""
    rng = np.random.default_rng(seed)
    inside, width = dict.fromkeys(WAYS, 0), dict.fromkeys(WAYS, 0.0)
    for _ in range(runs):
        one, other, totals, truth = two_settings(rng, change, share, images, sizes)
        for name, way in WAYS.items():
            low, high = way(one, other, totals)
            inside[name] += low - 1e-9 <= truth <= high + 1e-9
            width[name] += (high - low) / runs
    return {name: (inside[name] / runs, width[name]) for name in WAYS}


def print_paired(images: Sequence[int], runs: int) -> None:
    """A row a change, number and sizes of images: mean and least coverage over shares, and widths by share."""
    print("| images | patches | second setting | " + " | ".join(f"{way}: mean, least, widths" for way in WAYS) + " |")
    print("|---" * (3 + len(WAYS)) + "|")
    for count, sizes, change in itertools.product(images, SIZES, CHANGES):
        shares = [share for share in SHARES if change.lost < share]
        found = [paired_coverage(change, share, count, sizes, runs) for share in shares]
        cells = [
            f"{100 * np.mean([one[way][0] for one in found]):.0f} %, {100 * min(one[way][0] for one in found):.0f} %, "
            + " / ".join(f"{100 * one[way][1]:.1f}" for one in found)
            for way in WAYS
        ]
        print(f"| {count} | {sizes} | {change.name} | " + " | ".join(cells) + " |")
        sys.stdout.flush()
