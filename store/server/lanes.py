"""Uploads in the background: several at once, in order within a lane, never more in hand than fits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...schemas.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Batches that wait per lane, beside the one under way.
_WAITING = 1
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows for one collection.

    Attributes:
        collection: its name.
        ids: point ids.
        payloads: whole, ``norm`` included.
        vectors: ``[n, dim]`` unit rows, float32.
    """

    collection: str
    ids: Sequence[str]
    payloads: Sequence[Mapping[str, Any]]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        """Rows."""
        return len(self.ids)

    def halves(self) -> tuple[Batch, Batch]:
        """The same rows as two batches, in order."""
        middle = len(self) // 2
        return (
            Batch(self.collection, self.ids[:middle], self.payloads[:middle], self.vectors[:middle]),
            Batch(self.collection, self.ids[middle:], self.payloads[middle:], self.vectors[middle:]),
        )


class Lanes:
    """Threads that send batches.

    Args:
        send: stores one batch; called from the threads.
        count: of the threads.
        stop: set by :meth:`abort`, so that a sender that waits can give up.
    """

    def __init__(self, send: Callable[[Batch], None], count: int, stop: threading.Event) -> None:
        """Start the threads."""
        self._send = send
        self._stop = stop
        self._failure: Exception | None = None
        self._queues: list[queue.Queue[Batch | None]] = [queue.Queue(_WAITING) for _ in range(count)]
        # Daemons: a program that forgets to close the writer must still be able to end.
        self._threads = [
            threading.Thread(target=self._run, args=(waiting,), name=f"lensbank-upload-{i}", daemon=True)
            for i, waiting in enumerate(self._queues)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, lane: int, batch: Batch) -> None:
        """Hand over a batch; waits where the lane is behind.

        Raises:
            StoreError: sending this lane's or another's earlier batches failed.
        """
        while True:
            self.check()
            try:
                return self._queues[lane].put(batch, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue  # look for failures, and let Ctrl-C in

    def drain(self) -> None:
        """Wait until everything handed over is stored.

        Raises:
            StoreError: sending failed.
        """
        for waiting in self._queues:
            while True:
                self.check()
                with waiting.all_tasks_done:
                    if not waiting.unfinished_tasks:
                        break
                    waiting.all_tasks_done.wait(_LOOK_SECONDS)
        self.check()

    def check(self) -> None:
        """Raise what went wrong in a thread.

        Raises:
            StoreError: sending failed.
        """
        failure = self._failure
        if isinstance(failure, StoreError):
            raise type(failure)(failure.message, failure.hint) from failure
        if failure is not None:
            raise failure

    def close(self) -> None:
        """End the threads once they have sent what they hold; repeatable."""
        for waiting, thread in zip(self._queues, self._threads, strict=True):
            while thread.is_alive():
                try:
                    waiting.put(None, timeout=_LOOK_SECONDS)
                    break
                except queue.Full:
                    continue
        for thread in self._threads:
            thread.join()

    def abort(self) -> None:
        """Tell the threads to drop what they hold; does not wait for a request under way."""
        self._stop.set()
        for waiting in self._queues:
            try:
                waiting.put_nowait(None)
            except queue.Full:
                continue  # the thread empties its queue, and looks at the event

    def _run(self, waiting: queue.Queue[Batch | None]) -> None:
        while True:
            try:
                batch = waiting.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                if self._stop.is_set():
                    return
                continue
            try:
                if batch is None:
                    return
                if self._failure is None and not self._stop.is_set():
                    self._send(batch)
            except Exception as error:
                self._failure = self._failure or error
            finally:
                waiting.task_done()
