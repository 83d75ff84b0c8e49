"""How an approximate search makes up for what an index loses (figures: benchmarks/filtered_recall.py).

Quantised vectors rank candidates, and too few of them may miss the nearest row. A graph leads from
row to row: a filter takes most of them away, and a search may walk past what is left, where
comparing some thousands of rows takes no longer than walking.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.filters import Condition
from .bank import Bank

#: Of the HNSW graph, in every engine: links per row (m), candidates looked at for each row while it is built
#: (ef_construct) and for each query.
GRAPH_LINKS, GRAPH_EFFORT, GRAPH_CANDIDATES = 16, 100, 256
#: Rows above which it is worth the minutes that it takes.
GRAPH_FROM_ROWS = 300_000
#: The same on a server (1.18.3; 200,000 × 576 rows, 576 queries at once): its scan of 4-bit copies takes as long as
#: exact search, 4.1 and 4.3 s; its graph 0.9 s with 256 candidates at recall 0.89, 1.3 s with 512 at 0.94. What a graph
#: takes hardly grows with the rows, so that below this many there is little to gain.
SERVER_GRAPH_FROM_ROWS, SERVER_GRAPH_CANDIDATES = 100_000, 512
#: Rows up to which a filtered search compares them all ...
FEW_ROWS = 20_000
#: ... as it does where they are at most this share of the bank: a graph has found 65 % of the neighbours in the
#: worst case (docs/storage.md), and exact search takes no more than this share of its time.
SMALL_SHARE = 1 / 3
_REMEMBERED = 64
_CANDIDATES, _OVERSAMPLING = 100, 4.0


def oversampling(limit: int) -> float:
    """Candidates of the quantised search per row asked for: four, and a hundred in all where few rows are asked for."""
    return max(_OVERSAMPLING, _CANDIDATES / max(1, limit))


class Fallback:
    """Decides for one bank, and remembers: every chunk of an image's states asks again."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._decided: dict[tuple[Condition, ...], bool] = {}

    def compares_all(self, bank: Bank, where: Sequence[Condition]) -> bool:
        """Whether an approximate search of the bank with these conditions had better be exact.

        Args:
            bank: always the same (not kept: it would keep itself from being closed).
            where: conditions, all of which must hold.

        Raises:
            FilterError: a condition the database cannot express.
            StoreError: the database failed.
        """
        key = tuple(where)
        if key not in self._decided:
            if len(self._decided) >= _REMEMBERED:
                self._decided.clear()
            self._decided[key] = not bank.is_indexed() or (bool(key) and _are_few(bank.count(key), bank))
        return self._decided[key]


def _are_few(rows: int, bank: Bank) -> bool:
    return rows <= FEW_ROWS or rows <= SMALL_SHARE * bank.count()
