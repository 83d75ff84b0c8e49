"""Banks that stay open from one session to the next: opening them takes longer than a reading."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ..schemas.collection import BankRecord
    from ..store.bank import Bank
    from ..store.store import Store


class LentStore:
    """A store of which every bank is opened once, and closed with the store, whoever has used it."""

    def __init__(self, opening: AbstractContextManager[Store]) -> None:
        """Open the store.

        Raises:
            StoreError: it cannot be opened.
        """
        self._stack = ExitStack()
        self._store = self._stack.enter_context(opening)
        self._banks: dict[str, Bank] = {}

    def as_store(self) -> Store:
        """Itself, for what takes a store."""
        return cast("Store", self)

    def open(self, name: str) -> Bank:
        """A bank; closing it does nothing.

        Raises:
            StoreError: as :meth:`store.store.Store.open`.
        """
        if name not in self._banks:
            self._banks[name] = self._stack.enter_context(self._store.open(name))
        return cast("Bank", _LentBank(self._banks[name]))

    def close(self) -> None:
        """Close the banks and the store."""
        self._banks.clear()
        self._stack.close()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the store's."""
        return getattr(self._store, name)


class _LentBank:
    """A bank that others use, too."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def __enter__(self) -> _LentBank:
        return self

    def __exit__(self, *what: object) -> None:
        return

    def close(self) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)


class Lender:
    """The store as it is now, opened when it is needed and let go when it is not."""

    def __init__(self, opening: Callable[[], AbstractContextManager[Store]]) -> None:
        """Nothing is opened yet."""
        self._opening = opening
        self._lent: LentStore | None = None
        self._seen: list[tuple[str, BankRecord]] = []

    def store(self) -> Store:
        """It, open.

        Raises:
            StoreError: it cannot be opened.
        """
        if self._lent is None:
            self._lent = LentStore(self._opening())
            self._seen = _complete(self._lent.as_store())
        return self._lent.as_store()

    def is_outdated(self) -> bool:
        """Whether banks were finished, changed, replaced or dropped since it was opened; it is open then.

        Raises:
            StoreError: it cannot be read any more.
        """
        return self._lent is not None and _complete(self._lent.as_store()) != self._seen

    def close(self) -> None:
        """Let go of it and all its banks."""
        lent, self._lent = self._lent, None
        if lent is not None:
            lent.close()


def _complete(store: Store) -> list[tuple[str, BankRecord]]:
    """The banks that can be searched; rows of one that is being written come and go."""
    return [(info.name, info.record) for info in store.list() if info.record.state == "complete"]
