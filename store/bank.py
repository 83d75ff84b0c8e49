"""The interface that reads a bank: one collection, of an embedded store or of a Qdrant server."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..schemas.collection import BankRecord
from ..schemas.filters import Condition
from .balance import Balance
from .counts import Counted, count_named, names_of
from .found import Hit
from .vectors import BankVectors, NoVectors
from .writing import Closing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..schemas.searches import LocalCopy

    Floats = NDArray[np.floating[Any]]


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
        """Rows by the values of an indexed keyword field; a row counts once for each of its values.

        Returns:
            ``None`` where the database does not count exactly.
        """
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

    def pages(
        self,
        limit: int = 1000,
        offset: str | None = None,
        with_vectors: bool = False,
        where: Sequence[Condition] = (),
        fields: Sequence[str] | None = None,
    ) -> Iterator[list[tuple[str, Floats | None, dict[str, Any]]]]:
        """The rows from ``offset`` to the end, a page after the other; arguments as of :meth:`scroll`.

        Raises:
            FilterError: a condition the database cannot express.
            StoreError: the database failed.
        """
        following = offset
        while True:
            page, following = self.scroll(limit, following, with_vectors, where, fields)
            yield page
            if following is None:
                return

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
