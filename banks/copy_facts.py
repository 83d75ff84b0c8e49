"""What is on record of a local copy of a server's bank, and where such copies lie."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from ..schemas.collection import BankIdentity, BankRecord
from ..schemas.errors import StoreFullError
from ..schemas.reading import read_json
from ..schemas.searches import LocalCopy
from ..schemas.units import show_bytes
from ..store.bank import Bank
from ..store.records import write_durably

#: In the folder of each copy.
FACTS_FILE = "copied.json"
CACHE_VARIABLE = "LENSBANK_CACHE"
# Bytes of a row beside its vector, and how much of a bank lies there twice while its segments are merged.
_PAYLOAD_BYTES, _MERGING = 700, 2


def has_cache() -> bool:
    """Whether the environment names a folder for copies."""
    return bool(os.environ.get(CACHE_VARIABLE))


def cache_folder(chosen: str | Path | None = None) -> Path:
    """Where local copies lie: below the folder given, else ``$LENSBANK_CACHE``, else ``~/.cache/lensbank``."""
    root = chosen or os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "lensbank"
    return Path(root).expanduser().absolute() / "banks"


def store_folder(cache: Path, url: str) -> Path:
    """The store of one server's copies: by host and port, distinguished by a hash of the whole URL.

    Args:
        cache: of :func:`cache_folder`.
        url: of the server, without credentials.
    """
    parts = urlsplit(url)
    host = re.sub(r"[^a-z0-9.]+", "-", (parts.hostname or "").lower()).strip("-.")[:60] or "server"
    return cache / f"{host}-{parts.port or 6333}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What a copy is of.

    Attributes:
        of: the server's URL.
        record: SHA-256 of the bank's record there.
        rows: rows there; ``None`` where the server only estimates them.
        made: when, UTC, ISO 8601.
    """

    of: str
    record: str
    rows: int | None
    made: str

    def still(self, now: CopyFacts) -> bool:
        """Whether a server's bank is what it was."""
        rows = now.rows is None or now.rows == self.rows or self.rows is None
        return (self.of, self.record) == (now.of, now.record) and rows

    def with_rows(self, rows: int) -> CopyFacts:
        """As it is kept: with the rows that were copied."""
        return replace(self, rows=rows)

    @property
    def local_copy(self) -> LocalCopy:
        """For results."""
        return LocalCopy(self.of, self.made)


def facts_of(bank: Bank, url: str) -> CopyFacts:
    """What a server says of one of its banks now; two small requests.

    Raises:
        StoreError: a request failed.
    """
    text = json.dumps(bank.record.to_dict(), sort_keys=True, ensure_ascii=True)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    rows = None if bank.balance().about else bank.count()
    return CopyFacts(url, hashlib.sha256(text.encode("ascii")).hexdigest(), rows, made)


def read_facts(folder: Path) -> CopyFacts | None:
    """What is on record of the copy in a bank's folder; ``None`` where nothing is, or nothing that can be read."""
    try:
        facts: CopyFacts = read_json(folder / FACTS_FILE, CopyFacts)
        return facts
    except (OSError, ValueError):
        return None


def write_facts(folder: Path, facts: CopyFacts) -> None:
    """Keep them beside a finished copy.

    Raises:
        OSError: they cannot be written.
    """
    write_durably(folder / FACTS_FILE, json.dumps(asdict(facts)).encode() + b"\n")


def goes_on(copy: BankRecord, record: BankRecord) -> bool:
    """Whether a copy is of the same bank, to which only corpora were added."""
    held = {(corpus.name, corpus.fingerprint) for corpus in copy.corpora}
    now = {(corpus.name, corpus.fingerprint) for corpus in record.corpora}
    return copy.identity == record.identity and copy.created == record.created and held <= now


def require_room(folder: Path, identity: BankIdentity, rows: int, reserve: int) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: of the copies.
        identity: of the bank.
        rows: to copy.
        reserve: bytes that stay free.

    Raises:
        StoreFullError: there is less free space than the rows take while they are copied.
    """
    number = 2 if identity.vector_dtype == "float16" else 4
    needed = max(0, rows) * (identity.dim * number + _PAYLOAD_BYTES) * _MERGING
    free = shutil.disk_usage(folder).free
    if free < needed + reserve:
        raise StoreFullError(
            f"{folder} has {show_bytes(free)} of free space; about {show_bytes(needed)} are needed.",
            "Free some space, or set LENSBANK_CACHE or --local-copy=FOLDER to another folder.",
        )
