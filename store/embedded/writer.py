"""Writing embedded banks from a process of its own, fed through shared memory.

The engine holds Python's global lock while it works, so in the parent it would stop the forward
passes that make the rows. The child is spawned (a forked one would inherit the engine's and
torch's threads in a state they cannot go on from). It does not import the parent's main module,
so a script that uses this needs no ``if __name__ == "__main__"`` guard.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...schemas import errors
from ...schemas.collection import BankIdentity, CorpusRecord
from ...schemas.errors import StoreError, StoreFullError
from ...schemas.plans import PlanRecord
from ..rows import check_rows, clean_payload, describe_row, one_width, unit_rows
from ..writing import BankWriter, OnIndexed
from . import worker
from .channel import SlotLayout, WriterTask
from .disk import require_free, store_error
from .engine import EngineSettings
from .processes import spawning, uninterrupted

if TYPE_CHECKING:
    from ..base import Floats

_CLEANUP_SECONDS = 10
_AGAIN = "Run the same command again: it goes on from what was stored last."


class EmbeddedWriter(BankWriter):
    """The parent's end. See :class:`store.writing.BankWriter`."""

    def __init__(
        self,
        root: Path,
        identities: Sequence[BankIdentity],
        source: str,
        expected_rows: int | None = None,
        settings: EngineSettings | None = None,
        plan: PlanRecord | None = None,
    ) -> None:
        """Start the child and wait until it has all banks open.

        Raises:
            ValueError: no identities, two of one layer, or of different widths.
            StoreError: see :meth:`store.base.Store.writer`.
        """
        self.plan = plan
        self._layers = {identity.layer: index for index, identity in enumerate(identities)}
        self._dim = one_width(identities)
        self._root = root
        self._names = [identity.name() for identity in identities]
        settings = settings or EngineSettings()
        self._layout = SlotLayout.fitting(len(identities), self._dim, settings)
        require_free(root, settings.reserve_bytes)
        context = get_context("spawn")
        try:
            block = context.RawArray(ctypes.c_ubyte, self._layout.total_bytes)
        except OSError as error:
            raise store_error(error, Path(tempfile.gettempdir())) from error
        self._block = memoryview(block).cast("B")
        self._pipe, theirs = context.Pipe()
        task = WriterTask(
            str(root), tuple(identities), source, expected_rows, settings, self._layout, os.getpid(), plan
        )
        # A daemon: a program that forgets to close the writer must still be able to end.
        self._process = context.Process(
            target=worker.run, args=(theirs, block, task), name="lensbank-writer", daemon=True
        )
        # At exit multiprocessing sends its daemons SIGTERM, which the child ignores, and waits.
        self._at_exit = weakref.finalize(self, _kill, self._process)
        self._free = list(range(self._layout.slots))
        self._slot: int | None = None  # the one being filled ...
        self._rows: list[tuple[str, dict[str, Any]]] = []  # ... and its ids and payloads
        self._number = 0
        self._done = 0
        self._answer: Any = None
        self._ready = False
        self._progress: OnIndexed | None = None
        self._failure: StoreError | None = None
        self._closed = False
        try:
            with uninterrupted(), spawning():
                self._process.start()
            theirs.close()
            while not self._ready:
                self._receive()
        except BaseException:
            self.abort()
            raise

    def put(
        self,
        ids: Sequence[str],
        payloads: Sequence[Mapping[str, Any]],
        vectors: Mapping[int, Floats],
        norms: Mapping[int, Floats],
    ) -> None:
        """See :meth:`store.writing.BankWriter.put`."""
        self._require_open()
        check_rows(ids, payloads, vectors, norms, self._layers, self._dim)
        rows = [(name, clean_payload(payload)) for name, payload in zip(ids, payloads, strict=True)]
        units = {
            layer: unit_rows(matrix, lambda i, n=layer: f"The state of {describe_row(payloads[i])} at layer {n}")  # type: ignore[misc]
            for layer, matrix in vectors.items()
        }
        start = 0
        while start < len(rows):
            while self._slot is None:
                self._slot = self._take_slot()
            count = min(len(rows) - start, self._layout.rows - len(self._rows))
            with uninterrupted():
                self._fill(self._slot, rows[start : start + count], units, norms, start)
                start += count
                if len(self._rows) == self._layout.rows:
                    self._send_slot()
        self._drain()

    def flush(self, plan: PlanRecord | None = None) -> None:
        """See :meth:`store.writing.BankWriter.flush`."""
        self._require_open()
        self._ask("flush", plan)

    def missing(self, ids: Sequence[str]) -> int:
        """See :meth:`store.writing.BankWriter.missing`."""
        self._require_open()
        self._ask("missing", list(dict.fromkeys(ids)))
        return int(self._answer)

    def finish(
        self,
        corpora: CorpusRecord | Sequence[CorpusRecord],
        index: bool = True,
        progress: OnIndexed | None = None,
        graph: bool | None = None,
    ) -> None:
        """See :meth:`store.writing.BankWriter.finish`."""
        self._require_open()
        self._progress = progress
        self._ask("finish", (corpora,) if isinstance(corpora, CorpusRecord) else tuple(corpora), index, graph)
        self.close()

    def abort(self) -> None:
        """See :meth:`store.writing.BankWriter.abort`. To kill the child is safe: only a flush acknowledges rows."""
        self._closed = True
        if self._process.pid is not None:
            if self._failure is not None:
                self._process.join(_CLEANUP_SECONDS)  # it has given up by itself, and tidies
            self._process.kill()
        self._let_go()

    def close(self) -> None:
        """See :meth:`store.writing.BankWriter.close`."""
        if self._closed:
            return
        try:
            if self._failure is None:
                self._ask("close")
        finally:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        if self._process.pid is not None:
            self._process.join()
        self._at_exit.detach()
        self._pipe.close()

    def _require_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise StoreError("The writer is closed.", "Open another one.")

    def _take_slot(self) -> int:
        self._drain()
        while not self._free:
            self._receive()
        return self._free.pop()

    def _fill(
        self,
        slot: int,
        rows: list[tuple[str, dict[str, Any]]],
        units: Mapping[int, Floats],
        norms: Mapping[int, Floats],
        start: int,
    ) -> None:
        at = slice(len(self._rows), len(self._rows) + len(rows))
        of = slice(start, start + len(rows))
        for layer, index in self._layers.items():
            matrix = np.frombuffer(self._layout.vectors(self._block, slot, index), np.float32)
            matrix.reshape(self._layout.rows, self._dim)[at] = units[layer][of]
            np.frombuffer(self._layout.norms(self._block, slot, index), np.float32)[at] = norms[layer][of]
        self._rows += rows

    def _send_slot(self) -> None:
        """Send the slot being filled; ids and payloads go through it, too, where they fit."""
        if self._slot is None:
            return
        data = pickle.dumps(self._rows, protocol=pickle.HIGHEST_PROTOCOL)
        room = self._layout.blob(self._block, self._slot)
        fits = len(data) <= len(room)
        if fits:
            room[: len(data)] = data
        slot, count = self._slot, len(self._rows)
        self._slot, self._rows = None, []
        self._tell("put", slot, count, len(data) if fits else data)

    def _ask(self, what: str, *arguments: Any) -> None:
        """Send what is in hand and a request, and wait for its answer."""
        with uninterrupted():
            self._send_slot()
            self._number += 1
            number = self._number
            self._tell(what, number, *arguments)
        while self._done < number:
            self._receive()

    def _tell(self, *message: Any) -> None:
        try:
            self._pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            while True:  # what it said before it ended says more
                self._receive()

    def _drain(self) -> None:
        while self._pipe.poll():
            self._receive()

    def _receive(self) -> None:
        """Wait for one message of the child and act on it.

        Raises:
            StoreError: the child failed or died.
        """
        connection.wait([self._pipe, self._process.sentinel])
        with uninterrupted():
            try:
                kind, *rest = self._pipe.recv() if self._pipe.poll() else ("gone",)
            except (EOFError, ConnectionResetError):
                kind, rest = "gone", []
            if kind == "free":
                self._free.append(rest[0])
            elif kind == "done":
                self._done, self._answer = rest[0], rest[1] if len(rest) > 1 else None
            elif kind == "ready":
                self._ready, self.plan = True, rest[0]
            elif kind in ("error", "gone"):
                self._failure = _revived(*rest) if kind == "error" else self._death()
        if self._failure is not None:
            raise self._failure
        if kind == "progress" and self._progress is not None:
            self._progress(*rest)

    def _death(self) -> StoreError:
        self._process.join()
        code = self._process.exitcode or 0
        names = f"{', '.join(self._names[:3])}{' ...' if len(self._names) > 3 else ''} in {self._root}"
        if code == -signal.SIGBUS:  # a memory map that could not get its page
            return StoreFullError(f"The disk became full while writing {names}.", f"Free some space. {_AGAIN}")
        if code < 0:
            cause = " (often a lack of memory)" if code == -signal.SIGKILL else ""
            return StoreError(
                f"The process that writes {names} was ended by {signal.Signals(-code).name}{cause}.", _AGAIN
            )
        return StoreError(f"The process that writes {names} ended with exit code {code}.", _AGAIN)


def _kill(process: SpawnProcess) -> None:
    """Safe at any moment: no row is acknowledged before a flush."""
    if process.pid is not None:
        process.kill()


def _revived(name: str, message: str, hint: str) -> StoreError:
    kind = getattr(errors, name, StoreError)
    error = kind(message, hint)
    return error if isinstance(error, StoreError) else StoreError(message, hint)
