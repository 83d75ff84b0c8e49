"""Banks on a Qdrant server, through ``qdrant-client``: one collection each, the record in its metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ...schemas.collection import BankIdentity, BankRecord
from ...schemas.errors import BankMismatchError, BankNotFoundError, DamagedRecordError, StoreError
from ...schemas.filters import Condition
from ...schemas.plans import PlanRecord
from ..approximation import Fallback
from ..balance import Balance
from ..base import Bank, BankInfo, BankInfos, Hit, Store
from ..care import Changes
from ..counts import Counted, count_named, names_of
from ..damage import DamagedBank
from ..records import require_complete
from ..rows import engine_id, payload_as_read, unit_queries
from ..writing import BankWriter
from .collections import Limits, read_limits, require_allowed, search_params
from .connecting import connect
from .connection import Connection, Notify
from .counting import count_rows, take_stock
from .filters import server_filter
from .lease import Lease
from .options import ServerOptions
from .prefixes import spelled_out
from .sizes import collection_bytes

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from ..base import Floats

#: Queries per request, and rows in one answer: a hit with payload takes about a kilobyte.
QUERY_CHUNK = 128
HITS_PER_ANSWER = 20_000
ROWS_PER_ANSWER = 5_000
# A server sets aside room for as many hits as are asked for.
_COUNT_FROM = 10_000


class ServerBank(Bank):
    """One collection of a server."""

    def __init__(self, connection: Connection, name: str, record: BankRecord) -> None:
        """Nothing is requested yet."""
        self.name = name
        self.record = record
        self.address = connection.address
        self._connection = connection
        self._limits: Limits | None = None
        self._balance: Balance | None = None
        self._fallback = Fallback()

    def count(self, where: Sequence[Condition] = ()) -> int:
        """See :meth:`Bank.count`."""
        return count_rows(self._connection, self.name, where)

    def counted(self) -> Counted:
        """See :meth:`Bank.counted`; also where the server refuses to count."""
        return count_named(
            lambda where: count_rows(self._connection, self.name, where, exactly=True), names_of(self.record)
        )

    def balance(self) -> Balance:
        """See :meth:`Bank.balance`."""
        if self._balance is None:
            self._balance = take_stock(self._connection, self.name)
        return self._balance

    def search(
        self,
        vectors: Floats,
        k: int,
        where: Sequence[Condition] = (),
        exact: bool = True,
        with_payload: bool = True,
    ) -> list[list[Hit]]:
        """See :meth:`Bank.search`; as many queries per request as the server allows."""
        from qdrant_client import models

        queries = unit_queries(vectors, self.record.identity.dim, k)
        condition = server_filter(spelled_out(self._connection, self.name, where))
        if k == 0 or not len(queries):
            return [[] for _ in queries]
        limit = k if k <= _COUNT_FROM else max(1, min(k, self.count()))
        exact = exact or self.compares_all(where)
        limits = self._allowed(exact, limit)
        params = search_params(exact, limits, limit)
        chunk = max(1, min(limits.queries or QUERY_CHUNK, QUERY_CHUNK, HITS_PER_ANSWER // limit))
        seconds = max(1, round(self._connection.options.timeout))
        found: list[list[Hit]] = []
        for start in range(0, len(queries), chunk):
            requests = [
                models.QueryRequest(
                    query=vector, limit=limit, filter=condition, params=params, with_payload=with_payload
                )
                for vector in queries[start : start + chunk].tolist()
            ]
            answers = self._connection.rows(
                self.name,
                lambda c, r=requests: c.query_batch_points(self.name, requests=r, timeout=seconds),  # type: ignore[misc]
            )
            found += [
                [Hit(str(p.id), p.score, payload_as_read(p.payload)) for p in answer.points] for answer in answers
            ]
        return found

    def payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """See :meth:`Bank.payloads`; some thousands of rows per request."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), ROWS_PER_ANSWER):
            part = [engine_id(name) for name in ids[start : start + ROWS_PER_ANSWER]]
            records = self._connection.rows(
                self.name,
                lambda c, p=part: c.retrieve(self.name, p, with_payload=True),  # type: ignore[misc]
            )
            found |= {str(record.id): payload_as_read(record.payload) for record in records}
        return found

    def scroll(
        self,
        limit: int,
        offset: str | None = None,
        with_vectors: bool = False,
        where: Sequence[Condition] = (),
        fields: Sequence[str] | None = None,
    ) -> tuple[list[tuple[str, Floats | None, dict[str, Any]]], str | None]:
        """See :meth:`Bank.scroll`; as many rows per page as the server allows."""
        size, start = min(limit, self._read_limits().hits or limit), None if offset is None else engine_id(offset)
        condition, wanted = server_filter(where), True if fields is None else list(fields)
        records, following = self._connection.rows(
            self.name,
            lambda c: c.scroll(
                self.name, condition, limit=size, offset=start, with_payload=wanted, with_vectors=with_vectors
            ),
        )
        rows: list[tuple[str, Floats | None, dict[str, Any]]] = [
            (str(r.id), np.asarray(r.vector, dtype=np.float32) if with_vectors else None, payload_as_read(r.payload))
            for r in records
        ]
        return rows, None if following is None else str(following)

    def disk_bytes(self) -> int | None:
        """See :meth:`Bank.disk_bytes`; servers before 1.18 do not say."""
        return collection_bytes(self._connection, self.name)

    def is_indexed(self) -> bool:
        """See :meth:`Bank.is_indexed`."""
        return bool(self._connection.call(lambda c: c.get_collection(self.name)).indexed_vectors_count)

    def compares_all(self, where: Sequence[Condition] = ()) -> bool:
        """See :meth:`Bank.compares_all`; a server whose strict mode forbids exact search goes on without."""
        return self._read_limits().exact and self._fallback.compares_all(self, where)

    def close(self) -> None:
        """See :meth:`Bank.close`; the connection belongs to the store."""

    def _allowed(self, exact: bool, limit: int) -> Limits:
        """The server's limits, which this search keeps.

        Raises:
            StoreError: it cannot.
        """
        require_allowed(limits := self._read_limits(), exact, limit, self._connection.address, self.name)
        return limits

    def _read_limits(self) -> Limits:
        if self._limits is None:
            self._limits = read_limits(self._connection, self.name)
        return self._limits


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
    def connect(cls, url: str, options: ServerOptions | None = None, notify: Notify | None = None) -> ServerStore:
        """See :func:`store.base.open_store`.

        Raises:
            StoreError: the server cannot be reached, refuses the key, is too old, or is none.
            UsageError: the address or an option cannot be used.
        """
        connection = connect(url, options or ServerOptions(), notify)
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

    def list(self) -> BankInfos:
        """See :meth:`Store.list`; collections that are not banks are left out."""
        banks = []
        for name, record in self._records():
            if isinstance(record, BankRecord):
                rows = ServerBank(self._connection, name, record).count()
                banks.append(BankInfo(name, record, rows, None))
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
        name = bank if isinstance(bank, str) else bank.name()
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
        """See :meth:`Store.writer`; a server shapes its segments itself."""
        from .writer import ServerWriter

        return ServerWriter(self._connection, identities, source, plan)

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
            there = f"It has {', '.join(names)}." if names else "It has no banks yet: run `lensbank ingest` first."
            raise BankNotFoundError(f"The server {self._connection.address} has no bank {name!r}.", there)
        return record
