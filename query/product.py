"""The nearest of many unit rows to many unit vectors: a matrix product in blocks, on the device of the model.

The product is in float32, or of rows rounded to eight bits (:mod:`query.rounded`), and only chooses candidates. What
it cannot tell apart, given the largest error that it can have, is compared again in float64, so the answer is that of
exact arithmetic, rounded once, wherever it is computed; rows that tie are in order of their keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .comparing import Gathered, Places, Ranked, Source, compared, error_bound, ranked
from .rounded import nearest_rounded, pays

#: Rows of a block, on a processor (a block of scores stays in its cache) and on a GPU.
BLOCK_ROWS, GPU_BLOCK_ROWS = 8192, 65_536
#: Vectors that are compared at once; with a block's rows they bound the memory that scores take.
QUERIES_AT_ONCE = 1024
# Vectors whose ties are sought at once: there may be as many as rows.
_TIES_AT_ONCE = 64
# Candidates beyond those asked for: so that rounding seldom makes a second look necessary.
_SPARE = 8
# Scores that share one maximum in the first stage of a top-k.
_GROUP = 64
# Rows are gathered where at most this share of them is asked for.
_GATHERED_SHARE = 0.25
_LOWEST = -float("inf")


def nearest(
    source: Source,
    queries: NDArray[np.float32],
    k: int,
    device: torch.device,
    keep: NDArray[np.bool_] | None = None,
    without: Sequence[Places] | None = None,
) -> list[Ranked]:
    """The ``k`` rows of the highest product with each vector.

    Args:
        source: the rows.
        queries: ``[n, dim]``, unit.
        k: rows per vector; fewer come back where there are fewer.
        device: where to multiply.
        keep: ``[source.count]``; rows that count. ``None`` for all.
        without: for each vector, rows that do not count for it, ascending.

    Returns:
        For each vector scores and numbers of rows, best first; equal scores by key.
    """
    if keep is not None and keep.sum() <= _GATHERED_SHARE * len(keep):
        places = np.flatnonzero(keep)
        less = None if without is None else [np.flatnonzero(np.isin(places, some)) for some in without]
        found = nearest(Gathered(source, places), queries, k, device, None, less)
        return [(scores, places[at]) for scores, at in found]
    if device.type == "cpu" and pays(source, len(queries), k):
        return by_rounded(source, queries, k, keep, without)
    return by_float32(source, queries, k, device, keep, without)


def by_rounded(
    source: Source,
    queries: NDArray[np.float32],
    k: int,
    keep: NDArray[np.bool_] | None,
    without: Sequence[Places] | None,
) -> list[Ranked]:
    """By candidates of fewer bits; vectors that have too many of them by all rows in float32."""
    with torch.inference_mode():
        found = nearest_rounded(source, queries, k, keep, without)
    left = [i for i, one in enumerate(found) if one is None]
    less = None if without is None else [without[i] for i in left]
    rest = iter(by_float32(source, queries[left], k, torch.device("cpu"), keep, less))
    return [next(rest) if one is None else one for one in found]


def by_float32(
    source: Source,
    queries: NDArray[np.float32],
    k: int,
    device: torch.device,
    keep: NDArray[np.bool_] | None,
    without: Sequence[Places] | None,
) -> list[Ranked]:
    """By all rows in float32."""
    answers: list[Ranked] = []
    size = GPU_BLOCK_ROWS if device.type != "cpu" else BLOCK_ROWS
    with torch.inference_mode(), _full_precision():
        keeping = None if keep is None else torch.from_numpy(keep).to(device)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            some = None if without is None else without[part]
            answers += _nearest(_Scores(source, queries[part], device, size, keeping, some), queries[part], k)
    return answers


@contextmanager
def _full_precision() -> Iterator[None]:
    """Have GPUs multiply float32 as float32, whatever the program around us chose: the error bound rests on it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Scores:
    """Products of some vectors with a source's rows, block by block; of rows that do not count ``-inf``."""

    def __init__(
        self,
        source: Source,
        queries: NDArray[np.float32],
        device: torch.device,
        size: int,
        keep: Tensor | None,
        without: Sequence[Places] | None,
    ) -> None:
        self.source = source
        self.device = device
        self._queries = torch.from_numpy(np.ascontiguousarray(queries)).to(device)
        self._size = size
        self._keep = keep
        self._without = without

    def some(self, chosen: Sequence[int]) -> _Scores:
        """Of some of the vectors only."""
        without = None if self._without is None else [self._without[i] for i in chosen]
        queries = self._queries[list(chosen)].cpu().numpy()
        return _Scores(self.source, queries, self.device, self._size, self._keep, without)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """The number of a block's first row, and ``[n, whole groups]`` scores, which the next ones overwrite."""
        width = min(self._size, -(-self.source.count // _GROUP) * _GROUP)
        space = torch.empty(len(self._queries), width, device=self.device)
        for start, rows in self.source.blocks(self.device, self._size):
            whole = -(-len(rows) // _GROUP) * _GROUP
            scores = space if whole == width else space[:, :whole]
            torch.mm(self._queries, rows.T, out=scores[:, : len(rows)])
            scores[:, len(rows) :] = _LOWEST
            if self._keep is not None:
                scores[:, : len(rows)].masked_fill_(~self._keep[start : start + len(rows)], _LOWEST)
            if self._without is not None:
                self._leave_out(scores, start, start + len(rows))
            yield start, scores

    def _leave_out(self, scores: Tensor, start: int, end: int) -> None:
        for i, some in enumerate(self._without or ()):
            first, last = np.searchsorted(some, (start, end))
            if last > first:
                scores[i, torch.from_numpy(some[first:last] - start).to(self.device)] = _LOWEST


def _nearest(scores: _Scores, queries: NDArray[np.float32], k: int) -> list[Ranked]:
    source = scores.source
    depth = min(k + _SPARE, source.count)
    if not depth:
        return [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in queries]
    rough, places = _candidates(scores, len(queries), depth)
    exact = compared(source, queries, places)
    exact[np.isneginf(rough)] = _LOWEST
    order = np.lexsort((*reversed(source.keys(places)), -exact))
    exact, ordered = np.take_along_axis(exact, order, 1), np.take_along_axis(places, order, 1)
    answers = [(exact[i, :k][shown], ordered[i, :k][shown]) for i, shown in enumerate(exact[:, :k] > _LOWEST)]
    # A row that was not among the candidates scores at most what the last of them does, and the error of both.
    slack = error_bound(source.dim)
    open_ = [
        i
        for i in np.flatnonzero(rough[:, -1] > _LOWEST).tolist()
        if rough[i, -1] + slack >= exact[i, min(k, depth) - 1]
    ]
    if depth < source.count:
        for start in range(0, len(open_), _TIES_AT_ONCE):
            chosen = open_[start : start + _TIES_AT_ONCE]
            floors = np.array([exact[i, k - 1] for i in chosen], np.float32) - np.float32(slack)
            for i, at in zip(chosen, _above(scores.some(chosen), floors), strict=True):
                answers[i] = ranked(source, queries[i], at, k)
    return answers


def _candidates(scores: _Scores, count: int, depth: int) -> tuple[NDArray[np.float32], Places]:
    """Scores of the product and numbers of its ``depth`` best rows, best first."""
    best = torch.full((count, depth), _LOWEST, device=scores.device)
    places = torch.zeros((count, depth), dtype=torch.int64, device=scores.device)
    for start, block in scores:
        groups = block.shape[1] // _GROUP
        if 4 * depth > groups:  # few groups would be left out
            _merge(best, places, slice(None), *block.topk(min(depth, block.shape[1]), dim=1), start)
            continue
        # A group is every so manieth score: its maximum is then taken of whole vectors of numbers at once.
        grouped = block.view(-1, _GROUP, groups)
        peaks = grouped.amax(1)
        better = (peaks.amax(1) > best[:, -1]).nonzero().squeeze(1)
        if not len(better):
            continue
        chosen = peaks[better].topk(depth, dim=1).indices
        steps = torch.arange(_GROUP, device=scores.device) * groups
        columns = (chosen.unsqueeze(2) + steps).flatten(1)
        few = (block if len(better) == count else block[better]).gather(1, columns)
        values, at = few.topk(depth, dim=1)
        _merge(best, places, better, values, columns.gather(1, at), start)
    # What fills a block up to whole groups scores as rows that do not count, and may stand for one.
    return best.cpu().numpy(), places.clamp_(max=scores.source.count - 1).cpu().numpy()


def _merge(best: Tensor, places: Tensor, which: Any, values: Tensor, at: Tensor, start: int) -> None:
    """Take a block's best rows of some vectors into the best so far."""
    kept, order = torch.cat([best[which], values], 1).topk(best.shape[1], dim=1)
    places[which] = torch.cat([places[which], at + start], 1).gather(1, order)
    best[which] = kept


def _above(scores: _Scores, floors: NDArray[np.float32]) -> list[Places]:
    """For each vector every row of at least a score."""
    least = torch.from_numpy(floors).to(scores.device).unsqueeze(1)
    found: list[list[Places]] = [[] for _ in floors]
    for start, block in scores:
        which, at = (part.cpu().numpy() for part in (block >= least).nonzero(as_tuple=True))
        for i, some in enumerate(np.split(at, np.searchsorted(which, np.arange(1, len(floors))))):
            found[i].append(some + start)
    return [np.concatenate(some) if some else np.empty(0, np.int64) for some in found]
