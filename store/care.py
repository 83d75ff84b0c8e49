"""What a store does for banks that are there: compare their files, make them whole, change what rows say."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..schemas.collection import BankRecord
from ..schemas.errors import StoreError
from .damage import FilesReport

#: Changes to rows by their ids: fields of the payload with their new values; ``None`` for a row that goes.
Changes = Mapping[str, Mapping[str, Any] | None]


class Care(abc.ABC):
    """The part of a :class:`store.store.Store` that looks after banks."""

    def check_files(self, name: str) -> FilesReport:
        """Compare every byte of a finished bank with the list of its files.

        Raises:
            BankNotFoundError: there is none of that name.
            StoreLockedError: it is being written.
            StoreError: its record cannot be read.
        """
        return FilesReport(name, cause="a server checks its own files")

    def repair(self, name: str) -> tuple[str, ...]:
        """Make again what can be made from a bank's rows: payload indexes, quantised copies, graph, list of files.

        Returns:
            What was done, a sentence each.

        Raises:
            BankNotFoundError: there is none of that name.
            BankIncompleteError: its ingest has not finished.
            StoreLockedError: it is being read or written.
            StoreFullError: too little space.
            StoreError: what is damaged cannot be made again; the message names it.
        """
        raise StoreError(
            f"Bank {name} is on a server; `banks repair` repairs only banks in folders.",
            "Restore a snapshot on the server, or drop the bank and copy it again.",
        )

    def take_up(self, name: str) -> None:
        """Undo what an interrupted :meth:`repair` or :meth:`rewrite` left of a bank; a server has nothing of it.

        Raises:
            StoreLockedError: it is being read or written.
            StoreError: it cannot be read.
        """
        return

    @abc.abstractmethod
    def rewrite(self, name: str, record: BankRecord, changes: Changes, advance: Callable[[int], None]) -> BankRecord:
        """Change what rows of a complete bank say; their vectors stay.

        An interruption leaves the bank as it was (a folder's), or with some of the rows changed and a record that does
        not say by which rules its words were told (a server's); the same again goes on.

        Args:
            name: of the bank.
            record: as it was when the changes were found.
            changes: to rows.
            advance: called with the number of rows that are done.

        Returns:
            The record as it is now: of today's word rules, with the rows that are there.

        Raises:
            BankNotFoundError: there is none of that name.
            BankIncompleteError: its ingest has not finished.
            StoreLockedError: it is being read or written.
            StoreFullError: too little space.
            StoreError: it was changed meanwhile, is damaged, or a request failed.
        """


def retold(record: BankRecord, named: Mapping[str, int], words: int | None) -> BankRecord:
    """The record of a bank whose rows were changed: the rows of each corpus, and which rules its words follow."""
    return replace(
        record, corpora=tuple(replace(c, rows=named.get(c.name, c.rows), words=words) for c in record.corpora)
    )


def require_unchanged_since(name: str, record: BankRecord, before: BankRecord) -> None:
    """Refuse changes that were found in a bank as it was before.

    Raises:
        StoreError: its record is another one now.
    """
    if record != before:
        raise StoreError(
            f"Bank {name} was changed by another writer while its rows were read.",
            "Run the same command again; nothing was changed.",
        )
