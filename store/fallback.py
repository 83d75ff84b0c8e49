"""When an approximate search had better compare every row: a filter that leaves few of them.

A graph leads from row to row; a filter takes most of them away, and a search may walk past what is
left. Comparing some thousands of rows takes no longer than walking.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.filters import Condition
from store.base import Bank

#: Rows up to which a filtered search compares them all (measured by benchmarks/filtered_recall.py).
FEW_ROWS = 20_000
_REMEMBERED = 64


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
            self._decided[key] = not bank.is_indexed() or (bool(key) and bank.count(key) <= FEW_ROWS)
        return self._decided[key]
