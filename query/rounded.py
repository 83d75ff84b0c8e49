"""Candidates by a product of rows and vectors rounded to eight bits, on processors that multiply those quickly.

Each row less a common mean is a whole number from -127 to 127 per dimension, times a scale of its own, plus a residual
whose length is known. So is each vector less what it has along a few directions that the vectors share, whose products
with the rows are taken in float32. What the product of the whole numbers, which is exact, can be off by is then at most
``|vector| |row's residual| + |vector's residual| |row|``, and small: hidden states of images have most of their length
in common. A row whose score with that added is below the k-th highest with it taken off cannot be among the k nearest;
the others, some dozens, are compared in float64. So the answer is the exact one. Rows are rounded block by block as
they are read, and not kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .comparing import Places, Ranked, Source, compared, error_bound

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Vectors from which on rounding every row once is worth it, rows, and rows per neighbour asked for. With few rows the
#: candidates are too large a share of them, with few vectors those that are left to float32 cost a pass of their own
#: (benchmarks/compare_rounded.py).
LEAST_VECTORS, LEAST_ROWS, ROWS_PER_NEIGHBOUR = 1536, 50_000, 1024
#: Rows that are rounded at once (fewer where they are wide), and vectors they are multiplied with at once: what is in
#: hand stays in a processor's cache.
BLOCK_ROWS, BLOCK_NUMBERS, VECTORS_AT_ONCE = 4096, 4 << 20, 1024
# Candidates of one vector beyond which a float32 product of all rows costs less.
_MOST_CANDIDATES = 1024
# Scores that share a maximum.
_GROUP = 64
_LEVELS = 127
# Directions that are left to float32: the more, the shorter is what is rounded, and the more is multiplied twice.
_DIRECTIONS = 16
# Stands for minus infinity, which would be no number times zero.
_NEVER = -1e30
_LOWEST = -1e25
_SAMPLE = 2048


def pays(source: Source, vectors: int, k: int) -> bool:
    """Whether this is the faster way to the ``k`` nearest rows of so many vectors, on this processor."""
    enough = vectors >= LEAST_VECTORS and source.count >= max(1, LEAST_ROWS, ROWS_PER_NEIGHBOUR * k)
    return enough and is_quick(source.dim)


@cache
def is_quick(dim: int) -> bool:
    """Whether this processor multiplies whole numbers of eight bits exactly, in half the time of float32."""
    if not is_exact(dim):
        return False
    whole = torch.ones((64, dim), dtype=torch.int8), torch.ones((512, dim), dtype=torch.int8).T
    float32 = whole[0].float(), whole[1].float()
    seconds = [min(_seconds(work, *of) for _ in range(5)) for work, of in ((torch._int_mm, whole), (torch.mm, float32))]
    return seconds[0] < 0.5 * seconds[1]


def is_exact(dim: int) -> bool:
    """Whether no product of whole numbers of eight bits is lost.

    Processors without an instruction for them add pairs in sixteen bits, where the largest ones do not fit.
    """
    sign = torch.where(torch.arange(512) % 2 == 0, _LEVELS, -_LEVELS)
    rows = sign.to(torch.int8).unsqueeze(1).expand(512, dim).contiguous()
    try:
        found = torch._int_mm(torch.full((64, dim), _LEVELS, dtype=torch.int8), rows.T)
    except (RuntimeError, NotImplementedError):
        return False
    return bool((found == sign * (dim * _LEVELS)).all())


def _seconds(work: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor) -> float:
    began = time.perf_counter()
    work(one, other)
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class _Rounded:
    """Rows or vectors as whole numbers.

    Attributes:
        plain: ``[n, dim]`` float32, what they stand for.
        numbers: ``[n, dim]`` int8.
        scale: ``[n]``; what one of them stands for.
        off: ``[n]``; length of the residual, at most.
        length: ``[n]``; of scale times numbers, at most.
    """

    plain: Tensor
    numbers: Tensor
    scale: Tensor
    off: Tensor
    length: Tensor


def _rounded(plain: Tensor) -> _Rounded:
    scale = torch.maximum(plain.amax(1), -plain.amin(1)).div_(_LEVELS).clamp_(min=1e-12)
    whole = (plain / scale.unsqueeze(1)).round_()
    numbers = whole.to(torch.int8)
    more = 1 + 2 * error_bound(plain.shape[1])  # for sums in float32
    residual = torch.addcmul(plain, whole, scale.unsqueeze(1), value=-1)
    off = torch.linalg.vector_norm(residual, dim=1).mul_(more)
    length = torch.linalg.vector_norm(whole, dim=1).mul_(scale).mul_(more)
    return _Rounded(plain, numbers, scale, off, length)


def _shared(queries: Tensor) -> Tensor:
    """Directions that vectors have most in common, ``[dim, few]``: a round of subspace iteration from some of them."""
    count = min(_DIRECTIONS, *queries.shape)
    some = queries[torch.linspace(0, len(queries) - 1, count).long()].T
    for _ in range(2):
        some = torch.linalg.qr(queries.T @ (queries @ torch.linalg.qr(some).Q)).Q
    return some.contiguous()


def nearest_rounded(
    source: Source,
    queries: NDArray[np.float32],
    k: int,
    keep: NDArray[np.bool_] | None,
    without: Sequence[Places] | None,
) -> list[Ranked | None]:
    """As :func:`query.product.nearest`; ``None`` for a vector of which too many rows are candidates."""
    sample = np.unique(np.linspace(0, source.count - 1, _SAMPLE).astype(np.int64))
    mean = torch.from_numpy(source.take(sample).astype(np.float32).mean(0))
    at_once = -(-len(queries) // -(-len(queries) // VECTORS_AT_ONCE))  # all parts of one size
    asked = [
        _Asked(source, queries[start : start + at_once], k, without and without[start:])
        for start in range(0, len(queries), at_once)
    ]
    size = min(BLOCK_ROWS, max(1, BLOCK_NUMBERS // (source.dim * _GROUP)) * _GROUP)
    for start, rows in source.blocks(torch.device("cpu"), size):
        block = _rounded(rows - mean)
        masked = torch.zeros(len(rows))
        if keep is not None:
            masked.masked_fill_(~torch.from_numpy(keep[start : start + len(rows)]), _NEVER)
        for one in asked:
            one.look_at(start, block, masked)
    return [answer for one in asked for answer in one.answers()]


def _nothing() -> tuple[Tensor, Tensor, Tensor]:
    none = torch.empty(0, dtype=torch.int64)
    return none, none, torch.empty(0)


class _Asked:
    """Some vectors, and the candidates for their neighbours so far.

    Scores are bounds from above divided by the vector's scale, less what all rows have in common.
    """

    def __init__(self, source: Source, queries: NDArray[np.float32], k: int, without: Sequence[Places] | None) -> None:
        self._source, self._queries, self._k, self._without = source, queries, k, without
        given = torch.from_numpy(np.ascontiguousarray(queries))
        self._directions = _shared(given)
        along = given @ self._directions
        own = _rounded(given - along @ self._directions.T)
        self._numbers = own.numbers
        # What float32 can be off by in products with the directions, over the length of a row.
        sums = error_bound(source.dim + 2 * _DIRECTIONS)
        blur = torch.linalg.vector_norm(along.abs() @ self._directions.abs().T, dim=1).mul_(1.01 * sums)
        # |vector| and |its residual|.
        slack = torch.stack([own.length + own.off + blur, own.off + blur], 1)
        self._slack = slack / own.scale.unsqueeze(1)
        self._weights = torch.cat([along, torch.ones(len(given), 1), slack], 1) / own.scale.unsqueeze(1)
        self._blur = 2e-5 / own.scale  # of everything else in float32
        self._best = torch.full((len(queries), k), -torch.inf)
        self._least = torch.full((len(queries),), _LOWEST)
        self._given_up = torch.zeros(len(queries), dtype=torch.bool)
        self._number = torch.zeros(len(queries), dtype=torch.int64)
        self._found: list[tuple[Tensor, Tensor, Tensor]] = []

    def look_at(self, start: int, block: _Rounded, masked: Tensor) -> None:
        """Add the candidates among a block's rows."""
        count = len(block.scale)
        groups = -(-count // _GROUP)
        scores = torch.full((len(self._queries), groups * _GROUP), _NEVER)
        part = scores[:, :count]
        torch.mul(torch._int_mm(self._numbers, block.numbers.T), block.scale, out=part)
        along = block.plain @ self._directions
        part.addmm_(self._weights, torch.cat([along, torch.stack([masked, block.off, block.length], 1)], 1).T)
        self._leave_out(part, start)
        grouped = scores.view(-1, _GROUP, groups)
        peaks = grouped.amax(1)
        self._raise(peaks, block, groups)
        which, group = (peaks >= self._least.unsqueeze(1)).nonzero(as_tuple=True)
        if not len(which):
            return
        some = grouped[which, :, group]
        near, member = (some >= self._least[which].unsqueeze(1)).nonzero(as_tuple=True)
        asked = which[near]
        self._found.append((asked, start + member * groups + group[near], some[near, member]))
        self._number += torch.bincount(asked, minlength=len(self._number))
        if bool((self._number > _MOST_CANDIDATES).any()):
            self._thin_out()

    def _leave_out(self, scores: Tensor, start: int) -> None:
        for i in range(len(self._queries) if self._without is not None else 0):
            some = self._without[i]  # type: ignore[index]
            first, last = np.searchsorted(some, (start, start + scores.shape[1]))
            if last > first:
                scores[i, torch.from_numpy(some[first:last] - start)] = _NEVER

    def _raise(self, peaks: Tensor, block: _Rounded, groups: int) -> None:
        """Take the block into what the k-th neighbour scores at least: as many groups have a row of at least that."""
        better = (peaks.amax(1) > self._best[:, -1]).nonzero().squeeze(1)
        if not len(better):
            return
        padded = torch.zeros(2, groups * _GROUP)
        padded[0, : len(block.off)], padded[1, : len(block.off)] = block.off, block.length
        slack = padded.view(2, _GROUP, groups).amax(1)
        least = torch.addmm(peaks[better], self._slack[better], slack, alpha=-2)
        kept = torch.cat([self._best[better], least], 1).topk(self._k, dim=1).values
        self._best[better] = kept
        self._least[better] = (kept[:, -1] - 2 * self._blur[better]).clamp_(min=_LOWEST)
        self._least[self._given_up] = torch.inf

    def _thin_out(self) -> None:
        """Forget what has turned out not to be a candidate; give up vectors that still have too many."""
        asked, places, scores = map(torch.cat, zip(*self._found, strict=True)) if self._found else _nothing()
        self._number = torch.bincount(asked[scores >= self._least[asked]], minlength=len(self._number))
        self._given_up |= self._number > _MOST_CANDIDATES // 2
        self._least[self._given_up] = torch.inf
        kept = scores >= self._least[asked]
        self._found = [(asked[kept], places[kept], scores[kept])]
        self._number = torch.bincount(asked[kept], minlength=len(self._number))

    def answers(self) -> list[Ranked | None]:
        """The nearest rows of each vector; ``None`` where that was given up."""
        self._thin_out()
        asked, places = (one.numpy() for one in self._found[0][:2])
        exact = compared(self._source, self._queries[asked], places[:, None])[:, 0]
        order = np.lexsort((*reversed(self._source.keys(places)), -exact, asked))
        ends = np.searchsorted(asked[order], np.arange(len(self._queries) + 1))
        given_up = self._given_up.tolist()
        found: list[Ranked | None] = []
        for i, (first, last) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
            best = order[first : min(last, first + self._k)]
            found.append(None if given_up[i] else (exact[best], places[best]))
        return found
