"""Banks on a Qdrant server, through ``qdrant-client``: one collection each, the record in its metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from schemas.collection import BankIdentity, BankRecord
from schemas.errors import BankNotFoundError, LensbankError, StoreError
from schemas.filters import Condition
from store.base import Bank, BankInfo, BankInfos, BankWriter, Hit, Store
from store.filters import server_filter
from store.records import require_complete
from store.rows import unit_queries

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from store.base import Floats

T = TypeVar("T")
METADATA_KEY = "lensbank"
QUERY_CHUNK = 128
_TIMEOUT_SECONDS = 120


class Connection:
    """A client and the server's address as it may be shown: without credentials."""

    def __init__(self, client: QdrantClient, address: str) -> None:
        """Hold both."""
        self.client = client
        self.address = address

    def call(self, work: Callable[[QdrantClient], T]) -> T:
        """Run one request.

        Raises:
            StoreError: the server cannot be reached, or refuses.
        """
        try:
            return work(self.client)
        except LensbankError:
            raise
        except Exception as error:
            text = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise StoreError(
                f"The Qdrant server {self.address} failed: {text}",
                "Check that it runs and that QDRANT_API_KEY holds its key, if it has one.",
            ) from error

    def record(self, name: str) -> BankRecord | None:
        """The record of a collection; ``None`` where it is not there or not a bank.

        Raises:
            BankMismatchError: written by a newer version.
            StoreError: the request failed.
        """

        def read(client: QdrantClient) -> dict[str, Any] | None:
            if not client.collection_exists(name):
                return None
            return (client.get_collection(name).config.metadata or {}).get(METADATA_KEY)

        data = self.call(read)
        return None if data is None else BankRecord.from_dict(data)


class ServerBank(Bank):
    """One collection of a server."""

    def __init__(self, connection: Connection, name: str, record: BankRecord) -> None:
        """Nothing is requested yet."""
        self.name = name
        self.record = record
        self._connection = connection

    def count(self, where: Sequence[Condition] = ()) -> int:
        """See :meth:`Bank.count`."""
        condition = server_filter(where)
        return self._connection.call(lambda c: c.count(self.name, count_filter=condition, exact=True)).count

    def search(
        self,
        vectors: Floats,
        k: int,
        where: Sequence[Condition] = (),
        exact: bool = True,
        with_payload: bool = True,
    ) -> list[list[Hit]]:
        """See :meth:`Bank.search`."""
        from qdrant_client import models

        queries = unit_queries(vectors, self.record.identity.dim, k)
        condition = server_filter(where)
        if k == 0:
            return [[] for _ in queries]
        limit = max(1, min(k, self.count()))
        quantization = None if exact else models.QuantizationSearchParams(rescore=True, oversampling=4.0)
        params = models.SearchParams(exact=exact, hnsw_ef=None if exact else 128, quantization=quantization)
        found: list[list[Hit]] = []
        for start in range(0, len(queries), QUERY_CHUNK):
            requests = [
                models.QueryRequest(
                    query=vector, limit=limit, filter=condition, params=params, with_payload=with_payload
                )
                for vector in queries[start : start + QUERY_CHUNK].tolist()
            ]
            answers = self._connection.call(lambda c, r=requests: c.query_batch_points(self.name, requests=r))  # type: ignore[misc]
            found += [[Hit(str(p.id), p.score, p.payload or {}) for p in answer.points] for answer in answers]
        return found

    def scroll(
        self, limit: int, offset: str | None = None, with_vectors: bool = False
    ) -> tuple[list[tuple[str, Floats | None, dict[str, Any]]], str | None]:
        """See :meth:`Bank.scroll`."""
        records, following = self._connection.call(
            lambda c: c.scroll(self.name, limit=limit, offset=offset, with_payload=True, with_vectors=with_vectors)
        )
        rows: list[tuple[str, Floats | None, dict[str, Any]]] = [
            (str(r.id), np.asarray(r.vector, dtype=np.float32) if with_vectors else None, r.payload or {})
            for r in records
        ]
        return rows, None if following is None else str(following)

    def disk_bytes(self) -> None:
        """See :meth:`Bank.disk_bytes`; a server does not say."""
        return

    def is_indexed(self) -> bool:
        """See :meth:`Bank.is_indexed`."""
        return bool(self._connection.call(lambda c: c.get_collection(self.name)).indexed_vectors_count)

    def close(self) -> None:
        """See :meth:`Bank.close`; the connection belongs to the store."""


class ServerStore(Store):
    """A Qdrant server.

    Args:
        client: connected to it.
        address: for messages.
    """

    def __init__(self, client: QdrantClient, address: str) -> None:
        """Use a client that is there; see :meth:`connect`."""
        self.address = address
        self._connection = Connection(client, address)

    @classmethod
    def connect(cls, url: str) -> ServerStore:
        """See :func:`store.base.open_store`.

        Raises:
            StoreError: the server cannot be reached, or refuses the key.
        """
        from qdrant_client import QdrantClient

        parts = urlsplit(url)
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        try:
            client = QdrantClient(
                url=url,
                api_key=os.environ.get("QDRANT_API_KEY") or None,
                prefer_grpc=True,
                timeout=_TIMEOUT_SECONDS,
                check_compatibility=False,  # the first request tells more
            )
        except Exception as error:
            raise StoreError(f"{address} is not a server's URL ({error}).", "Example: http://localhost:6333") from error
        store = cls(client, address)
        store._connection.call(lambda c: c.get_collections())
        return store

    def list(self) -> BankInfos:
        """See :meth:`Store.list`; collections that are not banks are left out."""
        banks = []
        names = [c.name for c in self._connection.call(lambda c: c.get_collections()).collections]
        for name in sorted(names):
            record = self._connection.record(name)
            if record is not None:
                rows = ServerBank(self._connection, name, record).count()
                banks.append(BankInfo(name, record, rows, None))
        return banks

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
        self, identities: Sequence[BankIdentity], source: str, *, expected_rows: int | None = None
    ) -> BankWriter:
        """See :meth:`Store.writer`; a server shapes its segments itself."""
        from store.server_writer import ServerWriter

        return ServerWriter(self._connection, identities, source)

    def drop(self, name: str) -> None:
        """See :meth:`Store.drop`."""
        self._require(name)
        self._connection.call(lambda c: c.delete_collection(name))

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._connection.client.close()

    def _require(self, name: str) -> BankRecord:
        record = self._connection.record(name)
        if record is None:
            names = [info.name for info in self.list()]
            there = f"It has {', '.join(names)}." if names else "It has no banks yet: run `lensbank ingest` first."
            raise BankNotFoundError(f"The server {self._connection.address} has no bank {name!r}.", there)
        return record


def write_record(connection: Connection, name: str, record: BankRecord, **changes: Any) -> BankRecord:
    """Replace fields of a collection's record.

    Raises:
        StoreError: the request failed.
    """
    record = replace(record, **changes)
    metadata: Mapping[str, Any] = {METADATA_KEY: record.to_dict()}
    connection.call(lambda c: c.update_collection(name, metadata=dict(metadata)))
    return record
