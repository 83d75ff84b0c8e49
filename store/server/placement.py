"""How a new collection is spread over a cluster of Qdrant nodes: from its rows and the nodes, where nobody has said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...schemas.errors import StoreError
from .connection import Connection
from .options import ServerOptions

#: Rows of a shard up to which each node has one. A shard is searched by few threads, and moved as a whole.
SHARD_ROWS = 2_000_000
#: Copies of a shard: one node may then be away, or lose its disk.
COPIES = 2


def placed(connection: Connection, rows: int | None) -> ServerOptions:
    """The connection's options, completed for the cluster that it leads to."""
    options = connection.options
    if options.shards is not None and options.replicas is not None:
        return options
    return placement(options, count_nodes(connection), rows or 0)


def placement(options: ServerOptions, nodes: int, rows: int) -> ServerOptions:
    """The options, with shards and replicas for a cluster of several nodes; what was asked for stays.

    Every node has as many shards as any other: one, or two of a large bank. Write consistency is left to the server,
    which is content with one copy: rows then come on while a node is away, and it catches up when it is back.

    Args:
        options: as asked for.
        nodes: of the cluster.
        rows: of the bank, about.
    """
    if nodes < 2:
        return options
    return replace(
        options,
        shards=options.shards or nodes * (2 if rows > nodes * SHARD_ROWS else 1),
        replicas=options.replicas or COPIES,
    )


def count_nodes(connection: Connection) -> int:
    """Nodes of the server's cluster; 1 where it is none, or does not say."""
    if connection.version is None:
        return 1
    try:
        answer = connection.call(
            lambda c: c.http.client.request(type_=dict[str, Any], method="GET", url="/cluster"), patience=0
        )
    except StoreError:  # a key that may not ask, a proxy that does not know the path
        return 1
    peers = (answer.get("result") or {}).get("peers")
    return max(1, len(peers)) if isinstance(peers, dict) else 1
