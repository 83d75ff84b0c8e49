"""Exact search of a bank as a matrix product over its own vectors, filters and words asked of its database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..schemas.errors import DamagedBankError
from ..schemas.filters import Condition
from ..store.bank import Bank
from ..store.found import Hit
from ..store.rows import unit_queries
from ..store.vectors import BankVectors, NoVectors, id_keys, id_string
from .comparing import Places, as_tensor
from .distinct_rows import nearest_distinct
from .product import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: Of a GPU's memory, the share that kept vectors leave free.
GPU_FREE_SHARE = 0.3
_FILTERS_KEPT = 16
# Every so manieth row is looked at as rows are read for the first time: zeroed or foreign stretches of a file are found
# at under a hundredth of a search's time; to look at every row would cost a tenth.
_SPREAD = 16
# Rounding to float16 changes lengths by less.
_NEARLY_ONE = 1e-2


def product_of(bank: Bank, device: torch.device) -> BankProduct | NoVectors:
    """The product over an open bank's vectors, or why there is none."""
    vectors = bank.vectors()
    return vectors if isinstance(vectors, NoVectors) else BankProduct(bank, vectors, device)


class BankProduct:
    """Finds what :meth:`store.bank.Bank.search` finds with ``exact``."""

    def __init__(self, bank: Bank, vectors: BankVectors, device: torch.device) -> None:
        """Over the vectors of an open bank, on the device of the model."""
        self._bank = bank
        self._half = vectors.half
        self._device = device
        self._rows = _BankRows(vectors, bank.record.identity.dim, device, bank.name)
        self._kept: dict[tuple[Condition, ...], NDArray[np.bool_] | None] = {(): self._rows.live}
        self._words = _BankWords(bank, self._rows)

    def search(
        self, states: Floats, k: int, where: Sequence[Condition] = (), distinct: bool = False
    ) -> list[list[Hit]]:
        """The ``k`` rows with the highest cosine, for each state.

        Args:
            states: ``[n, dim]``, any norm.
            k: rows per state; fewer come back where fewer meet the conditions.
            where: conditions, all of which must hold.
            distinct: only the best row of each word.

        Returns:
            Hits, best first, equal scores by id; with payload where they are to be distinct.

        Raises:
            StateError: a state is NaN, infinite or zero.
            FilterError: a condition the database cannot express.
            StoreError: the database failed.
        """
        queries = unit_queries(states, self._rows.dim, k)
        if self._half:  # as the engine does, so that both find the same
            queries = queries.astype(np.float16).astype(np.float32)
        keep = self._keep(tuple(where))
        if not k or not len(queries) or not self._rows.count:
            return [[] for _ in queries]
        if distinct:
            chosen = nearest_distinct(self._rows, self._words, queries, k, self._device, keep)
            ids = [self._rows.names(np.array([at for _, at in found], np.int64)) for found in chosen]
            payloads = self._bank.payloads(sorted({name for names in ids for name in names}))
            return [
                [Hit(name, score, payloads[name]) for name, (score, _) in zip(names, found, strict=True)]
                for names, found in zip(ids, chosen, strict=True)
            ]
        found = nearest(self._rows, queries, k, self._device, keep)
        return [
            [Hit(name, score) for name, score in zip(self._rows.names(at), scores.tolist(), strict=True)]
            for scores, at in found
        ]

    def first(self, count: int) -> Floats:
        """Unit vectors of the first rows by id, in the order of :meth:`store.bank.Bank.scroll`."""
        return self._rows.take(self._rows.first(count))

    def _keep(self, where: tuple[Condition, ...]) -> NDArray[np.bool_] | None:
        """Which rows count; remembered, since every chunk of states asks again."""
        if where not in self._kept:
            if len(self._kept) > _FILTERS_KEPT:
                self._kept = {(): self._rows.live}
            ids, met = self._bank.matching(where)
            keep = np.full(self._rows.count, not met)
            keep[self._rows.places(ids)] = met
            self._kept[where] = keep if self._rows.live is None else keep & self._rows.live
        return self._kept[where]


