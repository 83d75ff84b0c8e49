"""Changing what a bank's rows say: into a new shard, which takes the place of the old one together with its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...schemas.collection import BankRecord
from ...schemas.errors import StoreError
from ...schemas.words import RULES
from ..care import Changes, require_unchanged_since, retold
from ..counts import count_named, names_of
from ..records import SHARD_DIR, read_sidecar, write_sidecar
from ..unfinished import require_complete
from . import engine, manifest
from .engine import EngineSettings
from .filters import edge_filter
from .rebuild import rebuild, rebuilding, settle, take_up


def rewrite(
    folder: Path, before: BankRecord, changes: Changes, settings: EngineSettings, advance: Callable[[int], None]
) -> BankRecord:
    """See :meth:`store.care.Care.rewrite`."""
    with rebuilding(folder):
        sidecar = read_sidecar(folder)
        if sidecar is None:
            raise StoreError(f"The bank in {folder} was dropped by another process while it was rewritten.")
        require_complete(folder.name, sidecar.record, str(folder.parent))
        require_unchanged_since(folder.name, sidecar.record, before)
        take_up(folder, sidecar)
        if sidecar.manifest is not None:
            listed = manifest.read(folder, sidecar.manifest)
            manifest.require_whole(folder, listed, manifest.compare(folder, listed))
        if not changes:
            record = retold(sidecar.record, {}, RULES)
            write_sidecar(folder, replace(sidecar, record=record))
            return record
        rows = rebuild(folder, sidecar, settings, changes)
        record = retold(sidecar.record, _counted(folder, sidecar.record), RULES)
        settle(folder, replace(sidecar, rows=rows, record=record))
        advance(len(changes))
        return record


def _counted(folder: Path, record: BankRecord) -> dict[str, int]:
    """Rows of each corpus, in the shard that is there now."""
    shard = engine.load_shard(folder / SHARD_DIR)
    named = count_named(lambda where: engine.count_rows(shard, edge_filter(where)), names_of(record)).named
    engine.close_for_good(shard, folder / SHARD_DIR)
    return dict(named)
