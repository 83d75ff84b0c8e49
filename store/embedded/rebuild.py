"""A bank's shard made anew from its rows, and put in the place of the old one.

What is on record and the shard change together: until the record of the new shard is written, the old one is kept, and
:func:`take_up` puts it back. So an interruption at any moment leaves the bank as it was or as it shall be.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...schemas.errors import StoreError
from ..care import Changes
from ..records import SHARD_DIR, Sidecar, sync_folder, write_durably, write_sidecar
from . import engine, manifest
from .disk import disk_bytes, is_engine_failure, require_free, store_error
from .engine import EngineSettings
from .locks import BankLock

#: Files that follow from the rows.
DERIVED = re.compile(
    r"shard/(edge_config\.json|segments/[^/]+/(payload_index/.*|vector_index/.*|vector_storage/quantized.*))"
)
_OLD, _ROWS, _NEW = ".repair-old", ".repair-rows", ".repair-new"
_PAGE = 1000


def take_up(folder: Path, sidecar: Sidecar) -> None:
    """Undo what an interrupted rebuilding left."""
    old, shard = folder / _OLD, folder / SHARD_DIR
    if old.exists() and not _is_on_record(folder, sidecar):
        shutil.rmtree(shard, ignore_errors=True)
        if (listed := old / manifest.MANIFEST_FILE).exists():
            listed.replace(folder / manifest.MANIFEST_FILE)
        old.rename(shard)
        sync_folder(folder)
    clean_up(folder, _OLD, _ROWS, _NEW)


def has_left(folder: Path) -> bool:
    """Whether a rebuilding was interrupted."""
    return any((folder / name).exists() for name in (_OLD, _ROWS, _NEW))


@contextmanager
def rebuilding(folder: Path) -> Iterator[None]:
    """Hold a bank's lock while its shard is rebuilt, and remove what that needed afterwards.

    Args:
        folder: of the bank.

    Raises:
        StoreLockedError: it is being read or written.
        StoreError: the disk or the engine failed, inside the block too.
    """
    try:
        lock = BankLock(folder, exclusive=True)
    except OSError as error:
        raise store_error(error, folder) from error
    try:
        yield
    except BaseException as error:
        if isinstance(error, StoreError) or not is_engine_failure(error):
            raise
        raise store_error(error, folder) from error
    finally:
        clean_up(folder)
        lock.release()


def clean_up(folder: Path, *names: str) -> None:
    """Remove what a rebuilding needed; without names, all but the old shard."""
    for name in names or (_ROWS, _NEW):
        shutil.rmtree(folder / name, ignore_errors=True)


def _is_on_record(folder: Path, sidecar: Sidecar) -> bool:
    """Whether the shard that is there is the one on record, or what became of it, and not the old one."""
    if sidecar.manifest is None:
        return False
    try:
        listed = manifest.read(folder, sidecar.manifest)
    except StoreError:
        return False
    before, now = folder / _OLD / manifest.MANIFEST_FILE, folder / manifest.MANIFEST_FILE
    return (before.exists() and before.read_bytes() != now.read_bytes()) or not manifest.look(folder, listed)


def rebuild(folder: Path, sidecar: Sidecar, settings: EngineSettings, changes: Changes | None = None) -> int:
    """Write the rows into a new shard and put it in the place of the old one; then :func:`settle`.

    Args:
        folder: the bank's.
        sidecar: its record.
        settings: of the engine.
        changes: to rows, by their ids.

    Returns:
        Rows of the new shard.

    Raises:
        StoreFullError: too little space.
        StoreError: rows are missing.
    """
    require_free(folder, 3 * disk_bytes(folder) + settings.reserve_bytes)
    rows = _copy_of_rows(folder)
    identity, graph = sidecar.record.identity, sidecar.index == "graph"
    source = engine.load_shard(rows)
    require_rows(folder, engine.count_rows(source), sidecar.rows)
    segments = settings.segments(sidecar.rows)
    target = engine.create_shard(folder / _NEW, identity, settings, segments)
    gone, offset = 0, None
    while True:
        page, offset = engine.scroll(source, _PAGE, offset, True)
        points = [(record.id, record.vector, changed(str(record.id), record.payload, changes)) for record in page]
        kept = [(name, vector, payload) for name, vector, payload in points if payload is not None]
        engine.copy_rows(target, kept)
        gone += len(points) - len(kept)
        if offset is None:
            break
    source.close()
    if graph:
        target.flush()
        target.close()
        target = engine.reload_shard(folder / _NEW, identity, settings, segments, graph)
    if sidecar.index != "none":
        target.optimize()
    left = sidecar.rows - gone
    require_rows(folder, engine.count_rows(target), left)
    engine.close_for_good(target, folder / _NEW)
    (folder / SHARD_DIR).rename(folder / _OLD)
    (folder / _NEW).rename(folder / SHARD_DIR)
    sync_folder(folder)
    return left


def changed(name: str, payload: Mapping[str, Any] | None, changes: Changes | None) -> dict[str, Any] | None:
    """A row's payload with its changes; ``None`` where the row goes."""
    change = {} if changes is None else changes.get(name, {})
    return None if change is None else {**(payload or {}), **change}


def settle(folder: Path, sidecar: Sidecar) -> None:
    """Put the shard that is there on record, with the list of its files; the old one is no longer needed."""
    if (folder / _OLD).exists():  # its list, in case it is put back
        listed = folder / manifest.MANIFEST_FILE
        write_durably(folder / _OLD / manifest.MANIFEST_FILE, listed.read_bytes() if listed.exists() else b"")
    write_sidecar(folder, replace(sidecar, manifest=manifest.make(folder)))
    clean_up(folder, _OLD)


def require_rows(folder: Path, rows: int, expected: int) -> None:
    """Refuse to go on with a bank of which rows are missing.

    Raises:
        StoreError: with both numbers.
    """
    if rows != expected:
        raise StoreError(
            f"Bank {folder.name} in {folder.parent} cannot be repaired: it holds only {rows:,} of its {expected:,} "
            "rows.",
            f"Copy the bank again, or drop it (lensbank banks drop {folder.name}) and ingest again.",
        )


def _copy_of_rows(folder: Path) -> Path:
    """A shard of the rows alone: their vectors, payload and ids, with no index of any kind."""
    rows = folder / _ROWS
    for path in sorted((folder / SHARD_DIR / "segments").rglob("*")):
        name = path.relative_to(folder / SHARD_DIR)
        if path.is_file() and not DERIVED.fullmatch(f"shard/{name.as_posix()}"):
            (rows / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, rows / name)
    for path in rows.glob("segments/*/segment.json"):
        data = json.loads(path.read_bytes())
        for settings in data["config"]["vector_data"].values():
            settings["index"] = {"type": "plain", "options": {}}
            settings["quantization_config"] = None
        path.write_text(json.dumps(data), encoding="utf-8")
    return rows
