"""A writing process: owns the shards of some of the banks being written, and carries out its parent's commands.

It is spawned, never forked, and imports neither torch nor numpy. Ctrl-C in a terminal reaches it,
too, as does a batch system's SIGTERM; it ignores both and finishes what it was given, since its
parent decides. When its parent is gone it ends. Whatever ends it, what the last acknowledged flush
covered is on the disk.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ...schemas.corpora import CorpusRecord
from ...schemas.errors import LensbankError
from ...schemas.filters import Condition
from ...schemas.plans import PlanRecord
from ..counts import count_named, names_of, settle
from ..records import SHARD_DIR, finished, sync_folder
from . import engine
from .channel import WriterTask
from .disk import require_free, store_error
from .open_bank import OpenBank
from .processes import return_freed_memory

_PARENT_CHECK_SECONDS = 2.0


def run(pipe: Connection, block: Any, task: WriterTask) -> None:
    """Entry of a writing process.

    Args:
        pipe: messages from and to the parent.
        block: shared memory laid out as ``task.layout``.
        task: what to write.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a batch system tells every process of a job
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    worker = Worker(pipe, memoryview(block).cast("B"), task)
    try:
        worker.serve()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone; nobody is left to tell
    except BaseException as error:  # the engine's panics are no Exception
        told = error if isinstance(error, LensbankError) else store_error(error, Path(task.root))
        with suppress(OSError):
            pipe.send(("error", type(told).__name__, told.message, told.hint))
    finally:
        worker.close()


