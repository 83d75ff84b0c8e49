"""Conditions on how a word begins, for servers of any version.

Servers match prefixes from version 1.19 on, with an index that older collections lack. All of them list the values
of an indexed field, so a prefix is spelled out as the values that begin with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.errors import StoreError
from ...schemas.filters import Condition
from ...schemas.payload import FIELD_KINDS
from ..rows import clean_text
from .collections import read_limits
from .connection import Connection

#: Distinct values of a field that are listed in one answer.
MOST_VALUES = 250_000


def spelled_out(connection: Connection, name: str, where: Sequence[Condition]) -> list[Condition]:
    """The conditions, each prefix replaced by the values of the collection that begin with it.

    Raises:
        StoreError: a request failed, or the server lists too few values.
    """
    return [_spelled(connection, name, one) if _is_prefix(one) else one for one in where]


def _is_prefix(condition: Condition) -> bool:
    return condition.op == "~" and FIELD_KINDS[condition.field] == "keyword"


def _spelled(connection: Connection, name: str, condition: Condition) -> Condition:
    prefix = clean_text(str(condition.values[0]))
    most = min(MOST_VALUES, read_limits(connection, name).hits or MOST_VALUES)
    hits = connection.call(lambda c: c.facet(name, condition.field, limit=most)).hits
    if len(hits) >= most:
        raise StoreError(
            f"The filter {condition} needs all values of {condition.field}, but {connection.address} lists at most "
            f"{most:,} of them in {name}.",
            f"Give the values instead: {condition.field}=...,...",
        )
    # Where none begins with it, no value equals it, either.
    meant = tuple(value for hit in hits if (value := str(hit.value)).startswith(prefix))
    return Condition(condition.field, "=", meant or (prefix,))
