"""Rows that are compared with vectors: where they come from, and the comparison that decides."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    Rows = NDArray[np.floating[Any]]

#: Numbers of rows.
Places = NDArray[np.int64]
#: Scores and numbers of rows, best first.
Ranked = tuple[NDArray[np.float32], Places]

# Numbers that are held in float64 while candidates are compared again.
_WIDE_AT_ONCE = 1 << 20


class Source(Protocol):
    """Unit rows, numbered from 0."""

    count: int
    dim: int

    def blocks(self, device: torch.device, size: int) -> Iterator[tuple[int, Tensor]]:
        """The number of a block's first row, and its rows in float32 on a device; at most ``size`` at a time."""
        ...

    def take(self, places: Places) -> Rows:
        """Some rows, ``[len(places), dim]``."""
        ...

    def keys(self, places: Places) -> tuple[NDArray[Any], ...]:
        """What rows of equal score are ordered by: arrays of the shape of ``places``, the first one decides."""
        ...


class Gathered:
    """Some rows of a source as a source."""

    def __init__(self, source: Source, places: Places) -> None:
        """The rows at ``places``, which ascend."""
        self._source, self._places = source, places
        self.count, self.dim = len(places), source.dim

    def blocks(self, device: torch.device, size: int) -> Iterator[tuple[int, Tensor]]:
        """See :class:`Source`."""
        for start in range(0, self.count, size):
            rows = self._source.take(self._places[start : start + size])
            yield start, torch.from_numpy(np.ascontiguousarray(rows, np.float32)).to(device)

    def take(self, places: Places) -> Rows:
        """See :class:`Source`."""
        return self._source.take(self._places[places])

    def keys(self, places: Places) -> tuple[NDArray[Any], ...]:
        """See :class:`Source`."""
        return self._source.keys(self._places[places])


def error_bound(dim: int) -> float:
    """What a float32 product of two unit vectors can be off by, summed in any order, and what rounding it once can.

    ``n u / (1 - n u)`` times the sum of the absolute products, which is at most the product of both norms
    (N. J. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); stored rows may be off unit by 1e-3.
    """
    unit = 2.0**-24
    return 1.002 * dim * unit / (1 - dim * unit) + 2 * unit


def compared(source: Source, queries: NDArray[np.float32], places: Places) -> NDArray[np.float32]:
    """Products in float64, rounded once, ``[n, m]``, of each vector with its own rows ``[n, m]``.

    Equal rows have equal scores wherever they stand: each product is summed in the same order.
    """
    scores = np.empty(places.shape, np.float32)
    columns = max(1, min(places.shape[1], _WIDE_AT_ONCE // source.dim))
    step = max(1, _WIDE_AT_ONCE // (columns * source.dim))
    for start in range(0, len(queries), step):
        wide = queries[start : start + step].astype(np.float64)
        for left in range(0, places.shape[1], columns):
            part = places[start : start + step, left : left + columns]
            rows = source.take(part.ravel()).astype(np.float64).reshape(*part.shape, source.dim)
            scores[start : start + step, left : left + columns] = np.einsum("qmd,qd->qm", rows, wide)
    return scores


def ranked(source: Source, query: NDArray[np.float32], places: Places, k: int) -> Ranked:
    """The best of some rows."""
    exact = compared(source, query[None], places[None])[0]
    order = np.lexsort((*reversed(source.keys(places)), -exact))[:k]
    return exact[order], places[order]


def as_tensor(rows: NDArray[Any]) -> Tensor:
    """An array that may be read-only, as a tensor that nobody writes to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it could be written to, which would fail
        return torch.from_numpy(rows)
