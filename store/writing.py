"""The interface that writes banks: see :class:`store.store.Store.writer`."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from ..schemas.corpora import CorpusRecord
from ..schemas.errors import UsageError
from ..schemas.filters import Condition
from ..schemas.plans import PlanRecord
from .elsewhere import FOLDER_OF_ONE

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: Called with rows indexed so far and rows in all, those that the banks held before included; first with none indexed.
OnIndexed = Callable[[int, int], None]


class Closing(abc.ABC):
    """Something to close, as a context manager."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go; harmless when repeated."""

    def __enter__(self) -> Self:
        """The object itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()


class RowSink(Protocol):
    """Takes rows."""

    def put(
        self,
        ids: Sequence[str],
        payloads: Sequence[Mapping[str, Any]],
        vectors: Mapping[int, Floats],
        norms: Mapping[int, Floats],
    ) -> None:
        """See :meth:`BankWriter.put`."""


class Sender(RowSink, Protocol):
    """Takes rows for banks whose writer is another process."""

    def drain(self) -> None:
        """Return when all rows put so far are stored.

        Raises:
            StoreError: storing failed, or the writer no longer holds the banks.
        """

    def close(self) -> None:
        """Let go; rows that were not drained may be lost. Repeatable."""


class Permit(Protocol):
    """Lets other processes, on other machines too, put rows into a writer's banks while it holds them; can be pickled.

    They may put the rows of the writer's plan and no others.
    """

    def open(self, patience: float | None = None) -> Sender:
        """Begin to put rows, in the process that shall do so.

        Args:
            patience: see :meth:`store.store.Opener.open`.

        Raises:
            StoreError: the store cannot be reached, or the writer no longer holds the banks.
        """


class BankWriter(Closing):
    """Writes rows into the banks of several layers at once. For one thread at a time.

    A bank is in state ``building`` from the moment its writer exists until :meth:`finish` has
    returned. Leaving the ``with`` block by an exception is :meth:`abort`, else :meth:`close`.

    Attributes:
        plan: what is being written, as far as all banks hold it; ``None`` where none was given.
    """

    plan: PlanRecord | None

    @abc.abstractmethod
    def put(
        self,
        ids: Sequence[str],
        payloads: Sequence[Mapping[str, Any]],
        vectors: Mapping[int, Floats],
        norms: Mapping[int, Floats],
    ) -> None:
        """Hand over rows; may return before they are stored, and waits where storing is behind.

        Args:
            ids: point ids (:func:`schemas.payload.prefix_ids`); a stored id is replaced. Where a plan
                adds a corpus to others, a row that is there stays theirs, too
                (:func:`schemas.payload.merged`).
            payloads: the same for every layer; ``norm`` is filled in. Lone surrogates, which no
                database can store, become U+FFFD.
            vectors: per layer ``[n, dim]`` float32 or float16, any norm. The data is copied.
            norms: per layer ``[n]``, the norms of the raw states.

        Raises:
            StateError: a vector or norm is NaN, infinite or zero; none of these rows is taken.
            ValueError: lengths, layers or shapes do not fit.
            StoreError: storing these rows or earlier ones failed.
        """

    @abc.abstractmethod
    def flush(self, plan: PlanRecord | None = None) -> None:
        """Return when everything put so far would survive a power failure.

        Args:
            plan: the writer's plan, as far as it has come with these rows; then put on record.

        Raises:
            StoreError: storing failed; what earlier flushes acknowledged is safe.
        """

    @abc.abstractmethod
    def remove(self, where: Sequence[Condition]) -> None:
        """Delete the rows that meet all conditions, of those stored and of those put; durable at the next flush.

        Args:
            where: at least one condition.

        Raises:
            FilterError: a condition the database cannot express.
            StoreError: storing failed.
        """

    def permit(self) -> Permit:
        """What lets others put rows, too.

        Raises:
            UsageError: this store takes rows from one process alone.
        """
        raise UsageError(*FOLDER_OF_ONE)

    @abc.abstractmethod
    def missing(self, ids: Sequence[str]) -> int:
        """How many of these rows are not in all of the banks; for rows put before this writer was opened.

        Raises:
            StoreError: the banks cannot be asked.
        """

    @abc.abstractmethod
    def finish(
        self,
        corpora: CorpusRecord | Sequence[CorpusRecord],
        index: bool = True,
        progress: OnIndexed | None = None,
        graph: bool | None = None,
    ) -> None:
        """Flush, build the index, mark the banks ``complete`` and close.

        Rows are counted by corpus before: what does not hold what its record would say stays ``building``. Without
        a plan, fewer rows than were given are right (an id may have come twice): those that are there go on record.

        Args:
            corpora: what has been written, each with the rows that it gave; added to the record.
            index: build quantised vectors for approximate search (small banks need none).
            progress: called as banks are done.
            graph: build an HNSW graph, too: much slower to build, faster to search. ``None``
                builds it for banks of more than some 300,000 rows.

        Raises:
            BankIncompleteError: a bank holds other rows than its record will say; the message says which.
            StoreError: as :meth:`flush`; the banks stay ``building``.
        """

    @abc.abstractmethod
    def abort(self) -> None:
        """Stop at once: rows since the last flush may be lost, the banks stay ``building``."""

    @abc.abstractmethod
    def close(self) -> None:
        """Store what was put, and stop; the banks stay ``building`` unless finished. Repeatable."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close, or abort after an exception."""
        if kind is None:
            self.close()
        else:
            self.abort()
