"""A folder of banks, each a shard of the embedded Qdrant engine with its record beside it.

``<store>/<bank>/``: ``lensbank.json`` (the record), ``shard/`` (the engine's files), ``.lock``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ...schemas.collection import BankIdentity, BankRecord
from ...schemas.errors import (
    BankMismatchError,
    BankNotFoundError,
    DamagedRecordError,
    StoreError,
    StoreFullError,
    StoreLockedError,
)
from ...schemas.plans import PlanRecord
from ..balance import Balance, on_record
from ..care import Changes
from ..damage import DamagedBank, FilesReport
from ..found import BankInfo, BankInfos, name_of
from ..records import (
    SHARD_DIR,
    Sidecar,
    read_sidecar,
    sync_folder,
)
from ..store import Store
from ..unfinished import require_complete
from ..writing import BankWriter
from . import manifest
from .bank import EmbeddedBank
from .disk import disk_bytes, store_error
from .engine import EngineSettings
from .locks import BankLock
from .resources import writing_processes
from .warming import read_ahead

_DROPPED = ".dropped-"
_FILES = "files damaged"
# Bytes of banks that are read before they are opened: more might push each other out of memory again.
_READ_AHEAD = 2 << 30


def _read(folder: Path) -> Sidecar | DamagedRecordError | BankMismatchError | None:
    """A bank's record, or what is wrong with it; ``None`` where there is no bank."""
    try:
        return read_sidecar(folder)
    except (DamagedRecordError, BankMismatchError) as error:  # the latter of a newer version
        return error


