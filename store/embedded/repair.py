"""Comparing a bank's files with their list, and making again what follows from its rows.

Vectors, payload and ids are what a bank holds; nothing can make them again but an ingest or a copy. Payload indexes,
quantised copies, the graph and the engine's settings follow from them. A repair never works on the bank's own shard:
it reads the rows from a copy of what cannot be made again, writes a new shard beside it, and puts that in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...schemas.errors import StoreError
from ..damage import FilesReport
from ..records import SHARD_DIR, Sidecar, read_sidecar
from ..unfinished import require_complete
from . import engine, manifest
from .disk import store_error
from .engine import EngineSettings
from .locks import BankLock
from .manifest import Damage
from .rebuild import DERIVED, has_left, rebuild, rebuilding, require_rows, settle, take_up


def check_files(folder: Path) -> FilesReport:
    """See :meth:`store.store.Store.check_files`."""
    lock = _lock(folder, exclusive=False)
    try:
        sidecar = _record(folder)
        if sidecar.record.state != "complete":
            return FilesReport(folder.name, cause="the bank is not complete, so there is no list of its files yet")
        if sidecar.manifest is None:
            return FilesReport(
                folder.name,
                cause="the bank was finished before lists of files existed; lensbank banks repair makes one",
            )
        try:
            listed = manifest.read(folder, sidecar.manifest)
        except StoreError as error:
            return FilesReport(folder.name, damages=(error.message,))
        damages = manifest.compare(folder, listed)
        return FilesReport(folder.name, len(listed.files), tuple(map(str, damages)))
    except OSError as error:
        raise store_error(error, folder) from error
    finally:
        lock.release()


def repair(folder: Path, settings: EngineSettings) -> tuple[str, ...]:
    """See :meth:`store.store.Store.repair`."""
    with rebuilding(folder):
        sidecar = _record(folder)
        require_complete(folder.name, sidecar.record, str(folder.parent))
        take_up(folder, sidecar)
        damages, known = _damages(folder, sidecar)
        lost = [damage for damage in damages if not DERIVED.fullmatch(damage.path)]
        if lost:
            raise StoreError(
                f"Bank {folder.name} in {folder.parent} cannot be repaired: {'; '.join(map(str, lost[:3]))}"
                + (f" and {len(lost) - 3} more." if len(lost) > 3 else "."),
                "Vectors, payload and ids cannot be rebuilt from the other files. Copy the bank again, or drop it "
                f"(lensbank banks drop {folder.name}) and ingest again.",
            )
        done = []
        if damages or not known:
            rows = rebuild(folder, sidecar, settings)
            done.append(f"Payload indexes and the vector index were rebuilt from {rows:,} rows.")
            done += [f"{damage.path} {damage.what}: rebuilt." for damage in damages]
        if not known:
            done.append(
                "There was no list of files to compare with, so it is not known whether vectors and payload are "
                "unchanged: lensbank banks verify compares a sample of them with the model."
            )
        if done or _engine_changed(folder, sidecar):
            settle(folder, sidecar)
            done.append("A new list of files was written.")
        return tuple(done)


def take_up_alone(folder: Path) -> None:
    """See :meth:`store.care.Care.take_up`; a bank that nothing was left of is not locked."""
    if not has_left(folder):
        return
    lock = _lock(folder, exclusive=True)
    try:
        take_up(folder, _record(folder))
    except OSError as error:
        raise store_error(error, folder) from error
    finally:
        lock.release()


def _lock(folder: Path, *, exclusive: bool) -> BankLock:
    try:
        return BankLock(folder, exclusive=exclusive)
    except OSError as error:
        raise store_error(error, folder) from error


def _record(folder: Path) -> Sidecar:
    sidecar = read_sidecar(folder)
    if sidecar is None:
        raise StoreError(f"The bank in {folder} was dropped by another process during the repair.")
    return sidecar


def _damages(folder: Path, sidecar: Sidecar) -> tuple[Sequence[Damage], bool]:
    """What is wrong, and whether there is a list to know it by."""
    if sidecar.manifest is None:
        return [], False
    try:
        listed = manifest.read(folder, sidecar.manifest)
    except StoreError:
        return [], False
    return manifest.compare(folder, listed), True


def _engine_changed(folder: Path, sidecar: Sidecar) -> bool:
    """Whether another version of the engine wrote the bank; this one has then to open it without complaint."""
    if manifest.read(folder, sidecar.manifest or "").engine == manifest.engine_version():
        return False
    shard = engine.load_shard(folder / SHARD_DIR)
    rows = engine.count_rows(shard)
    engine.close_for_good(shard, folder / SHARD_DIR)
    require_rows(folder, rows, sidecar.rows)
    return True
