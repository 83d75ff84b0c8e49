"""The writing process: owns the shards of the banks being written, and does as it is told.

It is spawned, never forked, and imports neither torch nor numpy. Ctrl-C in a terminal reaches it,
too, as does a batch system's SIGTERM; it ignores both and finishes what it was given, since its
parent decides. When its parent is gone it ends. Whatever ends it, what the last acknowledged flush
covered is on the disk.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ...schemas.collection import CorpusRecord
from ...schemas.errors import LensbankError
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
    """Entry of the writing process.

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
        worker.start()
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
    """The loop of the writing process."""

    def __init__(self, pipe: Connection, block: memoryview, task: WriterTask) -> None:
        """Nothing is touched yet."""
        self._pipe = pipe
        self._block = block
        self._task = task
        self._root = Path(task.root)
        self._banks: list[OpenBank] = []
        self._row_bytes = task.layout.dim * 5 + 768  # float32, its 4-bit copy, payload and indexes

    def start(self) -> None:
        """Lock all banks, then open them, then tell the parent."""
        self._require_free(0)
        for identity in self._task.identities:
            self._banks.append(OpenBank(self._root, identity, self._task))
        self._shape()
        for bank in self._banks:
            bank.open()
        for bank in self._banks:
            bank.begin(self._task.settings, self._growing)
        sync_folder(self._root)
        plans = [plan for bank in self._banks if (plan := bank.sidecar.record.plan) is not None]
        self._pipe.send(("ready", min(plans, key=lambda plan: plan.done, default=None)))

    def _shape(self) -> None:
        """Choose segments and portions: for the rows to come, or those there where they are more."""
        settings, rows = self._task.settings, self._task.expected_rows
        if rows is not None:
            rows = max(rows, *(bank.rows for bank in self._banks))
        self._segments = settings.segments(rows)
        per_segment = settings.optimize_rows if rows is None else max(1, -(-rows // self._segments))
        self._optimize_every = min(per_segment, max(1, settings.growing_rows // len(self._banks)))
        in_portions = rows is None or self._optimize_every < per_segment
        # While writing; finish() merges them.
        self._growing = max(self._segments, settings.writing_segments) if in_portions else self._segments

    def serve(self) -> None:
        """Do what the parent says until it says close, or is gone."""
        while True:
            while not self._pipe.poll(_PARENT_CHECK_SECONDS):
                # A pipe end that another child of the parent inherited would hide its death.
                if os.getppid() != self._task.owner:
                    return
            kind, *arguments = self._pipe.recv()
            if kind == "put":
                self._put(*arguments)
            elif kind == "flush":
                number, plan = arguments
                self._flush(plan)
                self._pipe.send(("done", number))
            elif kind == "missing":
                number, ids = arguments
                self._pipe.send(("done", number, max(len(ids) - engine.count_ids(b.need(), ids) for b in self._banks)))
            elif kind == "finish":
                number, *rest = arguments
                self._finish(*rest)
                self._pipe.send(("done", number))
            else:
                self._flush()
                self.close()
                self._pipe.send(("done", *arguments))
                return

    def close(self) -> None:
        """Let go of all banks; harmless when repeated."""
        while self._banks:
            self._banks.pop().release()

    def _put(self, slot: int, count: int, blob: int | bytes) -> None:
        layout = self._task.layout
        self._require_free(count * self._row_bytes * len(self._banks))
        rows = pickle.loads(blob if isinstance(blob, bytes) else layout.blob(self._block, slot)[:blob])
        for index, bank in enumerate(self._banks):
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
                self._optimize(bank)

    def _has_all(self, bank: OpenBank) -> bool:
        expected = self._task.expected_rows
        return expected is not None and bank.rows >= expected

    def _optimize(self, bank: OpenBank) -> None:
        # Indexing copies a segment before it lets go of the old one.
        self._require_free(bank.waiting * self._row_bytes * 5 // 4)
        try:
            bank.need().optimize()
        except Exception as error:
            raise store_error(error, bank.folder) from error
        bank.waiting = 0
        # Only a flush lets go of the segment that was replaced.
        bank.flush()
        return_freed_memory()

    def _flush(self, plan: PlanRecord | None = None) -> None:
        for bank in self._banks:
            bank.flush(plan)

    def _finish(self, corpora: Sequence[CorpusRecord], index: bool, graph: bool | None) -> None:
        self._flush()
        held = [self._settled(bank, corpora) for bank in self._banks]
        total = sum(bank.sidecar.rows for bank in self._banks)
        done = 0
        for bank in self._banks:
            if index:
                try:
                    self._index(
                        bank, bank.sidecar.rows >= self._task.settings.graph_from_rows if graph is None else graph
                    )
                except Exception as error:
                    raise store_error(error, bank.folder) from error
            done += bank.sidecar.rows
            self._pipe.send(("progress", done, total))
        for bank in self._banks:
            bank.settle()
        # Records last and together: an interruption leaves all banks building, not some.
        for bank, written in zip(self._banks, held, strict=True):
            try:
                record = finished(bank.sidecar.record, written)
                bank.keep(replace(bank.sidecar, record=record, manifest=bank.listed))
            except OSError as error:
                raise store_error(error, bank.folder) from error

    def _settled(self, bank: OpenBank, corpora: Sequence[CorpusRecord]) -> Sequence[CorpusRecord]:
        """The corpora as the bank holds them, counted where it was written by a plan.

        Raises:
            BankIncompleteError: it holds other rows; its record says that it is not finished.
        """
        record = bank.sidecar.record
        if record.plan is None:
            return corpora
        try:
            settled = settle(bank.folder.name, record, corpora, count_named(bank.count, names_of(record, corpora)))
            if settled.error is not None:
                bank.keep(replace(bank.sidecar, record=settled.record))
        except Exception as error:
            raise store_error(error, bank.folder) from error
        if settled.error is not None:
            raise settled.error
        return settled.corpora

    def _index(self, bank: OpenBank, graph: bool) -> None:
        had_graph = bank.sidecar.index == "graph"
        if graph != had_graph or self._growing != self._segments:
            bank.need().close()
            bank.shard = engine.reload_shard(
                bank.folder / SHARD_DIR, bank.identity, self._task.settings, self._segments, graph
            )
            bank.waiting = bank.sidecar.rows
        self._optimize(bank)
        indexed = bank.need().info().indexed_vectors_count > 0
        bank.keep(replace(bank.sidecar, index=("graph" if graph else "quantized") if indexed else "none"))

    def _require_free(self, needed: int) -> None:
        require_free(self._root, needed + self._task.settings.reserve_bytes)
