"""Lenses: ways to say in words what a hidden state means. The other two: :mod:`query.vocabulary_lenses`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..schemas.errors import StoreError
from ..schemas.filters import Condition
from ..schemas.payload import TokenPayload, row_fault
from ..schemas.results import Neighbor, VocabularyToken
from ..store.bank import Bank
from .baselines import BankBaselines
from .recall import Recall, sample_recall
from .search import Distinct, Found, search_banks

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from .search import Products

    Floats = NDArray[np.floating[Any]]


T = TypeVar("T")
Words = Neighbor | VocabularyToken


@dataclass(frozen=True, slots=True)
class LensAnswer:
    """What a lens sees in hidden states.

    Attributes:
        found: layer → for each state, in their order, corpus tokens or vocabulary entries, best first.
        recall: of an approximate search, on a sample; ``None`` where nothing was approximated, or
            it was not measured.
    """

    found: Mapping[int, Sequence[tuple[Words, ...]]]
    recall: Recall | None = None


class Lens(Protocol):
    """Anything that turns hidden states into words."""

    name: str

    def read(self, states: Mapping[int, Floats]) -> LensAnswer:
        """Describe states.

        Args:
            states: layer → ``[n, dim]`` raw states, float32.
        """
        ...


def by_layer(states: Mapping[int, Floats], found: Sequence[T]) -> dict[int, list[T]]:
    """Deal out what was found for the states of all layers, one after the other, to their layers."""
    dealt, start = {}, 0
    for layer, rows in states.items():
        dealt[layer] = list(found[start : start + len(rows)])
        start += len(rows)
    return dealt


class LatentLens:
    """Nearest text states in context (Krojer et al., arXiv 2602.00462, section 3)."""

    name = "latent"

    def __init__(
        self,
        banks: Sequence[Bank],
        top_k: int,
        where: Sequence[Condition] = (),
        distinct: Distinct | None = None,
        exact: bool = True,
        advance: Callable[[int], None] | None = None,
        recall_check: bool = True,
        products: Products = (),
        device: torch.device | None = None,
    ) -> None:
        """Read through open banks; see :func:`query.search.search_banks`.

        ``recall_check`` measures the recall of a search that is not exact; baselines are computed on ``device``.
        """
        self._banks = banks
        self._top_k = top_k
        self._where = where
        self._distinct = distinct
        self._exact = exact
        self._advance = advance
        self._products = products
        self._recall_check = recall_check and not exact
        self._baselines = BankBaselines(banks, device, products)

    def read(self, states: Mapping[int, Floats]) -> LensAnswer:
        """Search every bank for the states of all layers at once.

        Args:
            states: layer → ``[n, dim]`` raw states, float32.

        Raises:
            StateError: a state is NaN, infinite or zero.
            StoreError: the database failed.
        """
        import numpy as np

        stacked = np.concatenate(list(states.values()))
        settings = (self._top_k, self._where, self._distinct)
        found = search_banks(self._banks, stacked, *settings, self._exact, self._advance, self._products)
        recall = sample_recall(self._banks, stacked, found, *settings, self._products) if self._recall_check else None
        neighbors = self._baselines.told(stacked, [[as_neighbor(f) for f in best] for best in found])
        return LensAnswer(by_layer(states, neighbors), recall)


def as_neighbor(found: Found) -> Neighbor:
    """A row of a bank as a query returns it.

    Raises:
        StoreError: its payload lacks a field, or one is of another kind.
    """
    if fault := row_fault("-", found.hit.payload):
        field, wrong = fault
        what = f"has no {field!r}" if field not in found.hit.payload else f"has a {field!r} that {wrong}"
        raise StoreError(
            f"Row {found.hit.id} of bank layer {found.layer} {what}: the row is damaged, or was not written by "
            "lensbank.",
            "lensbank banks verify names all such rows. Delete them and ingest the corpus again, use another --store, "
            "or leave out that --bank-layer.",
        )
    payload = TokenPayload.from_dict(found.hit.payload)
    return Neighbor(
        word=payload.word,
        token=payload.token,
        token_id=payload.token_id,
        sentence=payload.sentence,
        char_start=payload.char_start,
        char_end=payload.char_end,
        position=payload.position,
        is_word=payload.is_word,
        score=max(-1.0, min(1.0, found.hit.score)),  # rounding can lead beyond a cosine's range
        bank_layer=found.layer,
        corpus=payload.corpus[0],
        corpora=payload.corpus,
        document=payload.document,
        point_id=found.hit.id,
    )
