"""A folder of banks, each a shard of the embedded Qdrant engine with its record beside it.

``<store>/<bank>/``: ``lensbank.json`` (the record), ``shard/`` (the engine's files), ``.lock``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...schemas.collection import BankIdentity
from ...schemas.errors import BankNotFoundError, StoreError, StoreFullError
from ...schemas.filters import Condition
from ..approximation import Fallback
from ..base import Bank, BankInfo, BankInfos, Hit, Store
from ..records import (
    SHARD_DIR,
    Copied,
    Sidecar,
    read_sidecar,
    require_complete,
    sync_folder,
)
from ..rows import unit_queries
from ..writing import BankWriter
from . import engine
from .disk import disk_bytes, is_engine_failure, store_error
from .engine import EngineSettings
from .filters import edge_filter
from .locks import BankLock

if TYPE_CHECKING:
    import qdrant_edge

    from ..base import Floats

T = TypeVar("T")
#: Queries per engine call: enough to score together, few enough to bound the answers in memory.
QUERY_CHUNK = 256
_DROPPED = ".dropped-"
# Rows of a bank that are looked at when it is opened.
_LOOKED_AT = 64


class EmbeddedBank(Bank):
    """A shard open in this process, under a shared lock."""

    def __init__(self, folder: Path, sidecar: Sidecar, lock: BankLock) -> None:
        """Load the shard.

        Raises:
            StoreError: the engine cannot read it.
        """
        self.name = folder.name
        self.record = sidecar.record
        self._folder = folder
        self._index = sidecar.index
        self._fallback = Fallback()
        self._lock = lock
        self._shard: qdrant_edge.EdgeShard | None = None
        try:
            self._shard = self._call(lambda: engine.load_shard(folder / SHARD_DIR))
        except StoreFullError as error:
            raise StoreFullError(
                f"{error.message} The embedded engine opens a bank's files for writing even to read them.",
                "Copy the store to a folder that you can write, and give that one as --store.",
            ) from error
        self._rows = self._call(lambda: engine.count_rows(self._open()))
        self._check_whole(sidecar)

    def count(self, where: Sequence[Condition] = ()) -> int:
        """See :meth:`Bank.count`."""
        condition = edge_filter(where)
        shard = self._open()
        return self._rows if condition is None else self._call(lambda: engine.count_rows(shard, condition))

    def search(
        self,
        vectors: Floats,
        k: int,
        where: Sequence[Condition] = (),
        exact: bool = True,
        with_payload: bool = True,
    ) -> list[list[Hit]]:
        """See :meth:`Bank.search`."""
        queries = unit_queries(vectors, self.record.identity.dim, k)
        condition = edge_filter(where)
        shard = self._open()
        limit = min(k, self._rows)
        if limit == 0 or not len(queries):
            return [[] for _ in queries]
        exact = exact or self.compares_all(where)
        found: list[list[Hit]] = []
        for start in range(0, len(queries), QUERY_CHUNK):
            chunk = queries[start : start + QUERY_CHUNK].tolist()
            # Bound here: the engine's answer of one chunk is turned into hits before the next.
            answers = self._call(lambda c=chunk: engine.query(shard, c, limit, condition, exact, with_payload))  # type: ignore[misc]
            found += [[Hit(str(p.id), p.score, p.payload or {}) for p in points] for points in answers]
        return found

    def payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """See :meth:`Bank.payloads`."""
        shard = self._open()
        return self._call(lambda: engine.payloads(shard, ids))

    def scroll(
        self, limit: int, offset: str | None = None, with_vectors: bool = False
    ) -> tuple[list[tuple[str, Floats | None, dict[str, Any]]], str | None]:
        """See :meth:`Bank.scroll`."""
        shard = self._open()
        records, following = self._call(lambda: engine.scroll(shard, limit, offset, with_vectors))
        rows = [
            (str(r.id), np.asarray(r.vector, np.float32) if isinstance(r.vector, list) else None, dict(r.payload or {}))
            for r in records
        ]
        return rows, following

    def disk_bytes(self) -> int:
        """See :meth:`Bank.disk_bytes`."""
        return disk_bytes(self._folder)

    def is_indexed(self) -> bool:
        """See :meth:`Bank.is_indexed`."""
        return self._index != "none"

    def compares_all(self, where: Sequence[Condition] = ()) -> bool:
        """See :meth:`Bank.compares_all`."""
        return self._fallback.compares_all(self, where)

    def close(self) -> None:
        """See :meth:`Bank.close`."""
        shard, self._shard = self._shard, None
        if shard is not None:
            with suppress(Exception):  # nothing was written, so nothing can be lost
                shard.close()
        self._lock.release()

    def _open(self) -> qdrant_edge.EdgeShard:
        if self._shard is None:
            raise StoreError(f"Bank {self.name} is closed.", "Open it again.")
        return self._shard

    def _call(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except BaseException as error:
            if not is_engine_failure(error):
                raise
            raise store_error(error, self._folder) from error

    def _check_whole(self, sidecar: Sidecar) -> None:
        """Notice what the engine does not: it loads a shard without some of its files as an emptier one.

        Raises:
            StoreError: rows or vectors that were flushed are gone.
        """
        lost = ""
        if self._rows < sidecar.rows:
            lost = f"{self._rows:,} of the {sidecar.rows:,} rows that were stored are there"
        elif self._rows:
            # In order of ids, which are hashes: every part of the shard has its share of these.
            page, _ = self.scroll(_LOOKED_AT, with_vectors=True)
            width = self.record.identity.dim
            if not all(vector is not None and vector.any() for _, vector, _ in page):
                lost = "vectors are missing"
            elif any(vector is not None and vector.shape != (width,) for _, vector, _ in page):
                lost = f"its record says {width} dimensions, its vectors have others"
            elif any(not payload for _, _, payload in page):
                lost = "payload is missing"
        if lost:
            raise StoreError(
                f"Bank {self.name} in {self._folder.parent} is damaged: {lost}.",
                "Files are missing or cut short, as after a copy that broke off: copy the bank's folder again, or "
                "delete it and ingest again.",
            )


class EmbeddedStore(Store):
    """A folder of banks."""

    def __init__(self, root: Path, settings: EngineSettings | None = None) -> None:
        """A store in the existing folder ``root``; see :meth:`at` for one that may not exist."""
        self.root = root
        self.address = str(root)
        self._settings = settings or EngineSettings()

    @classmethod
    def at(cls, root: Path, *, create: bool = False) -> EmbeddedStore:
        """See :func:`store.base.open_store`.

        Raises:
            BankNotFoundError: there is no such folder, and ``create`` is false.
            StoreError: it is no folder, or cannot be made.
        """
        root = root.expanduser().absolute()
        try:
            if create:
                root.mkdir(parents=True, exist_ok=True)
            if root.is_dir():
                return cls(root)
            missing = not root.exists()
        except (FileExistsError, NotADirectoryError):
            missing = False
        except OSError as error:
            raise store_error(error, root) from error
        if missing:
            raise BankNotFoundError(f"There is no store at {root}.", "Make one with `lensbank ingest --store`.")
        raise StoreError(f"The store {root} is not a folder.", "Give a folder as --store.")

    def list(self) -> BankInfos:
        """See :meth:`Store.list`."""
        banks = []
        for folder in self._folders():
            sidecar = read_sidecar(folder)
            if sidecar is not None:
                banks.append(BankInfo(folder.name, sidecar.record, sidecar.rows, disk_bytes(folder), sidecar.index))
        return banks

    def open(self, bank: str | BankIdentity, *, allow_incomplete: bool = False) -> EmbeddedBank:
        """See :meth:`Store.open`."""
        folder = self._find(bank if isinstance(bank, str) else bank.name())
        try:
            lock = BankLock(folder, exclusive=False)
        except OSError as error:
            raise store_error(error, folder) from error
        try:
            sidecar = read_sidecar(folder)  # under the lock: a writer may just have finished
            if sidecar is None:
                raise self._not_found(folder.name)
            if isinstance(bank, BankIdentity):
                sidecar.record.identity.require_model(bank)
            if not allow_incomplete:
                require_complete(folder.name, sidecar.record, str(self.root))
            return EmbeddedBank(folder, sidecar, lock)
        except BaseException:
            lock.release()
            raise

    def writer(
        self,
        identities: Sequence[BankIdentity],
        source: str,
        *,
        expected_rows: int | None = None,
        copied: Copied | None = None,
    ) -> BankWriter:
        """See :meth:`Store.writer`. Writing happens in a process of its own (:mod:`store.embedded.writer`)."""
        from .writer import EmbeddedWriter

        self._sweep()
        return EmbeddedWriter(self.root, identities, source, expected_rows, self._settings, copied)

    def drop(self, name: str) -> None:
        """See :meth:`Store.drop`."""
        folder = self._find(name)
        try:
            lock = BankLock(folder, exclusive=True)
        except OSError as error:
            raise store_error(error, folder) from error
        try:
            # Renamed first: a bank that is half deleted must not look whole.
            grave = folder.with_name(f"{_DROPPED}{name}-{os.getpid()}")
            folder.rename(grave)
            sync_folder(self.root)
            shutil.rmtree(grave, ignore_errors=True)  # what is left, the next writer removes
        except OSError as error:
            raise store_error(error, folder) from error
        finally:
            lock.release()

    def close(self) -> None:
        """See :meth:`Store.close`."""

    def _folders(self) -> Iterable[Path]:
        try:
            return sorted(p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        except OSError as error:
            raise store_error(error, self.root) from error

    def _find(self, name: str) -> Path:
        folder = self.root / name
        if name in ("", ".", "..") or "\0" in name or folder.parent != self.root or read_sidecar(folder) is None:
            raise self._not_found(name)
        return folder

    def _not_found(self, name: str) -> BankNotFoundError:
        names = [info.name for info in self.list()]
        there = f"It has {', '.join(names)}." if names else "It has no banks yet: run `lensbank ingest` first."
        return BankNotFoundError(f"The store {self.root} has no bank {name!r}.", there)

    def _sweep(self) -> None:
        """Remove what an interrupted drop left."""
        for grave in self.root.glob(_DROPPED + "*"):
            shutil.rmtree(grave, ignore_errors=True)
