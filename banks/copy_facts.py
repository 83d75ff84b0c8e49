"""What is on record of a local copy of a server's bank, and where such copies lie."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from ..schemas.reading import read_json
from ..schemas.searches import LocalCopy
from ..store.bank import Bank
from ..store.records import write_durably

#: In the folder of each copy.
FACTS_FILE = "copied.json"
CACHE_VARIABLE = "LENSBANK_CACHE"


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
