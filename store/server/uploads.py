"""Rows on their way to a server: gathered into requests by bank and lane, split where they are too large."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...schemas.errors import StoreError
from ...schemas.payload import merged
from .connection import Connection
from .lanes import Batch, Lanes
from .points import row_bytes, upsert
from .refusals import MissingError, TooLargeError

if TYPE_CHECKING:
    from ..bank import Floats

# Rows that wait to fill a request, of all banks together.
_BUFFER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A bank that rows go to.

    Attributes:
        name: of its collection.
        seed: that decides what a row shared by corpora shows.
        shared: whether it holds other corpora, whose rows stay theirs, too.
    """

    name: str
    seed: int
    shared: bool


class Uploads:
    """Sends rows in parallel. For one thread at a time.

    Args:
        connection: to the server.
        targets: by layer.
        batch_rows: in one request, at most.
        before: called before every request that writes; raises where nothing may be written any more.
    """

    def __init__(
        self, connection: Connection, targets: Mapping[int, Target], batch_rows: int, before: Callable[[], None]
    ) -> None:
        """Start the lanes."""
        self._connection = connection
        self._targets = dict(targets)
        self._by_name = {target.name: target for target in targets.values()}
        self._batch_rows = batch_rows
        self._before = before
        self._buffers: dict[tuple[int, int], _Buffer] = {}
        self._stop = threading.Event()
        self._streams = connection.options.streams
        # Equal ids stay in one lane, so that the later row wins; a lone bank uses all lanes.
        self._parts = -(-self._streams // len(self._targets))
        self._lanes = Lanes(self._send, self._streams, self._stop)

    def put(
        self,
        ids: Sequence[str],
        payloads: Sequence[dict[str, Any]],
        units: Mapping[int, Floats],
        norms: Mapping[int, Floats],
    ) -> None:
        """Hand over rows: payloads without ``norm``, and per layer ``[n, dim]`` unit rows and ``[n]`` norms.

        Raises:
            StoreError: sending these or earlier rows failed.
        """
        parts = [hash(name) % self._parts for name in ids]
        for number, layer in enumerate(self._targets):
            unit, sizes = units[layer], norms[layer]
            for i, name in enumerate(ids):
                lane = (number * self._parts + parts[i]) % self._streams
                buffer = self._buffers.setdefault((layer, lane), _Buffer())
                buffer.add(name, {**payloads[i], "norm": float(sizes[i])}, unit[i])
                if buffer.bytes >= self._connection.options.batch_bytes or len(buffer.ids) >= self._batch_rows:
                    self._hand_over(layer, lane)
        if sum(buffer.bytes for buffer in self._buffers.values()) > _BUFFER_BYTES:
            self._hand_over_all()
        self._lanes.check()

    def drain(self) -> None:
        """Send everything, and wait until it is stored.

        Raises:
            StoreError: sending failed.
        """
        self._hand_over_all()
        self._lanes.drain()

    def close(self) -> None:
        """End the threads; everything was drained."""
        self._lanes.close()

    def abort(self) -> None:
        """Drop what was not sent; does not wait for requests under way."""
        self._lanes.abort()

    def _hand_over(self, layer: int, lane: int) -> None:
        buffer = self._buffers.pop((layer, lane), None)
        if buffer is not None:
            self._lanes.put(lane, buffer.batch(self._targets[layer].name))

    def _hand_over_all(self) -> None:
        for layer, lane in list(self._buffers):
            self._hand_over(layer, lane)

    def _send(self, batch: Batch) -> None:
        """Store one batch; called in the lanes."""
        for part in _slices(batch, self._batch_rows):
            try:
                upsert(self._connection, self._joined(part), self._stop, self._before)
            except MissingError as error:
                raise StoreError(
                    f"Bank {part.collection} on {self._connection.address} was deleted while it was being written.",
                    "Run the same command again to write the bank again.",
                ) from error
            except TooLargeError:
                if len(part) == 1:
                    raise
                for half in part.halves():
                    self._send(half)

    def _joined(self, batch: Batch) -> Batch:
        """Rows as they are to be stored: those that are there already stay their other corpora's, too."""
        target = self._by_name[batch.collection]
        if not target.shared:
            return batch
        found = self._connection.call(
            lambda c: c.retrieve(batch.collection, list(batch.ids), with_payload=True), stop=self._stop
        )
        there = {str(row.id): row.payload or {} for row in found}
        payloads = [
            merged(there[name], payload, target.seed) if name in there else payload
            for name, payload in zip(batch.ids, batch.payloads, strict=True)
        ]
        return Batch(batch.collection, batch.ids, payloads, batch.vectors)


class _Buffer:
    """Rows of one bank and lane that do not fill a request yet."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.bytes = 0
        self._payloads: list[dict[str, Any]] = []
        self._vectors: list[Floats] = []

    def add(self, name: str, payload: dict[str, Any], vector: Floats) -> None:
        self.ids.append(name)
        self._payloads.append(payload)
        self._vectors.append(vector)
        self.bytes += row_bytes(payload, len(vector))

    def batch(self, collection: str) -> Batch:
        return Batch(collection, self.ids, self._payloads, np.stack(self._vectors))


def _slices(batch: Batch, rows: int) -> Iterable[Batch]:
    for start in range(0, len(batch), rows):
        part = slice(start, start + rows)
        yield Batch(batch.collection, batch.ids[part], batch.payloads[part], batch.vectors[part])
