"""Comparing a bank's files with their list, and making again what follows from its rows.

Vectors, payload and ids are what a bank holds; nothing can make them again but an ingest or a copy. Payload indexes,
quantised copies, the graph and the engine's settings follow from them. A repair never works on the bank's own shard:
it reads the rows from a copy of what cannot be made again, writes a new shard beside it, and puts that in its place.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...schemas.errors import StoreError
from ..damage import FilesReport
from ..records import SHARD_DIR, Sidecar, read_sidecar, require_complete, sync_folder, write_sidecar
from . import engine, manifest
from .disk import disk_bytes, is_engine_failure, require_free, store_error
from .engine import EngineSettings
from .locks import BankLock
from .manifest import Damage

_DERIVED = re.compile(
    r"shard/(edge_config\.json|segments/[^/]+/(payload_index/.*|vector_index/.*|vector_storage/quantized.*))"
)
_OLD, _ROWS, _NEW = ".repair-old", ".repair-rows", ".repair-new"
_PAGE = 1000


def check_files(folder: Path) -> FilesReport:
    """See :meth:`store.base.Store.check_files`."""
    lock = _lock(folder, exclusive=False)
    try:
        sidecar = _record(folder)
        if sidecar.record.state != "complete":
            return FilesReport(folder.name, cause="is not complete, so there is no list of its files yet")
        if sidecar.manifest is None:
            return FilesReport(
                folder.name,
                cause="was finished before lists of files were made; lensbank banks repair makes one",
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
    """See :meth:`store.base.Store.repair`."""
    lock = _lock(folder, exclusive=True)
    try:
        sidecar = _record(folder)
        require_complete(folder.name, sidecar.record, str(folder.parent))
        _take_up(folder)
        damages, known = _damages(folder, sidecar)
        lost = [damage for damage in damages if not _DERIVED.fullmatch(damage.path)]
        if lost:
            raise StoreError(
                f"Bank {folder.name} in {folder.parent} cannot be repaired: {'; '.join(map(str, lost[:3]))}"
                + (f" and {len(lost) - 3} more." if len(lost) > 3 else "."),
                "Vectors, payload and ids cannot be made again from anything else in the bank: copy it again, or drop "
                f"it (lensbank banks drop {folder.name}) and ingest again.",
            )
        done = []
        if damages or not known:
            done.append(_rebuild(folder, sidecar, settings))
            done += [f"{damage.path} {damage.what}: made again." for damage in damages]
        if not known:
            done.append(
                "There was no list of its files to compare with, so whether vectors and payload are as they were is "
                "not known: lensbank banks verify compares a sample of them with the model."
            )
        if done or _engine_changed(folder, sidecar):
            write_sidecar(folder, replace(sidecar, manifest=manifest.make(folder)))
            done.append("The list of its files is new.")
        return tuple(done)
    except BaseException as error:
        if isinstance(error, StoreError) or not is_engine_failure(error):
            raise
        raise store_error(error, folder) from error
    finally:
        for name in (_ROWS, _NEW):
            shutil.rmtree(folder / name, ignore_errors=True)
        lock.release()


def _lock(folder: Path, *, exclusive: bool) -> BankLock:
    try:
        return BankLock(folder, exclusive=exclusive)
    except OSError as error:
        raise store_error(error, folder) from error


def _record(folder: Path) -> Sidecar:
    sidecar = read_sidecar(folder)
    if sidecar is None:
        raise StoreError(f"{folder} was dropped meanwhile.")
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
    _require_rows(folder, rows, sidecar.rows)
    return True


def _require_rows(folder: Path, rows: int, expected: int) -> None:
    if rows != expected:
        raise StoreError(
            f"Bank {folder.name} in {folder.parent} cannot be repaired: {rows:,} of its {expected:,} rows are there.",
            f"Copy it again, or drop it (lensbank banks drop {folder.name}) and ingest again.",
        )


def _take_up(folder: Path) -> None:
    """Undo what an interrupted repair left."""
    old = folder / _OLD
    if old.exists() and not (folder / SHARD_DIR).exists():
        old.rename(folder / SHARD_DIR)
    for name in (_OLD, _ROWS, _NEW):
        shutil.rmtree(folder / name, ignore_errors=True)


def _rebuild(folder: Path, sidecar: Sidecar, settings: EngineSettings) -> str:
    """Write the rows into a new shard and put it in the place of the old one."""
    require_free(folder, 3 * disk_bytes(folder) + settings.reserve_bytes)
    rows = _copy_of_rows(folder)
    identity, graph = sidecar.record.identity, sidecar.index == "graph"
    source = engine.load_shard(rows)
    _require_rows(folder, engine.count_rows(source), sidecar.rows)
    segments = settings.segments(sidecar.rows)
    target = engine.create_shard(folder / _NEW, identity, settings, segments)
    offset: str | None = None
    while True:
        page, offset = engine.scroll(source, _PAGE, offset, True)
        engine.copy_rows(target, page)
        if offset is None:
            break
    source.close()
    if graph:
        target.flush()
        target.close()
        target = engine.reload_shard(folder / _NEW, identity, settings, segments, graph)
    if sidecar.index != "none":
        target.optimize()
    _require_rows(folder, engine.count_rows(target), sidecar.rows)
    engine.close_for_good(target, folder / _NEW)
    (folder / SHARD_DIR).rename(folder / _OLD)
    (folder / _NEW).rename(folder / SHARD_DIR)
    sync_folder(folder)
    shutil.rmtree(folder / _OLD, ignore_errors=True)
    return f"Payload indexes and the index of its vectors were made again from {sidecar.rows:,} rows."


def _copy_of_rows(folder: Path) -> Path:
    """A shard of the rows alone: their vectors, payload and ids, with no index of any kind."""
    rows = folder / _ROWS
    for path in sorted((folder / SHARD_DIR / "segments").rglob("*")):
        name = path.relative_to(folder / SHARD_DIR)
        if path.is_file() and not _DERIVED.fullmatch(f"shard/{name.as_posix()}"):
            (rows / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, rows / name)
    for path in rows.glob("segments/*/segment.json"):
        data = json.loads(path.read_bytes())
        for settings in data["config"]["vector_data"].values():
            settings["index"] = {"type": "plain", "options": {}}
            settings["quantization_config"] = None
        path.write_text(json.dumps(data), encoding="utf-8")
    return rows
