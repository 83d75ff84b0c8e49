"""Rows on the wire: over gRPC as raw bytes, over REST as text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import orjson

from ...schemas.filters import Condition
from .connection import Connection
from .filters import server_filter
from .lanes import Batch

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

# The longest float32 in JSON, with its comma. gRPC needs four bytes: this is the larger of the two.
_JSON_FLOAT_BYTES = 16
_PAYLOAD_BYTES = 300
# What the dashboard shows first. JSON keeps the order; a gRPC payload has none.
_FIRST_FIELDS = ("best", "word", "sentence", "position", "image", "row", "col")


def row_bytes(payload: Mapping[str, Any], dim: int) -> int:
    """About how many bytes a row is in a request, at most."""
    text = sum(len(value) for value in payload.values() if isinstance(value, str))
    return dim * _JSON_FLOAT_BYTES + _PAYLOAD_BYTES + 2 * text


def upsert(
    connection: Connection,
    batch: Batch,
    stop: threading.Event | None = None,
    before: Callable[[], None] | None = None,
) -> None:
    """Store a batch; returns when the server has applied it.

    ``wait=True`` for every batch: the server's queue cannot grow, and one acknowledged batch says
    nothing about others where a collection has several shards. Parallel lanes keep it busy.

    Args:
        connection: to the server.
        batch: the rows.
        stop: when set, gives up.
        before: called before every attempt; raises where the rows must not be sent any more.

    Raises:
        TooLargeError: the server takes it in smaller pieces only.
        StoreError: the request failed.
    """
    seconds = max(1, round(connection.options.timeout))
    # Written for the first attempt that wants it: which of the two that is may change between attempts.
    request, body = cache(partial(_grpc_request, batch)), cache(partial(rest_body, batch))

    def send(client: QdrantClient) -> None:
        if connection.version is None:  # the client's local mode has no requests
            _upsert_locally(batch, client)
        elif client is connection.client:
            _put(batch.collection, body(), client)
        else:
            client.grpc_points.Upsert(request(), timeout=seconds)

    connection.rows(batch.collection, send, stop=stop, before=before)


def delete_rows(connection: Connection, name: str, where: Sequence[Condition], before: Callable[[], None]) -> None:
    """Delete the rows that meet all conditions; at least one condition.

    Raises:
        StoreError: the request failed.
    """
    condition = server_filter(where)
    assert condition is not None
    connection.call(lambda c: c.delete(name, points_selector=condition, wait=True), before=before)


def rest_body(batch: Batch) -> bytes:
    """The request's JSON, written from the arrays: the client would make a Python float of every number.

    A float32 is written with as many digits as tell it from its neighbours, so the server reads the very same one.
    """
    points = [
        {"id": name, "vector": vector, "payload": _ordered(payload)}
        for name, payload, vector in zip(batch.ids, batch.payloads, batch.vectors, strict=True)
    ]
    return orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY)


def _ordered(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: payload[name] for name in _FIRST_FIELDS if name in payload}, **payload}


def _put(collection: str, body: bytes, client: QdrantClient) -> None:
    from qdrant_client import models

    client.http.client.request(
        type_=models.InlineResponse2008,
        method="PUT",
        url="/collections/{collection_name}/points",
        path_params={"collection_name": collection},
        params={"wait": "true"},
        headers={"Content-Type": "application/json"},
        content=body,
    )


def _upsert_locally(batch: Batch, client: QdrantClient) -> None:
    from qdrant_client import models

    points = [
        models.PointStruct(id=name, vector=vector, payload=_ordered(payload))
        for name, payload, vector in zip(batch.ids, batch.payloads, batch.vectors.tolist(), strict=True)
    ]
    client.upsert(batch.collection, points=points, wait=True)


def _grpc_request(batch: Batch) -> Any:
    """The request itself: the client would turn each number into Python's and back."""
    from qdrant_client import grpc
    from qdrant_client.conversions.conversion import payload_to_grpc
    from qdrant_client.uploader.grpc_uploader import convert_vector_struct

    points = [
        grpc.PointStruct(
            id=grpc.PointId(uuid=name), vectors=convert_vector_struct(vector), payload=payload_to_grpc(dict(payload))
        )
        for name, payload, vector in zip(batch.ids, batch.payloads, batch.vectors, strict=True)
    ]
    return grpc.UpsertPoints(collection_name=batch.collection, wait=True, points=points)
