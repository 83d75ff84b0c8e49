"""One bank as the writing process holds it: its lock, its shard, its record."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...schemas.collection import BankIdentity
from ...schemas.errors import LeavingError, StoreError, StoreLockedError
from ...schemas.filters import Condition
from ...schemas.payload import merged
from ...schemas.plans import PlanRecord
from ..counts import count_named, covers, names_of, opened
from ..records import (
    SHARD_DIR,
    Sidecar,
    begun,
    new_record,
    read_sidecar,
    sync_folder,
    write_sidecar,
)
from . import engine, manifest
from .channel import WriterTask
from .disk import is_engine_failure, store_error
from .engine import EngineSettings
from .filters import edge_filter
from .locks import LOCK_FILE, BankLock

if TYPE_CHECKING:
    import qdrant_edge

_LEAVING_SECONDS = 20.0


class OpenBank:
    """One bank under an exclusive lock.

    Raises:
        StoreLockedError: another process has it.
        OSError: its folder cannot be made.
    """

    def __init__(self, root: Path, identity: BankIdentity, task: WriterTask) -> None:
        """Lock, and look at nothing."""
        self.identity = identity
        self.folder = root / identity.name()
        self.shard: qdrant_edge.EdgeShard | None = None
        self.sidecar: Sidecar
        self.listed: str | None = None  # digest of the list of the finished shard's files
        self.rows = 0  # stored and put; a row put again counts again
        self.waiting = 0  # rows put since the last optimise
        self.fresh = not self.folder.exists()
        self.lock = _lock(self.folder, task.owner)
        self._task = task
        self._shares = False  # whether rows may be there that are also other corpora's

    def check(self) -> None:
        """Read the record and compare it with what is to be written, changing nothing that exists.

        Raises:
            StoreError: its folder is not a bank's.
            BankMismatchError: it was made in another way.
            BankIncompleteError: it waits for the rest of something else.
        """
        task = self._task
        found = read_sidecar(self.folder)
        if found is not None:
            found.record.identity.require_match(self.identity)
            found = self._whole(found, task.plan)
            found = replace(found, record=begun(self.folder.name, found.record, task.plan, self._is_empty(found)))
        elif set(os.listdir(self.folder)) - {LOCK_FILE}:
            raise StoreError(
                f"The folder {self.folder} exists, but it is not a bank.",
                "Move it away, or use another folder as --store.",
            )
        self.fresh = found is None
        self.sidecar = found or Sidecar(new_record(self.identity, task.source, task.plan))
        self.rows = self.sidecar.rows
        shares = task.plan is not None and self.identity.kind == "text"
        self._shares = shares and bool(self.sidecar.record.corpora)

    def _is_empty(self, found: Sidecar) -> Callable[[], bool]:
        """Asks the shard itself, since a record may be older than it."""

        def look() -> bool:
            if found.rows or not (self.folder / SHARD_DIR).exists():
                return not found.rows
            try:
                shard = engine.load_shard(self.folder / SHARD_DIR)
            except BaseException as error:
                if not is_engine_failure(error):
                    raise
                return True  # nothing was ever flushed: the beginning of a shard
            try:
                return engine.count_rows(shard) == 0
            finally:
                shard.close()

        return look

    def open(self) -> None:
        """Open the shard, if anything was ever flushed to it, and count its rows; nothing is changed.

        Raises:
            StoreError: it cannot be read, or holds other rows than the record says.
        """
        record = self.sidecar.record
        plan_done = record.plan.done if record.plan is not None else 0
        if not record.corpora and not (self.folder / SHARD_DIR).exists():  # taken away: the plan begins again
            plan = record.plan.again() if record.plan is not None else None
            self.sidecar, self.rows = replace(self.sidecar, rows=0, record=replace(record, plan=plan)), 0
            return
        if not (self.sidecar.rows or record.corpora or plan_done):
            return
        try:
            self.shard = engine.load_shard(self.folder / SHARD_DIR)
            counted = count_named(self.count, names_of(record))
        except Exception as error:
            raise store_error(error, self.folder) from error
        self.sidecar = replace(self.sidecar, record=opened(self.folder.name, record, self.sidecar.rows, counted))

    def begin(self, settings: EngineSettings, segments: int) -> None:
        """Put the plan on record and the bank in state ``building``; then make its shard ready for rows."""
        self.keep(replace(self.sidecar, manifest=None))
        path = self.folder / SHARD_DIR
        if self.shard is not None:
            self.shard.close()
            graph = self.sidecar.index == "graph"
            self.shard = engine.reload_shard(path, self.identity, settings, segments, graph)
        else:  # nothing was ever flushed: whatever is there is the beginning of a shard at most
            shutil.rmtree(path, ignore_errors=True)
            self.shard = engine.create_shard(path, self.identity, settings, segments)
            sync_folder(self.folder)
        self.fresh = False

    def _whole(self, sidecar: Sidecar, plan: PlanRecord | None) -> Sidecar:
        """The bank as it can be added to; it begins again where files are damaged and the plan writes all of its rows.

        Raises:
            StoreError: files are damaged: the list that is made afterwards would take the damage for right.
        """
        if sidecar.manifest is None:
            return sidecar
        try:
            listed = manifest.read(self.folder, sidecar.manifest)
            manifest.require_undamaged(self.folder, manifest.compare(self.folder, listed))
        except StoreError:
            if plan is None or not covers(sidecar.record, plan):
                raise
            return Sidecar(replace(sidecar.record, corpora=()))
        manifest.require_engine(self.folder, listed)
        return sidecar

    def settle(self) -> None:
        """Close the finished shard and list its files; the record waits.

        Raises:
            StoreError: the engine or the disk failed.
        """
        try:
            shard, self.shard = self.need(), None
            engine.close_for_good(shard, self.folder / SHARD_DIR)
            self.listed = manifest.make(self.folder)
        except Exception as error:
            raise store_error(error, self.folder) from error

    def keep(self, sidecar: Sidecar) -> None:
        """Write the record."""
        self.sidecar = sidecar
        write_sidecar(self.folder, sidecar)

    def count(self, where: Sequence[Condition]) -> int:
        """Exact number of rows that meet all conditions."""
        return engine.count_rows(self.need(), edge_filter(where))

    def joined(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Rows as they are to be stored: those that are there already stay their other corpora's, too."""
        if not self._shares:
            return rows
        there, seed = engine.payloads(self.need(), [name for name, _ in rows]), self.identity.seed
        return [(name, merged(there[name], row, seed) if name in there else row) for name, row in rows]

    def remove(self, where: Sequence[Condition]) -> None:
        """Delete the rows that meet all conditions.

        Raises:
            StoreError: the engine or the disk failed.
        """
        try:
            gone = self.count(where)
            if gone:  # their number first: rows that are gone before it would look lost
                self.flush()
                self.keep(replace(self.sidecar, rows=self.sidecar.rows - gone))
                engine.delete_rows(self.need(), edge_filter(where))
                self.rows -= gone
        except Exception as error:
            raise store_error(error, self.folder) from error

    def need(self) -> qdrant_edge.EdgeShard:
        """The shard, which is open."""
        assert self.shard is not None
        return self.shard

    def flush(self, plan: PlanRecord | None = None) -> None:
        """Make everything durable, the record last; nothing is left to do in a shard that is settled.

        Args:
            plan: to put on record: how far it has come with the rows put so far.

        Raises:
            StoreError: the engine or the disk failed.
        """
        if self.listed is not None:
            return
        try:
            self.need().flush()
            record = self.sidecar.record if plan is None else replace(self.sidecar.record, plan=plan)
            new = replace(self.sidecar, rows=engine.count_rows(self.need()), record=record)
            if new != self.sidecar:
                self.keep(new)
        except Exception as error:
            raise store_error(error, self.folder) from error

    def release(self) -> None:
        """Close the shard and let go; what was never begun leaves no trace."""
        shard, self.shard = self.shard, None
        if shard is not None:
            with suppress(Exception):
                shard.close()
        if self.fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.release()


def _lock(folder: Path, owner: int) -> BankLock:
    """An exclusive lock; where the last writer is just leaving (its parent was killed), wait for it."""
    deadline = time.monotonic() + _LEAVING_SECONDS
    while True:
        folder.mkdir(exist_ok=True)
        try:
            return BankLock(folder, exclusive=True, owner=owner)
        except LeavingError as error:
            if time.monotonic() > deadline:
                raise StoreLockedError(error.message, error.hint) from error
        except FileNotFoundError:  # it left, and took the folder of a bank that it had not begun
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)
