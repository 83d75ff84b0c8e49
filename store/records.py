"""Records of banks: how they begin and grow, and the file beside an embedded shard that holds one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..schemas.collection import UNKNOWN_DTYPE, BankIdentity, BankRecord, CorpusRecord
from ..schemas.errors import BankIncompleteError, StoreError
from ..schemas.version import tool_version

RECORD_FILE = "lensbank.json"
SHARD_DIR = "shard"
_NO_RECORD = "A record cannot be made again: copy the bank again, or drop it (lensbank banks drop {}) and ingest again."
_COPY_AGAIN = "Run the same push or pull again ({} is copied from): it goes on where it stopped."


@dataclass(frozen=True, slots=True)
class Copied:
    """Where the rows that are about to be written come from, if not from a model.

    Attributes:
        address: of the store that holds them.
        created: of the bank there.
    """

    address: str
    created: str


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
        StoreError: it cannot be read or is not a record.
    """
    path = folder / RECORD_FILE
    try:
        data = json.loads(path.read_bytes())
        sidecar = Sidecar(BankRecord.from_dict(data), int(data["rows"]), str(data["index"]), data.get("manifest"))
    except (FileNotFoundError, NotADirectoryError):
        if (folder / SHARD_DIR / "segments").is_dir():
            raise StoreError(
                f"Bank {folder.name} in {folder.parent} is damaged: its record {RECORD_FILE} is missing.",
                _NO_RECORD.format(folder.name),
            ) from None
        return None
    except OSError as error:
        raise StoreError(f"The bank's record {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} is not a bank's record ({type(error).__name__}: {error}).",
            _NO_RECORD.format(folder.name),
        ) from error
    require_name(folder.name, sidecar.record, str(folder.parent))
    return sidecar


def require_name(name: str, record: BankRecord, where: str) -> None:
    """Refuse a record that is not the one of the bank it is found at: a name follows from what is on record.

    Raises:
        StoreError: it is another bank's, or was changed.
    """
    if record.identity.name() != name:
        raise StoreError(
            f"Bank {name} in {where} is damaged: its record is that of {record.identity.name()} "
            f"({record.identity.model}, layer {record.identity.layer}).",
            "Give the folder its own name back if it was renamed; else "
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
    write_durably(folder / RECORD_FILE, json.dumps(data, indent=1, ensure_ascii=True).encode() + b"\n")


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


def new_record(identity: BankIdentity, source: str, copied: Copied | None = None) -> BankRecord:
    """The record of a bank that is about to be written for the first time."""
    created = copied.created if copied else datetime.now(UTC).isoformat(timespec="seconds")
    return BankRecord(identity, "building", source, (), created, tool_version(), _address(copied))


def begun(name: str, record: BankRecord, copied: Copied | None) -> BankRecord:
    """The record of an existing bank that is about to be written again.

    Raises:
        BankIncompleteError: it waits for the rest of something else. To go on with this would end
            in a bank that looks complete and is not.
    """
    if record.state == "building" and record.copying != _address(copied):
        if record.copying is not None:
            raise BankIncompleteError(
                f"Bank {name} holds a part of the rows of the bank in {record.copying}, which are being copied.",
                _COPY_AGAIN.format(record.copying) + f" Or give it up: lensbank banks drop {name}.",
            )
        raise BankIncompleteError(
            f"Bank {name} holds a part of an ingest that has not finished.",
            f"Run that ingest again (--model {record.source}) to finish it, or give it up: lensbank banks drop {name}.",
        )
    return replace(record, state="building", copying=_address(copied))


def finished(record: BankRecord, corpora: Sequence[CorpusRecord]) -> BankRecord:
    """The record of a bank whose rows are all there."""
    return replace(record, state="complete", corpora=with_corpora(record, corpora), tool=tool_version(), copying=None)


def _address(copied: Copied | None) -> str | None:
    return copied.address if copied else None


def with_corpora(record: BankRecord, corpora: Sequence[CorpusRecord]) -> tuple[CorpusRecord, ...]:
    """The record's corpora and the new ones, each once: a repeated ingest adds nothing."""
    return tuple(dict.fromkeys((*record.corpora, *corpora)))


def require_complete(name: str, record: BankRecord, where: str) -> None:
    """Refuse to search what an ingest has not finished.

    Raises:
        BankIncompleteError: the record says ``building``.
    """
    if record.state != "complete":
        if record.copying is not None:
            raise BankIncompleteError(
                f"Bank {name} in {where} is not complete: its rows are still being copied from {record.copying}.",
                _COPY_AGAIN.format(record.copying),
            )
        raise BankIncompleteError(
            f"Bank {name} in {where} is not complete: its ingest was interrupted or is still running.",
            "Run the same import-bank command again."
            if record.identity.compute_dtype == UNKNOWN_DTYPE
            else f"Run the same ingest command again (--model {record.source}): it goes on where it stopped.",
        )