class _BankRows:
    """The rows of all parts, one after the other; a :class:`query.comparing.Source`."""

    def __init__(self, vectors: BankVectors, dim: int, device: torch.device, name: str = "") -> None:
        self._parts, self._name = vectors.parts, name
        self._looked_at: set[tuple[int, int]] = set()
        self._starts = np.cumsum([0, *(len(part.rows) for part in self._parts)])
        self.count, self.dim = int(self._starts[-1]), dim
        self.live: NDArray[np.bool_] | None = None
        if any(part.live is not None for part in self._parts):
            self.live = np.concatenate([_live(part.live, len(part.rows)) for part in self._parts])
        self._resident: dict[tuple[int, int], Tensor] = {}
        self._sorted: tuple[NDArray[np.bytes_], NDArray[np.intp]] | None = None

    def blocks(self, device: torch.device, size: int) -> Iterator[tuple[int, Tensor]]:
        """See :class:`query.comparing.Source`. On a GPU they stay while there is room, so that they travel once."""
        for first, part in zip(self._starts.tolist(), self._parts, strict=False):
            for start in range(0, len(part.rows), size):
                rows = self._resident.get((first + start, size))
                if (first + start, size) not in self._looked_at:
                    self._require_unit(first + start, part.rows[start : start + size : _SPREAD])
                    self._looked_at.add((first + start, size))
                if rows is None:
                    rows = as_tensor(part.rows[start : start + size]).to(device)
                    if device.type != "cpu" and _has_room(device, rows.nbytes):
                        self._resident[first + start, size] = rows
                yield first + start, rows.float()

    def _require_unit(self, first: int, spread: Floats) -> None:
        """Refuse rows that are not of length 1, among those that are looked at as they are read for the first time.

        Raises:
            DamagedBankError: one is not.
        """
        rows = np.asarray(spread, np.float32)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        wrong = ~(np.abs(norms - 1) < _NEARLY_ONE)  # also NaN
        if self.live is not None:
            wrong &= self.live[first : first + len(rows) * _SPREAD : _SPREAD]
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise DamagedBankError(
                f"The vectors of bank {self._name} are damaged: row {first + at * _SPREAD} has length {norms[at]:.4g}, "
                "expected 1.",
                "lensbank banks verify --files-only names the files. Vectors cannot be rebuilt: drop the bank and "
                "ingest again, or copy an undamaged bank.",
            )

    def take(self, places: Places) -> Floats:
        """See :class:`query.comparing.Source`."""
        taken = np.empty((len(places), self.dim), np.float32)
        of = np.searchsorted(self._starts, places, side="right") - 1
        for number, part in enumerate(self._parts):
            mine = of == number
            if mine.any():
                taken[mine] = part.rows[places[mine] - self._starts[number]]
        return taken

    def keys(self, places: Places) -> tuple[NDArray[Any], ...]:
        """See :class:`query.comparing.Source`: by id."""
        halves = self._ids(places.ravel())
        return halves[:, 1].reshape(places.shape), halves[:, 0].reshape(places.shape)

    def names(self, places: Places) -> list[str]:
        """Point ids."""
        return [id_string(low, high) for low, high in self._ids(places).tolist()]

    def places(self, ids: NDArray[np.uint64]) -> Places:
        """Where rows of these ids are that count."""
        if not len(ids) or not self.count:
            return np.empty(0, np.int64)
        if self._sorted is None:
            keys = np.concatenate([id_keys(part.ids) for part in self._parts])
            rows = np.arange(self.count) if self.live is None else np.flatnonzero(self.live)
            rows = rows[np.argsort(keys[rows], kind="stable")]
            self._sorted = keys[rows], rows
        keys, rows = self._sorted
        wanted = id_keys(ids)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found: Places = rows[at[keys[at] == wanted]]
        return found

    def first(self, count: int) -> Places:
        """Where the rows with the lowest ids are, among those that count."""
        highs = np.concatenate([part.ids[:, 1] for part in self._parts]) if self._parts else np.empty(0, np.uint64)
        rows = np.arange(self.count) if self.live is None else np.flatnonzero(self.live)
        if count < len(rows):  # ids are drawn by lot: few share the upper half of the last one that is wanted
            rows = rows[highs[rows] <= np.partition(highs[rows], count - 1)[count - 1]]
        halves = self._ids(rows)
        return rows[np.lexsort((halves[:, 0], halves[:, 1]))][:count]

    def _ids(self, places: Places) -> NDArray[np.uint64]:
        ids = np.empty((len(places), 2), np.uint64)
        of = np.searchsorted(self._starts, places, side="right") - 1
        for number, part in enumerate(self._parts):
            mine = of == number
            if mine.any():
                ids[mine] = part.ids[places[mine] - self._starts[number]]
        return ids


class _BankWords:
    """Words of a bank's rows, asked of its database once each; :class:`query.distinct_rows.Words`."""

    def __init__(self, bank: Bank, rows: _BankRows) -> None:
        self._bank = bank
        self._rows = rows
        self._known: dict[int, str] = {}
        self._places: dict[str, Places] = {}

    def of(self, places: Places) -> list[str]:
        """The word of each row."""
        new = np.array([place for place in np.unique(places).tolist() if place not in self._known], np.int64)
        names = self._rows.names(new)
        payloads = self._bank.payloads(names)
        for place, name in zip(new.tolist(), names, strict=True):
            self._known[place] = str(payloads.get(name, {}).get("word", ""))
        return [self._known[place] for place in places.tolist()]

    def rows(self, words: Sequence[str]) -> Places:
        """All rows of some words, ascending."""
        for word in words:
            if word not in self._places:
                ids, met = self._bank.matching([Condition("word", "=", (word,))])
                mine = self._rows.places(ids)
                self._places[word] = mine if met else np.setdiff1d(np.arange(self._rows.count), mine)
        return np.unique(np.concatenate([self._places[word] for word in words]))


def _live(flags: NDArray[np.bool_] | None, count: int) -> NDArray[np.bool_]:
    return np.ones(count, np.bool_) if flags is None else flags


def _has_room(device: torch.device, needed: int) -> bool:
    """Whether a GPU can keep so many bytes and still leave what a model needs to run."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
    elif device.type == "mps":
        total = torch.mps.recommended_max_memory()
        free = total - torch.mps.driver_allocated_memory()
    else:
        return False
    return free - needed > GPU_FREE_SHARE * total
