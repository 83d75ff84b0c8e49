"""How often 95 % intervals of clustered shares hold the truth: `python -m benchmarks.interval_coverage [--runs N]`.

Images differ and patches of one image are alike, so images are the clusters. Each run draws the share
of every image from a beta distribution (mean: the true share; correlation within images: ``rho``), the
number of its object patches from a wide distribution, and hits from both. Ways compared: images drawn
again 2,000 times (percentiles), Wilson and Clopper-Pearson with the effective number of patches, and
what lensbank uses (`evaluate/statistics.py`). `--paired`: differences of two settings over the same images
(`benchmarks/paired_coverage.py`). Needs no model.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paired_coverage import print_paired
from lensbank.evaluate.quantiles import beta_quantile, t_quantile
from lensbank.evaluate.statistics import ClusteredShares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Interval = tuple[float, float]

TRUTHS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
IMAGES = (10, 20, 50, 200)
PATCHES = (16, 64, 576)
RHOS = (0.02, 0.1, 0.3)
DRAWS = 2000


def table(rng: np.random.Generator, truth: float, images: int, patches: int, rho: float) -> tuple[Floats, Floats]:
    """Hits and totals of one run, ``[images]`` each; at most ``patches`` object patches an image, at least one."""
    totals = np.maximum(1, np.round(patches * rng.beta(1.5, 2.5, images)))
    spread = (1 - rho) / rho
    shares = rng.beta(truth * spread, (1 - truth) * spread, images)
    return rng.binomial(totals.astype(int), shares).astype(float), totals


def redrawn(hits: Floats, totals: Floats) -> Interval:
    """Percentiles over images drawn again."""
    n = len(hits)
    weights = np.random.default_rng(11).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    low, high = np.percentile((weights @ hits) / (weights @ totals), [2.5, 97.5])
    return float(low), float(high)


def effective(hits: Floats, totals: Floats) -> tuple[float, float]:
    """The share, and so many independent patches that would be as uncertain, few images allowed for."""
    n, share = len(hits), float(hits.sum() / totals.sum())
    variance = n / (n - 1) * float((((hits - share * totals) / totals.sum()) ** 2).sum())
    size = share * (1 - share) / variance if variance > 0 else float(n)
    return share, size * (1.959964 / t_quantile(0.975, n - 1)) ** 2


def wilson(hits: Floats, totals: Floats) -> Interval:
    """Wilson's interval with the effective number."""
    share, size = effective(hits, totals)
    z = 1.959964
    middle, wide = share + z * z / 2 / size, z * np.sqrt(share * (1 - share) / size + z * z / 4 / size**2)
    return float((middle - wide) / (1 + z * z / size)), float((middle + wide) / (1 + z * z / size))


def clopper_pearson(hits: Floats, totals: Floats) -> Interval:
    """Clopper and Pearson's interval with the effective number (Korn and Graubard 1998)."""
    share, size = effective(hits, totals)
    hit, miss = share * size, (1 - share) * size
    low = beta_quantile(0.025, hit, miss + 1) if hit > 0 else 0.0
    return low, beta_quantile(0.975, hit + 1, miss) if miss > 0 else 1.0


def ours(hits: Floats, totals: Floats) -> Interval:
    """The product's."""
    found = ClusteredShares(len(hits)).ratio(hits, totals)
    assert found is not None
    return found.low, found.high


WAYS: dict[str, Callable[[Floats, Floats], Interval]] = {
    "redrawn": redrawn,
    "Wilson": wilson,
    "Clopper-Pearson": clopper_pearson,
    "lensbank": ours,
}


def coverage(
    ways: Sequence[str], truth: float, images: int, patches: int, rho: float, runs: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Of each way: how often its interval holds the truth, and its mean width."""
    rng = np.random.default_rng(seed)
    inside, width = dict.fromkeys(ways, 0), dict.fromkeys(ways, 0.0)
    for _ in range(runs):
        hits, totals = table(rng, truth, images, patches, rho)
        for way in ways:
            low, high = WAYS[way](hits, totals)
            inside[way] += low <= truth <= high
            width[way] += (high - low) / runs
    return {way: (inside[way] / runs, width[way]) for way in ways}


def main() -> None:
    """Print the table of coverage, worst cases of each way last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--way", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--paired", action="store_true", help="differences of two settings instead of shares")
    arguments = parser.parse_args()
    if arguments.paired:
        print_paired(arguments.images, arguments.runs)
        return
    print("| images | true share | " + " | ".join(f"{way}: mean, least, width" for way in arguments.way) + " |")
    print("|---" * (2 + len(arguments.way)) + "|")
    for images, truth in itertools.product(arguments.images, TRUTHS):
        found = [
            coverage(arguments.way, truth, images, patches, rho, arguments.runs)
            for patches, rho in itertools.product(PATCHES, RHOS)
        ]
        cells = [
            f"{100 * np.mean([one[way][0] for one in found]):.0f} %, {100 * min(one[way][0] for one in found):.0f} %, "
            f"{100 * np.mean([one[way][1] for one in found]):.1f}"
            for way in arguments.way
        ]
        print(f"| {images} | {100 * truth:g} % | " + " | ".join(cells) + " |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
