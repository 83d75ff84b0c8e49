"""Rows of a copy: those that the other bank lacks, handed over some at a time."""

from __future__ import annotations

from collections.abc import Iterator

from ..schemas.errors import StoreError
from ..store.bank import Bank
from ..store.writing import BankWriter
from .checksums import Comparison, Row, rows_of


def rows_wanted(bank: Bank, before: Comparison) -> Iterator[Row]:
    """The rows that the other bank lacks."""
    for number, row in enumerate(rows_of(bank, before.first), before.wanting.find(1)):
        if number >= len(before.wanting):
            raise StoreError(
                f"Another process added rows to bank {bank.name} while it was copied.",
                "Run the command again when no process writes to the bank.",
            )
        if before.wanting[number]:
            yield row


class Portion:
    """Rows in hand for one put."""

    def __init__(self, writer: BankWriter, layer: int, size: int) -> None:
        """Nothing is in hand."""
        self._writer, self._layer, self._size = writer, layer, size
        self._rows: list[Row] = []

    def add(self, row: Row) -> int:
        """Take a row; returns how many were put."""
        self._rows.append(row)
        return self.send() if len(self._rows) == self._size else 0

    def send(self) -> int:
        """Put what is in hand."""
        import numpy as np

        rows, self._rows = self._rows, []
        if rows:
            vectors = np.stack([row.vector for row in rows])
            norms = np.array([row.payload["norm"] for row in rows], np.float32)
            self._writer.put(
                [row.id for row in rows],
                [row.payload for row in rows],
                {self._layer: vectors},
                {self._layer: norms},
            )
        return len(rows)
