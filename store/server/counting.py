"""Counting rows on a server, also where its strict mode forbids exact counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...schemas.collection import BankRecord
from ...schemas.filters import Condition
from ..balance import Balance, balance
from ..counts import Counted, count_named, names_of
from ..records import record_in
from .collections import read_limits
from .connection import METADATA_KEY, Connection
from .filters import server_filter
from .prefixes import spelled_out
from .refusals import InexactOnlyError

#: Rows at the last flush, in the metadata: a server that has fewer has lost some.
ROWS_KEY = "lensbank_rows"
# Ids in one answer.
_PAGE = 5_000


def count_rows(connection: Connection, name: str, where: Sequence[Condition] = (), *, exactly: bool = False) -> int:
    """Rows of a collection that fulfil a filter.

    Args:
        connection: to the server.
        name: of the collection.
        where: the filter.
        exactly: where the server refuses to count exactly, go through the ids instead of taking its estimate.

    Raises:
        StoreError: a request failed.
    """
    condition = server_filter(spelled_out(connection, name, where))
    try:
        return connection.call(lambda c: c.count(name, count_filter=condition, exact=True)).count
    except InexactOnlyError:
        how = "the rows are counted by reading all ids" if exactly else "the number of rows is an estimate"
        connection.say_once(
            f"The strict mode of the Qdrant server {connection.address} forbids exact counts in {name}: {how}."
        )
    if not exactly:
        return connection.call(lambda c: c.count(name, count_filter=condition, exact=False)).count
    page = min(_PAGE, read_limits(connection, name).hits or _PAGE)
    # An id is counted once, also where it moves between segments meanwhile.
    seen: set[str] = set()
    offset = None
    while True:
        rows, offset = connection.call(
            lambda c, o=offset: c.scroll(  # type: ignore[misc]
                name, scroll_filter=condition, limit=page, offset=o, with_payload=False, with_vectors=False
            )
        )
        seen.update(str(row.id) for row in rows)
        if offset is None:
            return len(seen)


def take_stock(connection: Connection, name: str) -> Balance:
    """How a complete bank's rows differ from those on record; where exact counts are forbidden, about.

    Raises:
        StoreError: a request failed, or the record is damaged.
    """
    metadata = connection.metadata(name) or {}
    record = _record(connection, name, metadata)
    if record is None or record.state != "complete":
        return Balance()
    exact = read_limits(connection, name).exact
    if exact:
        counted = count_named(lambda where: count_rows(connection, name, where), names_of(record))
    else:  # of a filter, the server's estimate may be far off
        counted = Counted(count_rows(connection, name), {}, 0)
    found = balance(record, noted_rows(metadata), counted, about=not exact)
    # Somebody may have begun to write it meanwhile.
    return found if not found or _record(connection, name, connection.metadata(name) or {}) == record else Balance()


def noted_rows(metadata: Mapping[str, Any]) -> int | None:
    """Rows at the last flush, as a collection's metadata say; ``None`` where they do not, or hold something else."""
    rows = metadata.get(ROWS_KEY)
    return rows if isinstance(rows, int) and not isinstance(rows, bool) and rows >= 0 else None


def _record(connection: Connection, name: str, metadata: dict[str, Any]) -> BankRecord | None:
    data = metadata.get(METADATA_KEY)
    return None if data is None else record_in(data, name, connection.address)
