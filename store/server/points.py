"""Rows on the wire: over gRPC as raw bytes, over REST as text."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .connection import Connection
from .lanes import Batch

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

# A float32 in JSON, with its comma. gRPC needs four bytes: this is the larger of the two.
_JSON_FLOAT_BYTES = 22
_PAYLOAD_BYTES = 300


def row_bytes(payload: Mapping[str, Any], dim: int) -> int:
    """About how many bytes a row is in a request, at most."""
    text = sum(len(value) for value in payload.values() if isinstance(value, str))
    return dim * _JSON_FLOAT_BYTES + _PAYLOAD_BYTES + 2 * text


def upsert(connection: Connection, batch: Batch, stop: threading.Event | None = None) -> None:
    """Store a batch; returns when the server has applied it.

    ``wait=True`` for every batch: the server's queue cannot grow, and one acknowledged batch says
    nothing about others where a collection has several shards. Parallel lanes keep it busy.

    Raises:
        TooLargeError: the server takes it in smaller pieces only.
        StoreError: the request failed.
    """
    seconds = max(1, round(connection.options.timeout))
    by_grpc = connection.protocol_for(batch.collection) == "grpc"
    points: Any = _grpc_request(batch) if by_grpc else _rest_points(batch)

    def send(client: QdrantClient) -> None:
        if by_grpc:
            client.grpc_points.Upsert(points, timeout=seconds)
        else:
            client.upsert(batch.collection, points=points, wait=True)

    connection.rows(batch.collection, send, stop=stop)


def _rest_points(batch: Batch) -> Any:
    from qdrant_client import models

    return [
        models.PointStruct(id=name, vector=vector, payload=dict(payload))
        for name, payload, vector in zip(batch.ids, batch.payloads, batch.vectors.tolist(), strict=True)
    ]


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