class Worker:
    """The loop of a writing process; every request but ``put`` is answered once it is done."""

    def __init__(self, pipe: Connection, block: memoryview, task: WriterTask) -> None:
        """Nothing is touched yet."""
        self._pipe = pipe
        self._block = block
        self._task = task
        self._root = Path(task.root)
        self._banks: list[OpenBank] = []
        self._begun = False
        self._together = len(task.identities)

    def lock(self) -> None:
        """Lock all banks."""
        self._require_free(0)
        for identity in self._task.identities:
            self._banks.append(OpenBank(self._root, identity, self._task))

    def look(self) -> int:
        """Check and open all banks, changing nothing.

        Returns:
            The most rows that one holds.
        """
        for bank in self._banks:
            bank.check()
        for bank in self._banks:
            bank.open()
        return max(bank.rows for bank in self._banks)

    def begin(self, rows: int | None, together: int) -> PlanRecord | None:
        """Make all banks ready for rows.

        Args:
            rows: that the largest bank will hold, where that is known.
            together: banks that are written, by all processes.

        Returns:
            The plan of the bank that is furthest behind.
        """
        self._begun, self._together = True, together
        settings = self._task.settings
        self._segments = settings.segments(rows)
        per_segment = settings.optimize_rows if rows is None else max(1, -(-rows // self._segments))
        self._optimize_every = min(per_segment, max(1, settings.growing_rows // together))
        in_portions = rows is None or self._optimize_every < per_segment
        # While writing; index() merges them.
        self._growing = max(self._segments, settings.writing_segments) if in_portions else self._segments
        # Several processes may merge at the same moment; index() has the parent count them.
        merged = settings.merged_rows // self._task.processes if in_portions else settings.merged_rows
        for bank in self._banks:
            bank.begin(replace(settings, merged_rows=max(1, merged)), self._growing)
        sync_folder(self._root)
        plans = [plan for bank in self._banks if (plan := bank.sidecar.record.plan) is not None]
        return min(plans, key=lambda plan: plan.done, default=None)

    def serve(self) -> None:
        """Do what the parent says until it says close, or is gone."""
        requests: dict[str, Callable[..., Any]] = {
            "lock": self.lock,
            "look": self.look,
            "begin": self.begin,
            "flush": self.flush,
            "missing": self.missing,
            "remove": self.remove,
            "settle": self.settle,
            "index": self.index,
            "seal": self.seal,
            "complete": self.complete,
        }
        while True:
            while not self._pipe.poll(_PARENT_CHECK_SECONDS):
                # A pipe end that another child of the parent inherited would hide its death.
                if os.getppid() != self._task.owner:
                    return
            kind, *arguments = self._pipe.recv()
            if kind == "put":
                self._put(*arguments)
                continue
            number, *rest = arguments
            if kind == "close":
                self.leave()
                self._pipe.send(("done", number, None))
                return
            self._pipe.send(("done", number, requests[kind](*rest)))

    def leave(self) -> None:
        """Store what was put, and let go."""
        if self._begun:
            self.flush()
        self.close()

    def close(self) -> None:
        """Let go of all banks; harmless when repeated."""
        while self._banks:
            self._banks.pop().release()

    def _put(self, slot: int, count: int, blob: int | bytes) -> None:
        layout = self._task.layout
        self._require_free(count * layout.row_bytes * self._together)
        rows = pickle.loads(blob if isinstance(blob, bytes) else layout.blob(self._block, slot)[:blob])
        for index, bank in zip(self._task.places, self._banks, strict=True):
            vectors = layout.vectors(self._block, slot, index)
            norms = layout.norms(self._block, slot, index).cast("f")
            try:
                engine.upsert(bank.need(), bank.joined(rows), vectors, norms, layout.dim)
            except Exception as error:
                raise store_error(error, bank.folder) from error
            bank.waiting += count
            bank.rows += count
        self._pipe.send(("free", slot))
        for bank in self._banks:
            # The last segment is indexed by finish(): nobody should wait for it to know that rows are safe.
            # (Where a corpus is added to a bank, the bank has as many rows as expected long before.)
            due = self._optimize_every * (2 if self._has_all(bank) else 1)
            if bank.waiting >= due:
                self._optimize(bank, self._task.processes)

    def _has_all(self, bank: OpenBank) -> bool:
        expected = self._task.expected_rows
        return expected is not None and bank.rows >= expected

    def _optimize(self, bank: OpenBank, beside: int) -> None:
        self._require_free(self._task.layout.indexing_bytes(bank.waiting) * beside)
        try:
            bank.need().optimize()
        except Exception as error:
            raise store_error(error, bank.folder) from error
        bank.waiting = 0
        # Only a flush lets go of the segment that was replaced.
        bank.flush()
        return_freed_memory()

    def flush(self, plan: PlanRecord | None = None) -> None:
        """Make all rows durable; see :meth:`store.embedded.open_bank.OpenBank.flush`."""
        for bank in self._banks:
            bank.flush(plan)

    def remove(self, where: Sequence[Condition]) -> None:
        """Delete rows; see :meth:`store.embedded.open_bank.OpenBank.remove`."""
        for bank in self._banks:
            bank.remove(where)

    def missing(self, ids: Sequence[str]) -> int:
        """The most of these rows that one bank lacks."""
        return max(len(ids) - engine.count_ids(bank.need(), ids) for bank in self._banks)

    def settle(self, corpora: Sequence[CorpusRecord]) -> list[int]:
        """Flush, and compare what is there with what should be.

        Returns:
            Rows of each bank.

        Raises:
            BankIncompleteError: one holds other rows; its record says that it is not finished.
        """
        self.flush()
        self._held = [self._settled(bank, corpora) for bank in self._banks]
        return [bank.sidecar.rows for bank in self._banks]

    def index(self, number: int, graph: bool | None, beside: int) -> None:
        """Index one bank.

        Args:
            number: of the bank among this process's.
            graph: whether with an HNSW graph; ``None`` where it is large.
            beside: banks that are indexed at the same time, this one included.
        """
        bank = self._banks[number]
        if graph is None:
            graph = bank.sidecar.rows >= self._task.settings.graph_from_rows
        try:
            self._index(bank, graph, beside)
        except Exception as error:
            raise store_error(error, bank.folder) from error

    def seal(self) -> None:
        """Close the shards and list their files; the records wait."""
        for bank in self._banks:
            bank.settle()

    def complete(self) -> None:
        """Write the records of finished banks."""
        for bank, written in zip(self._banks, self._held, strict=True):
            try:
                record = finished(bank.sidecar.record, written)
                bank.keep(replace(bank.sidecar, record=record, manifest=bank.listed))
            except OSError as error:
                raise store_error(error, bank.folder) from error

    def _settled(self, bank: OpenBank, corpora: Sequence[CorpusRecord]) -> Sequence[CorpusRecord]:
        """The corpora as the bank holds them, counted.

        Raises:
            BankIncompleteError: it holds other rows; its record says that it is not finished.
        """
        record = bank.sidecar.record
        try:
            settled = settle(bank.folder.name, record, corpora, count_named(bank.count, names_of(record, corpora)))
            if settled.error is not None:
                bank.keep(replace(bank.sidecar, record=settled.record))
        except Exception as error:
            raise store_error(error, bank.folder) from error
        if settled.error is not None:
            raise settled.error
        return settled.corpora

    def _index(self, bank: OpenBank, graph: bool, beside: int) -> None:
        had_graph = bank.sidecar.index == "graph"
        if graph != had_graph or self._growing != self._segments:
            bank.need().close()
            bank.shard = engine.reload_shard(
                bank.folder / SHARD_DIR, bank.identity, self._task.settings, self._segments, graph
            )
            bank.waiting = bank.sidecar.rows
        self._optimize(bank, beside)
        # The engine counts rows of finished segments, also where no copies of fewer bits were asked for.
        indexed = bank.need().info().indexed_vectors_count > 0 and (graph or self._task.settings.quantized_bits > 0)
        bank.keep(replace(bank.sidecar, index=("graph" if graph else "quantized") if indexed else "none"))

    def _require_free(self, needed: int) -> None:
        require_free(self._root, needed + self._task.settings.reserve_bytes)
