"""The interface of a store of banks: a folder of embedded shards, or a Qdrant server.

Layers of one model are written together (:class:`BankWriter`), since one forward pass gives all
of them, and read one by one (:class:`Bank`), since each is a collection of its own.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ..schemas.collection import BankIdentity, BankRecord
from ..schemas.errors import UsageError
from ..schemas.filters import Condition
from ..schemas.shown import Shown
from .balance import Balance
from .care import Care
from .counts import Counted, count_named, names_of
from .damage import DamagedBank
from .elsewhere import FOLDER_OF_ONE
from .found import BankInfo, Hit
from .vectors import BankVectors, NoVectors
from .writing import BankWriter, Closing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..schemas.plans import PlanRecord
    from ..schemas.searches import LocalCopy

    Floats = NDArray[np.floating[Any]]

__all__ = ["Bank", "BankInfo", "BankInfos", "Hit", "Store"]

#: Inside a class with a method ``list``, the type's own name is taken.
BankInfos = list[BankInfo]


class Bank(Closing):
    """One collection, open for reading."""

    name: str
    record: BankRecord
    #: Of its store, for messages.
    address: str
    #: What it is, where it is a copy of a server's bank.
    local_copy: LocalCopy | None = None

    @abc.abstractmethod
    def count(self, where: Sequence[Condition] = ()) -> int:
        """Exact number of rows that meet all conditions."""

    def counted(self) -> Counted:
        """Rows, counted one by one: all, and those of each corpus that the record names.

        Raises:
            StoreError: the database failed.
        """
        return count_named(self.count, names_of(self.record))

    def balance(self) -> Balance:
        """How the rows that are there differ from those on record; of an unfinished bank nothing is expected.

        Raises:
            StoreError: the database failed.
        """
        return Balance()

    def counted_by(self, field: str, where: Sequence[Condition] = ()) -> dict[str, int] | None:
        """Rows by their value of an indexed keyword field; ``None`` where the database does not say so exactly."""
        return None

    @abc.abstractmethod
    def search(
        self,
        vectors: Floats,
        k: int,
        where: Sequence[Condition] = (),
        exact: bool = True,
        with_payload: bool = True,
    ) -> list[list[Hit]]:
        """The ``k`` rows with the highest cosine, for each query vector.

        Args:
            vectors: ``[n, dim]``, any norm.
            k: rows per query; fewer come back where fewer rows meet the conditions.
            where: conditions, all of which must hold.
            exact: compare with every row's own vector. Otherwise quantised vectors (and the graph,
                where there is one) choose candidates that are then scored exactly, unless
                :meth:`compares_all`.
            with_payload: whether hits carry their payload.

        Returns:
            One list per query, best first. Rows of equal score come in no particular order.

        Raises:
            StateError: a query vector is NaN, infinite or zero.
            ValueError: ``vectors`` is not ``[n, dim]`` or ``k`` is negative.
            FilterError: a condition the database cannot express.
            StoreError: the database failed.
        """

    @abc.abstractmethod
    def payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Payloads of rows by their ids; those that are not there are left out.

        Args:
            ids: point ids, UUID strings.

        Raises:
            StoreError: the database failed.
        """

    @abc.abstractmethod
    def scroll(
        self,
        limit: int,
        offset: str | None = None,
        with_vectors: bool = False,
        where: Sequence[Condition] = (),
        fields: Sequence[str] | None = None,
    ) -> tuple[list[tuple[str, Floats | None, dict[str, Any]]], str | None]:
        """Rows in id order, a page at a time.

        Args:
            limit: rows per page.
            offset: the ``next_offset`` of the page before; ``None`` starts.
            with_vectors: whether rows carry their unit vector, float32 ``[dim]``.
            where: conditions, all of which rows must meet.
            fields: of the payload; ``None`` for all.

        Returns:
            ``(id, vector or None, payload)`` of each row, and the next offset (``None`` at the end). Of a payload,
            ``corpus`` is :class:`store.rows.Names`.
        """

    def vectors(self) -> BankVectors | NoVectors:
        """The bank's unit vectors as arrays, for a search outside of the database; or the reason why there are none.

        The arrays are valid while the bank is open.
        """
        return NoVectors("the vectors of a server cannot be mapped")

    def matching(self, where: Sequence[Condition]) -> tuple[NDArray[np.uint64], bool]:
        """Which rows meet all conditions, in a bank whose vectors can be mapped.

        Args:
            where: at least one condition.

        Returns:
            Ids, ``[n, 2]`` as in :class:`store.vectors.VectorPart`, and whether they are of the rows that meet the
            conditions; else of those that do not, where these are fewer.

        Raises:
            FilterError: a condition the database cannot express.
            StoreError: the database failed.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def disk_bytes(self) -> int | None:
        """Bytes allocated on disk; ``None`` where the server does not say."""

    @abc.abstractmethod
    def is_indexed(self) -> bool:
        """Whether an approximate search has an index to use (else it compares every row, too)."""

    @abc.abstractmethod
    def compares_all(self, where: Sequence[Condition] = ()) -> bool:
        """Whether an approximate search compares every row that meets the conditions, and so is exact.

        It does where there is no index, and where the conditions leave so few rows
        (:data:`store.approximation.FEW_ROWS`, ``SMALL_SHARE``) that an index could lose them and would save little.

        Raises:
            FilterError: a condition the database cannot express.
            StoreError: the database failed.
        """


class Opener(Protocol):
    """Opens a store in another process, on another machine too; can be pickled."""

    def open(self) -> Store:
        """Open it.

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
