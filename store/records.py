"""Records of banks: how they begin and grow, and the file beside an embedded shard that holds one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..schemas.checksums import require_unchanged, with_checksums
from ..schemas.collection import KINDS_VERSION, RECORD_VERSION, BankIdentity, BankRecord
from ..schemas.corpora import CorpusRecord
from ..schemas.errors import BankIncompleteError, DamagedRecordError, OpenFilesError, is_too_many_files
from ..schemas.imports import ImportRecord
from ..schemas.indexes import IndexRecord
from ..schemas.plans import PlanRecord
from ..schemas.probes import Probe
from ..schemas.reading import checked, parse_json, read_json
from ..schemas.version import tool_version
from .counts import restores, with_corpora
from .unfinished import refusal

RECORD_FILE = "lensbank.json"
SHARD_DIR = "shard"
_NO_RECORD = (
    "A record cannot be rebuilt. Restore it from an unchanged copy, copy the bank again, or drop the bank (lensbank "
    "banks drop {}) and ingest again."
)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The record and what the embedded engine needs to know besides.

    Attributes:
        record: the bank's record.
        rows: rows at the last flush; 0 where nothing was ever flushed.
        index: what approximate search uses: ``none``, ``quantized`` or ``graph``.
        manifest: digest of the list of the finished shard's files (:mod:`store.embedded.manifest`); ``None`` while
            it is written, and of banks finished before there were such lists.
    """

    record: BankRecord
    rows: int = 0
    index: str = "none"
    manifest: str | None = None


def read_sidecar(folder: Path) -> Sidecar | None:
    """The record of the bank in ``folder``; ``None`` where there is none.

    Raises:
        BankMismatchError: written by a newer version.
        DamagedRecordError: it cannot be read, is not a record, or was changed since it was written.
    """
    path = folder / RECORD_FILE
    try:
        data: dict[str, Any] = read_json(path, dict[str, Any])
        sidecar = checked(Sidecar(_record(data), data["rows"], data["index"], data.get("manifest")))
        require_unchanged(data)
        if sidecar.record.state == "complete" and sidecar.rows and not sidecar.record.corpora:
            raise ValueError(f"state: complete, but with {sidecar.rows:,} rows of no corpus")
    except (FileNotFoundError, NotADirectoryError):
        if (folder / SHARD_DIR / "segments").is_dir():
            raise DamagedRecordError(
                f"Bank {folder.name} in {folder.parent} is damaged: its record {RECORD_FILE} is missing.",
                _NO_RECORD.format(folder.name),
            ) from None
        return None
    except OSError as error:
        if is_too_many_files(error):
            raise OpenFilesError(path) from error
        raise DamagedRecordError(f"The bank's record {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedRecordError(
            f"The file {path} is not the record of a bank: {_fault(error)}.", _NO_RECORD.format(folder.name)
        ) from error
    require_name(folder.name, sidecar.record, str(folder.parent))
    return sidecar


def _record(data: Any) -> BankRecord:
    """A record of any version that is known.

    Raises:
        BankMismatchError: written by a newer version.
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    parse_json(json.dumps(data), _Shape)
    record = checked(BankRecord.from_dict(data))
    if record.state == "complete" and record.plan is not None:
        raise ValueError("state: complete, but with a plan of rows to come")
    return record


@dataclass
class _CorpusShape:
    name: str
    imported: ImportRecord | None = None
    indexed: IndexRecord | None = None


@dataclass
class _IdentityShape:
    probe: Probe | None = None


@dataclass
class _Shape:
    """What a record of any version has, before it is put together."""

    version: int
    identity: _IdentityShape
    corpora: tuple[_CorpusShape, ...]


def for_metadata(record: BankRecord) -> dict[str, Any]:
    """A record as a collection's metadata hold it; see :func:`record_in`."""
    return with_checksums(record.to_dict())


def record_in(data: Any, name: str, where: str) -> BankRecord:
    """The record in a collection's metadata.

    Raises:
        BankMismatchError: written by a newer version.
        DamagedRecordError: it is none, was changed since it was written, or is another bank's.
    """
    try:
        record = _record(data)
        require_unchanged(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedRecordError(
            f"The record of bank {name} in {where} is damaged: {_fault(error)}.", _NO_RECORD.format(name)
        ) from error
    require_name(name, record, where)
    return record


def _fault(error: Exception) -> str:
    """What a record lacks, or which of its fields is of another kind."""
    return f"it has no {error.args[0]!r}" if isinstance(error, KeyError) and error.args else str(error)


def require_name(name: str, record: BankRecord, where: str) -> None:
    """Refuse a record that is not the one of the bank it is found at: a name follows from what is on record.

    Raises:
        DamagedRecordError: it is another bank's, or was changed.
    """
    if record.identity.name() != name:
        raise DamagedRecordError(
            f"Bank {name} in {where} is damaged: it has the record of another bank, {record.identity.name()} "
            f"({record.identity.model}, layer {record.identity.layer}).",
            "If the folder was renamed, give it its old name again. Otherwise: "
            + _NO_RECORD.format(name)[:1].lower()
            + _NO_RECORD.format(name)[1:],
        )


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write the record so that a crash at any moment leaves the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    data = {
        **sidecar.record.to_dict(),
        "rows": sidecar.rows,
        "index": sidecar.index,
        "manifest": sidecar.manifest,
    }
    text = json.dumps(with_checksums(data), indent=1, ensure_ascii=True)
    write_durably(folder / RECORD_FILE, text.encode() + b"\n")


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new files in ``folder`` durable.

    Raises:
        OSError: the device failed.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def new_record(identity: BankIdentity, source: str, plan: PlanRecord | None = None) -> BankRecord:
    """The record of a bank that is about to be written for the first time."""
    created = (plan.created if plan else "") or datetime.now(UTC).isoformat(timespec="seconds")
    version = RECORD_VERSION if identity.kind == "text" else KINDS_VERSION
    return BankRecord(identity, "building", source, (), created, tool_version(), plan, version)


def begun(name: str, record: BankRecord, plan: PlanRecord | None, empty: Callable[[], bool]) -> BankRecord:
    """The record of an existing bank that is about to be written again, under the writer's lock.

    Args:
        name: of the bank.
        record: as it is.
        plan: what is about to be written; on record it comes with how far it was.
        empty: whether the bank holds no row at all; asked where that decides.

    Raises:
        BankIncompleteError: it waits for the rest of something else. To go on with this would end
            in a bank that looks complete and is not.
    """
    held = record.plan
    if record.state == "building" and plan is not None and held is not None and held.key == plan.key:
        done, rows = (held.done, held.rows) if 0 <= held.done <= plan.total else (0, {})
        return replace(record, plan=plan.at(done, rows))
    fits = held is None and (plan is None or restores(record, plan))
    if record.state == "building" and not fits and (record.corpora or not empty()):
        raise BankIncompleteError(*refusal(name, record, plan))
    return replace(record, state="building", plan=plan)


def finished(record: BankRecord, corpora: Sequence[CorpusRecord]) -> BankRecord:
    """The record of a bank whose rows are all there."""
    return replace(record, state="complete", corpora=with_corpora(record, corpora), tool=tool_version(), plan=None)
