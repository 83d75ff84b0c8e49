"""Changing what the rows of a server's bank say: their payload, in place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qdrant_client import models

from ...schemas.collection import BankRecord
from ...schemas.words import RULES
from ..care import Changes, require_unchanged_since, retold
from ..counts import count_named, names_of
from ..records import for_metadata
from ..unfinished import require_complete
from .connection import METADATA_KEY, Connection
from .counting import ROWS_KEY, count_rows
from .lease import Lease

# Rows of one request. Rows that change alike are one operation of it.
_ROWS = 1000


def rewrite(
    connection: Connection, name: str, before: BankRecord, changes: Changes, advance: Callable[[int], None]
) -> BankRecord:
    """See :meth:`store.care.Care.rewrite`. Rows go last, so that until then the record's numbers are right."""
    lease = Lease(connection)
    try:
        lease.take(name)
        lease.settle()
        record = connection.record(name) or before
        require_complete(name, record, connection.address)
        require_unchanged_since(name, record, before)
        if changes:
            unknown = {METADATA_KEY: for_metadata(retold(record, {}, None))}
            connection.update_metadata(name, unknown, before=lease.require)
        for rows, operations in _requests(changes):
            connection.call(
                lambda c, o=operations: c.batch_update_points(name, update_operations=o, wait=True),  # type: ignore[misc]
                before=lease.require,
            )
            advance(rows)
        counted = count_named(lambda where: count_rows(connection, name, where, exactly=True), names_of(record))
        record = retold(record, counted.named, RULES)
        told = {METADATA_KEY: for_metadata(record), ROWS_KEY: counted.rows}
        connection.update_metadata(name, told, before=lease.require)
        return record
    finally:
        lease.release()


def _requests(changes: Changes) -> Iterator[tuple[int, list[models.UpdateOperation]]]:
    """Requests and how many rows each changes."""
    changed = [(row, change) for row, change in changes.items() if change is not None]
    for start in range(0, len(changed), _ROWS):
        alike: dict[str, tuple[Mapping[str, Any], list[models.ExtendedPointId]]] = {}
        for row, change in changed[start : start + _ROWS]:
            alike.setdefault(json.dumps(change, sort_keys=True), (change, []))[1].append(row)
        yield (
            len(changed[start : start + _ROWS]),
            [
                models.SetPayloadOperation(set_payload=models.SetPayload(payload=dict(change), points=rows))
                for change, rows in alike.values()
            ],
        )
    gone: list[models.ExtendedPointId] = [row for row, change in changes.items() if change is None]
    for start in range(0, len(gone), _ROWS):
        part = gone[start : start + _ROWS]
        yield len(part), [models.DeleteOperation(delete=models.PointIdsList(points=part))]
