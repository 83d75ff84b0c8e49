"""A bank on a Qdrant server, open for reading: one collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...schemas.collection import BankRecord
from ...schemas.filters import Condition
from ..approximation import Fallback
from ..balance import Balance
from ..bank import Bank
from ..counts import Counted, count_named, names_of
from ..found import Hit
from ..rows import engine_id, payload_as_read, unit_queries
from .collections import Limits, read_limits, require_allowed, search_params
from .connection import Connection
from .counting import count_rows, take_stock
from .filters import server_filter
from .prefixes import spelled_out
from .sizes import collection_bytes

if TYPE_CHECKING:
    from ..bank import Floats

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
