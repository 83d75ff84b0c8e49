"""The nearest rows that are all of different words, by the product of :mod:`query.product`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from ..schemas.words import folded
from .comparing import Places, Source
from .product import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows looked at per vector: first some more than asked for, then up to so many at a time.
_GROWTH, _DEEPEST = 4, 128
# A word is frequent where more than one row of so many is its.
_FREQUENT = 32


class RowWords(Protocol):
    """The words of a source's rows."""

    def of(self, places: Places) -> Sequence[str]:
        """The word of each row."""
        ...

    def rows(self, words: Sequence[str]) -> Places:
        """All rows of some words, ascending."""
        ...


def nearest_distinct(
    source: Source,
    words: RowWords,
    queries: NDArray[np.float32],
    k: int,
    device: torch.device,
    keep: NDArray[np.bool_] | None = None,
) -> list[list[tuple[float, int]]]:
    """The best row of each of the ``k`` nearest words, for each vector.

    Where a vector's nearest rows are all of a few words, these words' rows are looked up once and left out: rows come
    best first, so that none of them can be better than what was shown.

    Args:
        source: the rows.
        words: theirs; compared as :func:`schemas.words.folded` has them.
        queries: ``[n, dim]``, unit.
        k: words per vector; fewer come back where there are fewer.
        device: where to multiply.
        keep: rows that count; ``None`` for all.

    Returns:
        Score and row, best first.
    """
    answers: list[list[tuple[float, int]]] = [[] for _ in queries]
    seen: list[set[str]] = [set() for _ in queries]
    rest = _Rest(source, words, len(queries), keep)
    pending, depth = list(range(len(queries))), _GROWTH * k
    deepest = max(depth, _DEEPEST)
    while pending:
        still = []
        for kept, group in rest.groups(pending):
            found = nearest(source, queries[group], depth, device, kept, rest.without(group))
            named = words.of(np.concatenate([at for _, at in found]))
            first = 0
            for i, (scores, at) in zip(group, found, strict=True):
                shown = named[first : first + len(at)]
                first += len(at)
                _take(answers[i], seen[i], scores, at, shown, k)
                if len(answers[i]) < k and len(at) == depth:
                    still.append(i)
                    if depth == deepest:
                        rest.leave_out(i, shown)
        pending, depth = sorted(still), min(deepest, depth * _GROWTH)
    return answers


class _Rest:
    """The rows that are left for each vector once words that it has shown are left out.

    Vectors that have shown the same frequent words share a mask, so that what is held does not grow with both vectors
    and rows; rows of other words are listed for each vector.
    """

    def __init__(self, source: Source, words: RowWords, count: int, keep: NDArray[np.bool_] | None) -> None:
        self._words, self._keep, self._rows = words, keep, source.count
        self._places: dict[str, Places] = {}
        self._frequent: list[frozenset[str]] = [frozenset()] * count
        self._without: list[Places] = [np.empty(0, np.int64)] * count

    def leave_out(self, vector: int, shown: Sequence[str]) -> None:
        """Leave out the rows of some words for a vector."""
        new = set(shown)
        for word in new - self._places.keys():
            self._places[word] = self._words.rows([word])
        frequent = {word for word in new if len(self._places[word]) > self._rows // _FREQUENT}
        self._frequent[vector] |= frequent
        if rare := [self._places[word] for word in sorted(new - frequent)]:
            self._without[vector] = np.unique(np.concatenate([self._without[vector], *rare]))

    def groups(self, vectors: Sequence[int]) -> Iterator[tuple[NDArray[np.bool_] | None, list[int]]]:
        """Vectors that have left out the same frequent words, and the rows that these leave."""
        members: dict[frozenset[str], list[int]] = {}
        for vector in vectors:
            members.setdefault(self._frequent[vector], []).append(vector)
        for left_out, group in members.items():
            kept = self._keep
            if left_out:
                kept = np.ones(self._rows, np.bool_) if kept is None else kept.copy()
                for word in left_out:
                    kept[self._places[word]] = False
            yield kept, group

    def without(self, group: Sequence[int]) -> list[Places] | None:
        """Rows that are left out for each vector of a group alone; ``None`` where there are none."""
        some = [self._without[vector] for vector in group]
        return some if any(map(len, some)) else None


def _take(
    answer: list[tuple[float, int]],
    seen: set[str],
    scores: NDArray[np.float32],
    at: Places,
    words: Sequence[str],
    k: int,
) -> None:
    """Add the best row of each word that is new."""
    for score, place, word in zip(scores.tolist(), at.tolist(), map(folded, words), strict=True):
        if len(answer) == k:
            return
        if word not in seen:
            seen.add(word)
            answer.append((score, place))
