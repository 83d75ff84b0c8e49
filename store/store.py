"""The interface of a store of banks: a folder of embedded shards, or a Qdrant server.

Layers of one model are written together (:class:`store.writing.BankWriter`), since one forward pass gives all
of them, and read one by one (:class:`store.bank.Bank`), since each is a collection of its own.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ..schemas.collection import BankIdentity
from ..schemas.errors import UsageError
from ..schemas.shown import Shown
from .balance import Balance
from .bank import Bank
from .care import Care
from .damage import DamagedBank
from .elsewhere import FOLDER_OF_ONE
from .found import BankInfo, BankInfos
from .writing import BankWriter, Closing

if TYPE_CHECKING:
    from ..schemas.plans import PlanRecord
    from ..schemas.progress import Progress


class Opener(Protocol):
    """Opens a store in another process, on another machine too; can be pickled."""

    def open(self, progress: Progress | None = None, patience: float | None = None) -> Store:
        """Open it.

        Args:
            progress: told of what takes long there.
            patience: seconds to wait for a server that does not answer, at most those of its options; by default few.

        Raises:
            StoreError: it cannot be reached from there.
        """


class Store(Care, Closing, Shown):
    """A place that holds banks.

    Attributes:
        address: the folder, or the server's URL without credentials; for messages and records.
    """

    address: str

    def __repr__(self) -> str:
        """Its kind and address."""
        return f"<{type(self).__name__} {self.address!r}>"

    @property
    def origin(self) -> Store:
        """The store that banks are written to, and read from as they are now: this one, unless it reads copies."""
        return self

    @abc.abstractmethod
    def list(self) -> BankInfos:
        """Every bank whose record can be read, complete or not, by name; see :meth:`damaged`.

        Raises:
            StoreError: the store cannot be read.
        """

    def damaged(self) -> tuple[DamagedBank, ...]:
        """Banks whose record cannot be read: they hinder no other, and can be dropped.

        Raises:
            StoreError: the store cannot be read.
        """
        return ()

    @abc.abstractmethod
    def disk_bytes(self, info: BankInfo) -> int | None:
        """Bytes that a bank takes on the disk; ``None`` where the server does not say.

        Args:
            info: of the bank, from :meth:`list`.
        """

    def take_stock(self, info: BankInfo) -> Balance:
        """What can be known of a bank's rows and files at little cost, without opening it.

        Args:
            info: of the bank, from :meth:`list`.

        Raises:
            StoreError: the store cannot be read.
        """
        return Balance()

    def expect(self, infos: Sequence[BankInfo]) -> None:  # noqa: B027 - a hint that a store may pass over
        """Prepare for banks that will be opened in some seconds.

        Args:
            infos: of the banks, from :meth:`list`.
        """

    def leave_open(self) -> None:  # noqa: B027 - a hint as well
        """Note that the process only reads and then ends, so the system closes what it has open."""

    @contextmanager
    def heeding(self, leaving: Callable[[], bool]) -> Iterator[None]:
        """A block in which a server is no longer waited for once ``leaving`` says so.

        A request that would have to be repeated then ends in a ``GaveUpError``.
        """
        yield

    @abc.abstractmethod
    def open(self, bank: str | BankIdentity, *, allow_incomplete: bool = False) -> Bank:
        """Open a bank for reading. Readers do not hinder each other; a writer excludes them.

        Args:
            bank: its name, or the identity of the model and layer that will be compared with it.
            allow_incomplete: also open a bank whose ingest has not finished.

        Raises:
            BankNotFoundError: there is none of that name; the message lists those there are.
            BankMismatchError: another model's, or written by a newer version.
            BankIncompleteError: its ingest has not finished.
            StoreLockedError: it is being written.
            StoreError: it cannot be read.
        """

    @abc.abstractmethod
    def writer(
        self,
        identities: Sequence[BankIdentity],
        source: str,
        *,
        expected_rows: int | None = None,
        plan: PlanRecord | None = None,
    ) -> BankWriter:
        """Open banks for writing, creating those that do not exist.

        Args:
            identities: one per layer, of one model.
            source: how the model was named, for the record.
            expected_rows: rows that will be put per bank, where known; lets the store shape its
                segments so that a search uses all cores.
            plan: what is about to be written. It is on record, with how far it has come, before the
                first row is stored; until it is finished a bank takes no rows of another one.
                ``None`` for rows of which only this is known, that they bear their corpus's name: they are taken
                as they come, into a bank that waits for nothing else, and counted at the end.

        Raises:
            BankMismatchError: a bank exists that was made by another model or other settings.
            BankIncompleteError: a bank waits for the rest of another plan.
            StoreLockedError: a bank is being read or written.
            StoreFullError: too little space, or the folder cannot be written.
            StoreError: the database cannot be started.
        """

    def opener(self) -> Opener:
        """What opens it in other processes.

        Raises:
            UsageError: it belongs to one process alone.
        """
        raise UsageError(*FOLDER_OF_ONE)

    @abc.abstractmethod
    def drop(self, name: str) -> None:
        """Delete a bank.

        Raises:
            BankNotFoundError: there is none of that name.
            StoreLockedError: it is being read or written.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the store; banks opened from it stay open."""
