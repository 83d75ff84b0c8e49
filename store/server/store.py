"""Banks on a Qdrant server, through ``qdrant-client``: one collection each, the record in its metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...schemas.collection import BankIdentity, BankRecord
from ...schemas.errors import BankMismatchError, BankNotFoundError, DamagedRecordError, StoreError
from ...schemas.plans import PlanRecord
from ..balance import Balance
from ..care import Changes
from ..damage import DamagedBank
from ..found import BankInfo, BankInfos, name_of
from ..store import Store
from ..unfinished import require_complete
from ..writing import BankWriter
from .bank import ServerBank
from .connecting import connect
from .connection import Connection, Notify
from .counting import take_stock
from .lease import Lease
from .options import ServerOptions
from .sizes import collection_bytes

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from ...schemas.progress import Progress


@dataclass(frozen=True, slots=True)
class ServerOpener:
    """See :class:`store.store.Opener`. It holds no key: that is read where it is used.

    Attributes:
        url: of the server.
        options: how to use it.
    """

    url: str
    options: ServerOptions

    def open(self, progress: Progress | None = None, patience: float | None = None) -> ServerStore:
        """See :meth:`store.store.Opener.open`."""
        return ServerStore.connect(self.url, self.options, patience=patience)


class ServerStore(Store):
    """A Qdrant server.

    Args:
        client: connected to it; the client's own local mode will do.
        address: for messages.
        options: timeouts, patience, set-up of new collections.
    """

    def __init__(self, client: QdrantClient, address: str, options: ServerOptions | None = None) -> None:
        """Use a client that is there; see :meth:`connect`."""
        self.address = address
        self._connection = Connection(client, address, options)

    @classmethod
    def connect(
        cls,
        url: str,
        options: ServerOptions | None = None,
        notify: Notify | None = None,
        patience: float | None = None,
    ) -> ServerStore:
        """See :func:`store.opening.open_store`; the patience is of :meth:`store.store.Opener.open`.

        Raises:
            StoreError: the server cannot be reached, refuses the key, is too old, or is none.
            UsageError: the address or an option cannot be used.
        """
        connection = connect(url, options or ServerOptions(), notify, patience)
        store = cls(connection.client, connection.address, options)
        store._connection = connection
        return store

    @property
    def url(self) -> str:
        """The address: what tells this server from others."""
        return self.address

    @property
    def protocol(self) -> str:
        """``grpc`` or ``rest``."""
        return self._connection.protocol

    def opener(self) -> ServerOpener:
        """See :meth:`Store.opener`."""
        return ServerOpener(self.address, self._connection.options)

    def list(self) -> BankInfos:
        """See :meth:`Store.list`; collections that are not banks are left out."""
        banks = []
        for name, record in self._records():
            if isinstance(record, BankRecord):
                rows = ServerBank(self._connection, name, record).count()
                banks.append(BankInfo(name, record, rows))
        return banks

    def disk_bytes(self, info: BankInfo) -> int | None:
        """See :meth:`Store.disk_bytes`; servers before 1.18 do not say."""
        return collection_bytes(self._connection, info.name)

    def take_stock(self, info: BankInfo) -> Balance:
        """See :meth:`Store.take_stock`; rows are counted."""
        return take_stock(self._connection, info.name)

    def damaged(self) -> tuple[DamagedBank, ...]:
        """See :meth:`Store.damaged`."""
        return tuple(
            DamagedBank(name, error.message, error.hint)
            for name, error in self._records()
            if isinstance(error, StoreError)
        )

    def _records(self) -> Iterator[tuple[str, BankRecord | StoreError]]:
        """Every bank's record, or what is wrong with it."""
        names = [c.name for c in self._connection.call(lambda c: c.get_collections()).collections]
        for name in sorted(names):
            try:
                record = self._connection.record(name)
            except (DamagedRecordError, BankMismatchError) as error:  # the latter of a newer version
                yield name, error
            else:
                if record is not None:
                    yield name, record

    def open(self, bank: str | BankIdentity, *, allow_incomplete: bool = False) -> ServerBank:
        """See :meth:`Store.open`; a server does its own locking."""
        name = name_of(bank)
        record = self._require(name)
        if isinstance(bank, BankIdentity):
            record.identity.require_model(bank)
        if not allow_incomplete:
            require_complete(name, record, self._connection.address)
        return ServerBank(self._connection, name, record)

    def writer(
        self,
        identities: Sequence[BankIdentity],
        source: str,
        *,
        expected_rows: int | None = None,
        plan: PlanRecord | None = None,
    ) -> BankWriter:
        """See :meth:`Store.writer`; the rows decide how a cluster of servers divides a new bank."""
        from .writer import ServerWriter

        return ServerWriter(self._connection, identities, source, plan, expected_rows)

    @contextmanager
    def heeding(self, leaving: Callable[[], bool]) -> Iterator[None]:
        """See :meth:`Store.heeding`."""
        before, self._connection.leaving = self._connection.leaving, leaving
        try:
            yield
        finally:
            self._connection.leaving = before

    def rewrite(self, name: str, record: BankRecord, changes: Changes, advance: Callable[[int], None]) -> BankRecord:
        """See :meth:`store.care.Care.rewrite`."""
        from .rewrite import rewrite

        self._require(name)
        return rewrite(self._connection, name, record, changes, advance)

    def drop(self, name: str) -> None:
        """See :meth:`Store.drop`; a bank whose record is damaged can be dropped, too."""
        with suppress(DamagedRecordError, BankMismatchError):
            self._require(name)
        lease = Lease(self._connection)
        try:
            lease.take(name)
            lease.settle()
            self._connection.call(lambda c: c.delete_collection(name), before=lease.require)
        finally:
            lease.release()

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._connection.close()

    def _require(self, name: str) -> BankRecord:
        record = self._connection.record(name)
        if record is None:
            names = [info.name for info in self.list()]
            there = (
                f"The server has {', '.join(names)}."
                if names
                else "The server has no banks yet: run `lensbank ingest` first."
            )
            raise BankNotFoundError(f"The server {self._connection.address} has no bank {name!r}.", there)
        return record