class EmbeddedStore(Store):
    """A folder of banks."""

    def __init__(self, root: Path, settings: EngineSettings | None = None) -> None:
        """A store in the existing folder ``root``; see :meth:`at` for one that may not exist."""
        self.root = root
        self.address = str(root)
        self._settings = settings or EngineSettings()
        self._leaves = False
        self._made: tuple[Path, ...] = ()  # folders that were made for it, the innermost first

    @classmethod
    def at(cls, root: Path, *, create: bool = False) -> EmbeddedStore:
        """See :func:`store.opening.open_store`.

        Raises:
            BankNotFoundError: there is no such folder, and ``create`` is false.
            StoreError: it is no folder, or cannot be made.
            UsageError: the environment asks for no number of writing processes.
        """
        if create:
            writing_processes(1)  # said before a model is loaded
        root = root.expanduser().absolute()
        try:
            made = tuple(one for one in (root, *root.parents) if not one.exists()) if create else ()
            if create:
                root.mkdir(parents=True, exist_ok=True)
            if root.is_dir():
                store = cls(root)
                store._made = made
                return store
            missing = not root.exists()
        except (FileExistsError, NotADirectoryError):
            missing = False
        except OSError as error:
            raise store_error(error, root) from error
        if missing:
            raise BankNotFoundError(
                f"There is no store at {root}.",
                "Give the folder of an existing store, or make one with `lensbank ingest --store`.",
            )
        raise StoreError(f"The store {root} is not a folder.", "Give a folder as --store.")

    def list(self) -> BankInfos:
        """See :meth:`Store.list`."""
        return [
            BankInfo(folder.name, sidecar.record, sidecar.rows, sidecar.index)
            for folder in self._folders()
            if isinstance(sidecar := _read(folder), Sidecar)
        ]

    def damaged(self) -> tuple[DamagedBank, ...]:
        """See :meth:`Store.damaged`."""
        return tuple(
            DamagedBank(folder.name, error.message, error.hint)
            for folder in self._folders()
            if isinstance(error := _read(folder), StoreError)
        )

    def disk_bytes(self, info: BankInfo) -> int:
        """See :meth:`Store.disk_bytes`."""
        return disk_bytes(self.root / info.name)

    def take_stock(self, info: BankInfo) -> Balance:
        """See :meth:`Store.take_stock`; the files are compared with their list, and the record with itself."""
        folder = self._find(info.name)
        sidecar = read_sidecar(folder)
        if sidecar is None or sidecar.record.state != "complete":
            return Balance()
        found = on_record(sidecar.record, sidecar.rows)
        if not found:
            found = self._looked_at(folder, sidecar)
        return found if not found or read_sidecar(folder) == sidecar else Balance()  # somebody began to write it

    def _looked_at(self, folder: Path, sidecar: Sidecar) -> Balance:
        """Its files compared with their list; a bank without one, of an older version, is opened."""
        try:
            if sidecar.manifest is None:
                with self.open(folder.name) as bank:
                    return bank.balance()
            return Balance(damage=_FILES if manifest.look(folder, manifest.read(folder, sidecar.manifest)) else "")
        except (StoreLockedError, StoreFullError):  # another matter
            return Balance()
        except StoreError:
            return Balance(damage=_FILES)

    def expect(self, infos: Sequence[BankInfo]) -> None:
        """See :meth:`Store.expect`; their files are read by the system while a model is loaded."""
        if sum(map(self.disk_bytes, infos)) <= _READ_AHEAD:
            for info in infos:
                read_ahead(self.root / info.name / SHARD_DIR)

    def leave_open(self) -> None:
        """See :meth:`Store.leave_open`."""
        self._leaves = True

    def check_files(self, name: str) -> FilesReport:
        """See :meth:`Store.check_files`."""
        from .repair import check_files

        return check_files(self._find(name))

    def repair(self, name: str) -> tuple[str, ...]:
        """See :meth:`Store.repair`."""
        from .repair import repair

        return repair(self._find(name), self._settings)

    def take_up(self, name: str) -> None:
        """See :meth:`store.care.Care.take_up`."""
        from .repair import take_up_alone

        take_up_alone(self._find(name))

    def rewrite(self, name: str, record: BankRecord, changes: Changes, advance: Callable[[int], None]) -> BankRecord:
        """See :meth:`store.care.Care.rewrite`."""
        from .rewrite import rewrite

        return rewrite(self._find(name), record, changes, self._settings, advance)

    def open(self, bank: str | BankIdentity, *, allow_incomplete: bool = False) -> EmbeddedBank:
        """See :meth:`Store.open`."""
        folder = self._find(name_of(bank))
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
            return EmbeddedBank(folder, sidecar, lock, leave=self._leaves)
        except BaseException:
            lock.release()
            raise

    def writer(
        self,
        identities: Sequence[BankIdentity],
        source: str,
        *,
        expected_rows: int | None = None,
        plan: PlanRecord | None = None,
    ) -> BankWriter:
        """See :meth:`Store.writer`. Writing happens in a process of its own (:mod:`store.embedded.writer`)."""
        from .writer import EmbeddedWriter

        self._sweep()
        return EmbeddedWriter(self.root, identities, source, expected_rows, self._settings, plan)

    def drop(self, name: str) -> None:
        """See :meth:`Store.drop`; a bank whose record is damaged can be dropped, too."""
        folder = self._find(name, damaged=True)
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
        """See :meth:`Store.close`; folders that were made for it and that nothing came into go again."""
        made, self._made = self._made, ()
        for folder in made:
            try:
                folder.rmdir()
            except OSError:  # something did
                return

    def _folders(self) -> Iterable[Path]:
        try:
            return sorted(p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        except OSError as error:
            raise store_error(error, self.root) from error

    def _find(self, name: str, *, damaged: bool = False) -> Path:
        folder = self.root / name
        if name.startswith(".") or name == "" or "\0" in name or folder.parent != self.root:
            raise self._not_found(name)
        found = _read(folder)
        if found is None:
            raise self._not_found(name)
        if isinstance(found, StoreError) and not damaged:
            raise found
        return folder

    def _not_found(self, name: str) -> BankNotFoundError:
        names = [info.name for info in self.list()]
        there = (
            f"The store has {', '.join(names)}."
            if names
            else "The store has no banks yet: run `lensbank ingest` first."
        )
        return BankNotFoundError(f"The store {self.root} has no bank {name!r}.", there)

    def _sweep(self) -> None:
        """Remove what an interrupted drop left."""
        for grave in self.root.glob(_DROPPED + "*"):
            shutil.rmtree(grave, ignore_errors=True)
