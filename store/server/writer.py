"""Writing banks on a Qdrant server: rows in parallel uploads, the index when all are there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...schemas.collection import RECORD_VERSION, BankIdentity, BankRecord
from ...schemas.corpora import CorpusRecord
from ...schemas.errors import StoreError
from ...schemas.filters import Condition
from ...schemas.plans import PlanRecord
from ..approximation import SERVER_GRAPH_FROM_ROWS
from ..counts import count_named, names_of, opened, settle
from ..records import begun, finished, for_metadata, new_record, record_in
from ..rows import checked_rows, one_width
from ..writing import BankWriter, OnIndexed, Permit
from . import permits
from .claims import require_free
from .collections import build_index, create_indexes, creation, read_limits, require_room_for_indexes
from .connection import METADATA_KEY, Connection
from .counting import ROWS_KEY, count_rows, noted_rows
from .lease import Lease
from .permits import ServerPermit
from .placement import placed
from .points import delete_rows
from .refusals import CollectionExistsError
from .uploads import Target, Uploads

if TYPE_CHECKING:
    from ..bank import Floats

_RELEASE_SECONDS = 3.0


class ServerWriter(BankWriter):
    """Writes through a client; see :class:`store.writing.BankWriter`.

    Every upload is acknowledged only when the server has applied it. What is acknowledged
    survives the server's crash; a power failure on its machine can cost it the last seconds
    (its log is flushed to the disk every five by default), which is found out at the next
    :meth:`flush` or when the bank is opened for writing again.
    """

    def __init__(
        self,
        connection: Connection,
        identities: Sequence[BankIdentity],
        source: str,
        plan: PlanRecord | None = None,
        expected_rows: int | None = None,
    ) -> None:
        """Create the collections that do not exist; check those that do.

        Raises:
            ValueError: no identities, two of one layer, or of different widths.
            BankMismatchError: a collection was made in another way.
            BankIncompleteError: a bank waits for the rest of another plan.
            StoreLockedError: another process writes one of them.
            StoreError: a collection of that name is not a bank; a request failed.
        """
        self._connection = connection
        self._expected_rows = expected_rows
        self._dim = one_width(identities)
        self.plan = plan
        self._identities = {identity.layer: identity for identity in identities}
        self._names = {layer: identity.name() for layer, identity in self._identities.items()}
        self._records, self._noted = dict[int, BankRecord](), dict[int, int]()
        self._open = True
        self._lease = Lease(connection)
        try:
            # All are looked at before any is touched.
            found = {layer: self._find(identity) for layer, identity in self._identities.items()}
            for layer in sorted(found, key=lambda layer: found[layer] is None):
                self._claim(layer, found[layer], source)
            self._lease.settle()
            for layer in self._identities:
                self._put_on_record(layer)
            plans = [record.plan for record in self._records.values() if record.plan is not None]
            self.plan = min(plans, key=lambda held: held.done, default=None)
            limits = read_limits(connection, next(iter(self._names.values())))
        except BaseException:
            self._lease.release()
            raise
        self._batch_rows = min(connection.options.batch_rows, limits.rows or connection.options.batch_rows)
        self._targets = {layer: self._target(layer) for layer in self._identities}
        self._uploads = Uploads(connection, self._targets, self._batch_rows, self._lease.require)

    def put(
        self,
        ids: Sequence[str],
        payloads: Sequence[Mapping[str, Any]],
        vectors: Mapping[int, Floats],
        norms: Mapping[int, Floats],
    ) -> None:
        """See :meth:`store.writing.BankWriter.put`."""
        self._require_open()
        clean, units = checked_rows(ids, payloads, vectors, norms, self._identities, self._dim)
        self._lease.require()
        self._uploads.put(ids, clean, units, norms)

    def flush(self, plan: PlanRecord | None = None) -> None:
        """See :meth:`store.writing.BankWriter.flush`; what durable means is up to the server."""
        self._require_open()
        self._lease.require()
        self._uploads.drain()
        for layer, name in self._names.items():
            rows = self._count(name)
            self._require_rows(name, rows, self._noted[layer])
            record = self._records[layer] if plan is None else replace(self._records[layer], plan=plan)
            if rows != self._noted[layer] or record != self._records[layer]:
                self._noted[layer], self._records[layer] = rows, record
                self._put_on_record(layer)

    def remove(self, where: Sequence[Condition]) -> None:
        """See :meth:`store.writing.BankWriter.remove`."""
        self._require_open()
        self.flush()
        for layer, name in self._names.items():
            self._noted[layer] -= self._count(name, where)
            self._put_on_record(layer)  # first: rows that are gone before their number is would look lost
            delete_rows(self._connection, name, where, self._lease.require)

    def permit(self) -> Permit:
        """See :meth:`store.writing.BankWriter.permit`."""
        self._require_open()
        of, lease, look = self._connection, self._lease, permits.LOOK_SECONDS
        lease.lend(look)
        return ServerPermit(of.address, of.options, self._targets, self._dim, self._batch_rows, lease.claim, look)

    def missing(self, ids: Sequence[str]) -> int:
        """See :meth:`store.writing.BankWriter.missing`."""
        wanted = list(dict.fromkeys(ids))
        found = [
            self._connection.call(lambda c, n=name: c.retrieve(n, wanted, with_payload=False))  # type: ignore[misc]
            for name in self._names.values()
        ]
        return max(len(wanted) - len(rows) for rows in found)

    def finish(
        self,
        corpora: CorpusRecord | Sequence[CorpusRecord],
        index: bool = True,
        progress: OnIndexed | None = None,
        graph: bool | None = None,
    ) -> None:
        """See :meth:`store.writing.BankWriter.finish`."""
        self.flush()
        new = (corpora,) if isinstance(corpora, CorpusRecord) else tuple(corpora)
        held = {layer: self._settled(layer, new) for layer in self._names}
        total, before = sum(self._noted.values()), 0
        if progress is not None:
            progress(before, total)
        for layer, name in self._names.items():
            rows = self._noted[layer]
            if index:
                wants_graph = rows >= SERVER_GRAPH_FROM_ROWS if graph is None else graph
                self._index(name, rows, wants_graph, before, total, progress)
            before += rows
            if progress is not None:
                progress(before, total)
        for layer, written in held.items():
            self._records[layer] = finished(self._records[layer], written)
            self._put_on_record(layer)
        self._lease.recall()
        self.close()

    def _settled(self, layer: int, corpora: Sequence[CorpusRecord]) -> Sequence[CorpusRecord]:
        """The corpora as the bank holds them, counted.

        Raises:
            BankIncompleteError: it holds other rows; its record says that it is not finished.
        """
        record, name = self._records[layer], self._names[layer]
        settled = settle(name, record, corpora, count_named(partial(self._count, name), names_of(record, corpora)))
        if settled.error is not None:
            self._records[layer] = settled.record
            self._put_on_record(layer)
            raise settled.error
        return settled.corpora

    def abort(self) -> None:
        """See :meth:`store.writing.BankWriter.abort`."""
        if self._open:
            self._open = False
            self._uploads.abort()
            # A server that is gone must not keep one who wants to leave.
            release = threading.Thread(target=self._lease.release, daemon=True)
            release.start()
            release.join(_RELEASE_SECONDS)

    def close(self) -> None:
        """See :meth:`store.writing.BankWriter.close`."""
        if not self._open:
            return
        try:
            self._uploads.drain()
        except BaseException:
            self.abort()
            raise
        self._open = False
        self._uploads.close()
        self._lease.release()

    def _require_open(self) -> None:
        if not self._open:
            raise StoreError("The writer is closed.", "Open another one.")

    def _find(self, identity: BankIdentity, *, ours: bool = False) -> BankRecord | None:
        name = identity.name()
        metadata = self._connection.metadata(name)
        if metadata is None:
            return None
        if METADATA_KEY not in metadata:
            raise StoreError(
                f"The server {self._connection.address} has a collection {name} that is not a bank.",
                "Delete or rename that collection, or use another server.",
            )
        record = record_in(metadata[METADATA_KEY], name, self._connection.address)
        record.identity.require_match(identity)
        if not ours:
            require_free(self._connection, name, metadata)
        return begun(name, record, self.plan, lambda: self._count(name) == 0)

    def _claim(self, layer: int, record: BankRecord | None, source: str) -> None:
        """Make the collection, or take the one that is there: nobody else writes it then. Count what it holds."""
        name = self._names[layer]
        if record is None:
            record = new_record(self._identities[layer], source, self.plan)
            if not self._create(layer, record):
                return self._claim(layer, self._find(self._identities[layer]), source)
            require_room_for_indexes(self._connection, name, record.identity.kind)
            self._lease.hold(name)
        else:
            self._lease.take(name)
            # Again: another writer may have finished between the first look and the claim.
            record = self._find(self._identities[layer], ours=True) or record
        # Also where it exists: its maker may have been interrupted before they were there.
        create_indexes(self._connection, name, record.identity.kind)
        self._records[layer] = record
        self._check(layer)

    def _check(self, layer: int) -> None:
        """Count what is there, before anything is changed.

        Raises:
            StoreError: the bank holds other rows than its record says.
        """
        name, record = self._names[layer], self._records[layer]
        noted = noted_rows(self._connection.metadata(name) or {}) or 0
        if record.plan is None:
            self._require_rows(name, self._count(name), noted)
        if record.plan is not None or record.version < RECORD_VERSION:
            counted = count_named(partial(self._count, name), names_of(record))
            self._records[layer], noted = opened(name, record, noted, counted), min(noted, counted.rows)
        self._noted[layer] = noted

    def _put_on_record(self, layer: int) -> None:
        """Put the record and the rows at the last flush on the server, together."""
        entries = {METADATA_KEY: for_metadata(self._records[layer]), ROWS_KEY: self._noted[layer]}
        self._connection.update_metadata(self._names[layer], entries, before=self._lease.require)

    def _create(self, layer: int, record: BankRecord) -> bool:
        """Whether this call made the collection, and nobody else."""
        metadata = {METADATA_KEY: for_metadata(record), **self._lease.entries()}
        name, connection = self._names[layer], self._connection
        options = placed(connection, self._expected_rows)
        arguments = creation(self._identities[layer], options, connection.version, metadata)
        with suppress(CollectionExistsError):
            connection.call(lambda c: c.create_collection(name, **arguments))
            return True
        # Ours all the same, where the first answer was lost on the way and the request came twice.
        return self._lease.has_made(name)

    def _target(self, layer: int) -> Target:
        record = self._records[layer]
        shared = record.plan is not None and bool(record.corpora) and record.identity.kind == "text"
        return Target(self._names[layer], self._identities[layer].seed, shared)

    def _count(self, name: str, where: Sequence[Condition] = ()) -> int:
        return count_rows(self._connection, name, where, exactly=True)

    def _require_rows(self, name: str, rows: int, noted: int) -> None:
        if rows < noted:
            raise StoreError(
                f"Bank {name} on {self._connection.address} has {rows:,} rows, but had {noted:,} when they were last "
                "counted: the server has lost rows (after a power failure, or because points were deleted by hand).",
                "Run the same command again, which writes all rows again, or restore the bank from a snapshot.",
            )

    def _index(self, name: str, rows: int, graph: bool, before: int, total: int, progress: OnIndexed | None) -> None:
        def advance(indexed: int) -> None:
            if progress is not None:
                progress(before + min(indexed, rows), total)

        build_index(self._connection, name, graph, advance, self._lease.require)
