"""What an approximate search missed: a sample of its own queries, asked again exactly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..schemas.filters import Condition
from ..schemas.searches import BankSearch
from ..store.bank import Bank
from .search import Distinct, Found, search_banks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .search import Products

    Floats = NDArray[np.floating[Any]]

#: Queries whose exact answer an approximate search is compared with.
SAMPLE = 32
#: Scores closer than this count as tied: rounding, not rank.
TIE = 1e-6


@dataclass(frozen=True, slots=True)
class Recall:
    """Exact neighbours of a sample of states, and how many of them were found.

    Attributes:
        states: compared.
        wanted: bank layer → exact neighbours that are in it.
        found: bank layer → how many of those the approximate search found.
    """

    states: int = 0
    wanted: Mapping[int, int] = field(default_factory=dict)
    found: Mapping[int, int] = field(default_factory=dict)

    @property
    def share(self) -> float | None:
        """Found of wanted, 0 to 1; ``None`` where there was nothing to find."""
        wanted = sum(self.wanted.values())
        return sum(self.found.values()) / wanted if wanted else None

    def at(self, layer: int) -> float | None:
        """The share of one bank layer; ``None`` where no exact neighbour is in it."""
        return self.found.get(layer, 0) / self.wanted[layer] if self.wanted.get(layer) else None

    def __add__(self, other: Recall) -> Recall:
        """Two samples as one."""
        return Recall(
            self.states + other.states,
            dict(Counter(self.wanted) + Counter(other.wanted)),
            dict(Counter(self.found) + Counter(other.found)),
        )


def with_recall(searches: Sequence[BankSearch], recall: Recall | None) -> tuple[BankSearch, ...]:
    """How each bank was searched, with what was missed in those that were not searched exactly."""
    if recall is None:
        return tuple(searches)
    return tuple(s if s.exact else replace(s, recall=recall.at(s.layer)) for s in searches)


def recall_note(recall: Recall, top_k: int) -> str | None:
    """The recall in one sentence; ``None`` where there was nothing to find."""
    if recall.share is None:
        return None
    layers = ", ".join(f"{layer}: {recall.at(layer):.3f}" for layer in sorted(recall.wanted) if recall.wanted[layer])
    return (
        f"Approximate search: recall@{top_k} {recall.share:.3f} compared with exact search, on {recall.states:,} of "
        f"the searched states (by bank layer {layers})."
    )


def sample_recall(
    banks: Sequence[Bank],
    states: Floats,
    found: Sequence[Sequence[Found]],
    k: int,
    where: Sequence[Condition] = (),
    distinct: Distinct | None = None,
    products: Products = (),
) -> Recall:
    """How much of the exact answer an approximate search found.

    Args:
        banks: as searched.
        states: as searched, ``[n, dim]``.
        found: the approximate answer for each state.
        k: as searched.
        where: as searched.
        distinct: as searched.
        products: what answers exactly, as in :func:`query.search.search_banks`.

    Returns:
        The comparison with all banks of at most :data:`SAMPLE` evenly spread states. What was
        found instead of an exact neighbour counts as that neighbour where both tie with the last
        exact one: which of them is in the list then says nothing.
    """
    step = max(1, math.ceil(len(states) / SAMPLE))
    sample = list(range(0, len(states), step))
    wanted: Counter[int] = Counter()
    got: Counter[int] = Counter()
    exact = search_banks(banks, states[sample], k, where, distinct, products=products)
    for i, truth in zip(sample, exact, strict=True):
        wanted.update(neighbor.layer for neighbor in truth)
        got.update(neighbor.layer for neighbor in _found(truth, found[i]))
    return Recall(len(sample), dict(wanted), dict(got))


def _found(truth: Sequence[Found], found: Iterable[Found]) -> list[Found]:
    """Those of the exact neighbours that were found, or something that ties with them."""
    if not truth:
        return []
    there = {(f.layer, f.hit.id): f for f in found}
    exact = {(t.layer, t.hit.id) for t in truth}
    last = truth[-1].hit.score
    substitutes = sum(key not in exact and f.hit.score >= last - TIE for key, f in there.items())
    kept = []
    for neighbor in truth:
        if (neighbor.layer, neighbor.hit.id) in there:
            kept.append(neighbor)
        elif substitutes and neighbor.hit.score <= last + TIE:
            kept.append(neighbor)
            substitutes -= 1
    return kept
