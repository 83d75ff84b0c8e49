"""How much disk a collection takes, as servers from version 1.18 on tell it."""

from __future__ import annotations

from typing import Any

from ...schemas.errors import StoreError
from .connection import Connection

#: The first version that answers ``GET /collections/NAME/memory``.
_SINCE = (1, 18)


def collection_bytes(connection: Connection, name: str) -> int | None:
    """Bytes of a collection's files on the node that answers; ``None`` where the server does not say.

    Args:
        connection: to the server.
        name: of the collection.
    """
    if connection.version is None or connection.version < _SINCE:
        return None
    try:
        answer = connection.call(
            lambda c: c.http.client.request(
                type_=dict[str, Any],
                method="GET",
                url="/collections/{collection_name}/memory",
                path_params={"collection_name": name},
            )
        )
    except StoreError:  # a key that may not ask, a proxy that does not know the path: no reason to list nothing
        return None
    total = (answer.get("result") or {}).get("total") or {}
    found = total.get("disk_bytes")
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
