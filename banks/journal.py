"""What an ingest has made durable, so that the same command can go on after any interruption.

One small file per bank, beside the store: a store may be on a server, and its banks hold points
only. An entry counts sentences of the plan's encoding order; it is written after the store has
acknowledged a flush, so what it says is never more than what is stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..schemas.errors import StoreFullError
from ..store.base import Store

VERSION = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """How far one bank's ingest has come.

    Attributes:
        plan: hash of everything that decides which rows are written, in which order.
        corpora: name → fingerprint of the corpora, for messages.
        done: sentences of that order whose rows are durable.
        total: sentences of that order.
    """

    plan: str
    corpora: Mapping[str, str]
    done: int
    total: int


class Journal:
    """The entries of some banks.

    Args:
        folder: where to keep them; made when first written.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self._folder = folder

    def read(self, bank: str) -> Entry | None:
        """The entry of a bank; ``None`` where there is none that can be used.

        An entry that cannot be read is as good as none: rows are then written again.
        """
        try:
            data = json.loads(self._path(bank).read_bytes())
            if data["version"] != VERSION:
                return None
            corpora = {str(name): str(value) for name, value in data["corpora"].items()}
            return Entry(str(data["plan"]), corpora, int(data["done"]), int(data["total"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, banks: Iterable[str], entry: Entry) -> None:
        """Replace the entries of banks; each is the old one or the new one, whatever happens.

        Raises:
            StoreFullError: the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for bank in banks:
                path = self._path(bank)
                new = path.with_suffix(".new")
                with new.open("w", encoding="utf-8") as file:
                    json.dump({"version": VERSION, **asdict(entry)}, file)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(path)
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreFullError(
                f"The ingest's journal in {self._folder} cannot be written: {error.strerror or error}.",
                "Free some space or change the folder's permissions, then run the same command again.",
            ) from error

    def remove(self, banks: Iterable[str]) -> None:
        """Forget banks; harmless where there is nothing.

        Raises:
            StoreFullError: an entry cannot be deleted (it would later be taken for a newer run's).
        """
        for bank in banks:
            try:
                # A folder that cannot be written refuses even where there is nothing to delete.
                if self._path(bank).exists():
                    self._path(bank).unlink(missing_ok=True)
            except OSError as error:
                raise StoreFullError(
                    f"The ingest's journal {self._path(bank)} cannot be deleted: {error.strerror or error}.",
                    "Change its permissions, or delete it.",
                ) from error

    def _path(self, bank: str) -> Path:
        return self._folder / f"{bank}.json"


def journal_folder(store: Store) -> Path:
    """Where to keep the journal of a store: inside its folder, or for a server in the user's cache."""
    root = getattr(store, "root", None) or getattr(store, "_root", None)
    if root is not None:
        return Path(root) / ".journal"
    address = str(getattr(store, "url", None) or getattr(store, "_url", None) or type(store).__name__)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lensbank" / "journal" / hashlib.sha256(address.encode()).hexdigest()[:16]
