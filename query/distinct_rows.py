"""The nearest rows that are all of different words, by the product of :mod:`query.product`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from ..schemas.words import folded
from .comparing import Places, Source
from .product import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows looked at per vector: first some more than asked for, then up to so many at a time.
_GROWTH, _DEEPEST = 4, 512


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

    Where a vector's nearest hundreds of rows are all of a few words, these words' rows are looked up once and left
    out of the product.

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
    without: list[Any] = [np.empty(0, np.int64) for _ in queries]
    pending, depth = list(range(len(queries))), _GROWTH * k
    deepest = max(depth, _DEEPEST)
    while pending:
        leaving = [without[i] for i in pending]
        found = nearest(source, queries[pending], depth, device, keep, leaving if any(map(len, leaving)) else None)
        named = words.of(np.concatenate([at for _, at in found]))
        first, still = 0, []
        for i, (scores, at) in zip(pending, found, strict=True):
            shown = named[first : first + len(at)]
            first += len(at)
            _take(answers[i], seen[i], scores, at, shown, k)
            if len(answers[i]) < k and len(at) == depth:
                still.append(i)
                if depth == deepest:
                    without[i] = np.union1d(without[i], words.rows(sorted(set(shown))))
        pending, depth = still, min(deepest, depth * _GROWTH)
    return answers


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
