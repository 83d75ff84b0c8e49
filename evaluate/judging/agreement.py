"""Do two people, or a person and a model, judge alike? Cohen's kappa, which takes chance agreement off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two raters on what both have rated.

    Attributes:
        raters: their names.
        items: how many both have rated.
        agreed: share of them with the same verdict of the four; ``None`` without items.
        kappa: Cohen's, over the four verdicts; ``None`` where it is not defined: no items, or both
            gave the same single verdict throughout.
        kappa_interpretable: likewise, with all but ``none`` taken as one.
    """

    raters: tuple[str, str]
    items: int
    agreed: float | None
    kappa: float | None
    kappa_interpretable: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        rounded = {name: _rounded(getattr(self, name)) for name in ("agreed", "kappa", "kappa_interpretable")}
        return {"raters": list(self.raters), "items": self.items, **rounded}


def agreements(ratings: Mapping[str, Mapping[str, str]]) -> list[Agreement]:
    """Every pair of raters.

    Args:
        ratings: rater → item → verdict.
    """
    found = []
    for one, two in combinations(ratings, 2):
        both = sorted(ratings[one].keys() & ratings[two].keys())
        pairs = [(ratings[one][item], ratings[two][item]) for item in both]
        coarse = [(a == "none", b == "none") for a, b in pairs]
        agreed = sum(a == b for a, b in pairs) / len(pairs) if pairs else None
        found.append(Agreement((one, two), len(pairs), agreed, kappa(pairs), kappa(coarse)))
    return found


def kappa(pairs: Sequence[tuple[object, object]]) -> float | None:
    """Cohen's kappa (1960): (observed - expected) / (1 - expected) agreement.

    ``None`` where there are no pairs, or where chance alone would agree on all of them.
    """
    if not pairs:
        return None
    count = len(pairs)
    kinds = {kind for pair in pairs for kind in pair}
    observed = sum(one == two for one, two in pairs)
    # Whole numbers as long as possible: the division must not decide whether kappa is defined.
    expected = sum(sum(one == kind for one, _ in pairs) * sum(two == kind for _, two in pairs) for kind in kinds)
    if expected == count * count:
        return None
    return float(observed * count - expected) / (count * count - expected)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
