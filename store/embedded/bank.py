"""A bank of a folder, open for reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...schemas.errors import DamagedBankError, OpenFilesError, StoreError, StoreFullError
from ...schemas.filters import Condition
from ..approximation import Fallback
from ..balance import Balance, balance
from ..bank import Bank
from ..found import Hit
from ..records import SHARD_DIR, Sidecar
from ..rows import payload_as_read, unit_queries
from ..vectors import BankVectors, NoVectors, id_halves
from . import engine, manifest
from .disk import disk_bytes, is_engine_failure, require_room_to_read, store_error
from .filters import edge_filter
from .locks import BankLock
from .vectors import map_vectors
from .warming import left

if TYPE_CHECKING:
    import qdrant_edge
    from numpy.typing import NDArray

    from ..bank import Floats

T = TypeVar("T")
#: Queries per engine call: enough to score together, few enough to bound the answers in memory.
QUERY_CHUNK = 256
# Rows of a bank that are looked at when it is opened.
_LOOKED_AT = 64


class EmbeddedBank(Bank):
    """A shard open in this process, under a shared lock."""

    def __init__(self, folder: Path, sidecar: Sidecar, lock: BankLock, *, leave: bool = False) -> None:
        """Load the shard.

        Args:
            folder: of the bank.
            sidecar: its record.
            lock: of a reader.
            leave: the process ends when it has read; see :func:`store.embedded.warming.left`.

        Raises:
            DamagedBankError: its files are damaged, or the engine cannot read them.
            StoreError: another series of the engine wrote it, or there is no room to read it.
        """
        self.name = folder.name
        self.record = sidecar.record
        self.address = str(folder.parent)
        self._folder = folder
        self._index = sidecar.index
        self._fallback = Fallback()
        self._vectors: BankVectors | NoVectors | None = None
        self._lock = lock
        self._leave = leave
        self._shard: qdrant_edge.EdgeShard | None = None
        if sidecar.manifest is not None:
            listed = manifest.read(folder, sidecar.manifest)
            manifest.require_whole(folder, listed, manifest.look(folder, listed))
        require_room_to_read(folder, manifest.holes(folder))
        try:
            self._shard = self._call(lambda: engine.load_shard(folder / SHARD_DIR))
        except StoreFullError as error:
            raise StoreFullError(
                f"{error.message} The embedded engine needs write permission even to read a bank.",
                "Copy the store to a folder with write permission, and give that folder as --store.",
            ) from error
        except OpenFilesError:
            raise
        except StoreError as error:
            raise DamagedBankError(error.message, error.hint) from error
        self._rows = self._call(lambda: engine.count_rows(self._open()))
        self._check_whole(sidecar)
        self._noted = sidecar.rows
        self._balance: Balance | None = None

    def count(self, where: Sequence[Condition] = ()) -> int:
        """See :meth:`Bank.count`."""
        condition = edge_filter(where)
        shard = self._open()
        return self._rows if condition is None else self._call(lambda: engine.count_rows(shard, condition))

    def counted_by(self, field: str, where: Sequence[Condition] = ()) -> dict[str, int]:
        """See :meth:`Bank.counted_by`."""
        condition, shard = edge_filter(where), self._open()
        return self._call(lambda: engine.count_values(shard, field, condition))

    def balance(self) -> Balance:
        """See :meth:`Bank.balance`."""
        if self._balance is None:
            self._balance = balance(self.record, self._noted, self.counted())
        return self._balance

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
            found += [[Hit(str(p.id), p.score, payload_as_read(p.payload)) for p in points] for points in answers]
        return found

    def payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """See :meth:`Bank.payloads`."""
        shard = self._open()
        found = self._call(lambda: engine.payloads(shard, ids))
        return {name: payload_as_read(payload) for name, payload in found.items()}

    def scroll(
        self,
        limit: int,
        offset: str | None = None,
        with_vectors: bool = False,
        where: Sequence[Condition] = (),
        fields: Sequence[str] | None = None,
    ) -> tuple[list[tuple[str, Floats | None, dict[str, Any]]], str | None]:
        """See :meth:`Bank.scroll`."""
        shard, condition = self._open(), edge_filter(where)
        records, following = self._call(lambda: engine.scroll(shard, limit, offset, with_vectors, condition, fields))
        return [
            (str(r.id), _vector(r) if with_vectors else None, payload_as_read(r.payload)) for r in records
        ], following

    def vectors(self) -> BankVectors | NoVectors:
        """See :meth:`Bank.vectors`."""
        if self._vectors is None:
            identity, shard = self.record.identity, self._open()
            self._vectors = self._call(
                lambda: map_vectors(self._folder / SHARD_DIR, shard, identity.dim, identity.vector_dtype)
            )
        return self._vectors

    def matching(self, where: Sequence[Condition]) -> tuple[NDArray[np.uint64], bool]:
        """See :meth:`Bank.matching`."""
        condition, shard = edge_filter(where), self._open()
        if condition is None:  # what any row meets
            return id_halves([]), False
        ids, met = self._call(lambda: engine.matching(shard, condition))
        return id_halves(ids), met

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
        if shard is not None and self._leave:
            left(shard)
        elif shard is not None:
            with suppress(Exception):  # nothing was written, so nothing can be lost
                shard.close()
        self._vectors = None  # until now: what is mapped stays in the system's memory for the next who opens it
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
            DamagedBankError: rows or vectors that were flushed are gone.
        """
        lost = ""
        if self._rows < sidecar.rows:
            lost = f"it holds {self._rows:,} of the {sidecar.rows:,} rows that were stored"
        elif self._rows:
            # In order of ids, which are hashes: every part of the shard has its share of these.
            page, _ = self.scroll(_LOOKED_AT, with_vectors=True)
            width = self.record.identity.dim
            if not all(vector is not None and vector.any() for _, vector, _ in page):
                lost = "vectors are missing"
            elif any(vector is not None and vector.shape != (width,) for _, vector, _ in page):
                lost = f"its record says {width} dimensions, and its vectors have another number"
            elif any(not payload for _, _, payload in page):
                lost = "payload is missing"
        if lost:
            raise DamagedBankError(
                f"Bank {self.name} in {self._folder.parent} is damaged: {lost}.",
                "Files are missing or incomplete, for example after an interrupted copy. Copy the folder of the bank "
                "again, or delete it and ingest again.",
            )


def _vector(record: qdrant_edge.Record) -> Floats | None:
    return np.asarray(record.vector, np.float32) if isinstance(record.vector, list) else None
