"""Counting rows on a server, also where its strict mode forbids exact counts."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.filters import Condition
from .collections import read_limits
from .connection import Connection
from .filters import server_filter
from .refusals import InexactOnlyError

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
    condition = server_filter(where)
    try:
        return connection.call(lambda c: c.count(name, count_filter=condition, exact=True)).count
    except InexactOnlyError:
        how = "its rows are counted by going through their ids" if exactly else "its number of rows is an estimate"
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
