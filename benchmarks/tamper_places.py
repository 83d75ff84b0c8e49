"""Places that hold banks, and what can be done to all that they keep for one beside its rows."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from lensbank.schemas.checksums import CHECKSUMS, with_checksums
from lensbank.store.opening import open_store
from lensbank.store.server.connection import METADATA_KEY
from lensbank.store.server.counting import ROWS_KEY
from lensbank.store.store import Store

#: Files beside the engine's own.
FILES = ("lensbank.json", "manifest.json", ".lock")
#: What a server's collection keeps about a bank, beside the claims of its writers.
KEYS = (METADATA_KEY, ROWS_KEY)


class Place(Protocol):
    """A store that can be harmed; two of one kind are written in turn."""

    name: str

    def open(self) -> AbstractContextManager[Store]:
        """Open it, to write."""

    def harm(self, choose: random.Random, other: Any) -> str:
        """Do something to what is kept; says what.

        Args:
            choose: draws it.
            other: the other place, of the same kind, with banks of the same names.
        """

    def remember(self) -> None:
        """Keep what is there, to be put back later."""

    def clear(self) -> None:
        """Give everything up, also what cannot be opened."""


class FolderPlace:
    """A folder of banks."""

    def __init__(self, folder: Path) -> None:
        """At a folder, which is made."""
        self.name = folder.name
        self._folder = folder
        self._kept: list[dict[Path, bytes]] = []

    def open(self) -> Store:
        """See :meth:`Place.open`."""
        return open_store(self._folder, create=True)

    def harm(self, choose: random.Random, other: Any) -> str:
        """See :meth:`Place.harm`: to one file of one bank."""
        banks = sorted(p for p in self._folder.glob("*") if p.is_dir() and not p.name.startswith("."))
        if not banks:
            return "nothing to harm"
        bank, name = choose.choice(banks), choose.choice(FILES)
        kind = choose.choice(("delete", "cut", "swap", "roll back", "edit", "copy", "no shard"))
        self._do(kind, bank / name, choose, other)
        return f"{kind} {self.name}/{bank.name}/{name}"

    def _do(self, kind: str, path: Path, choose: random.Random, other: Any) -> None:
        bank, name = path.parent, path.name
        if kind == "delete":
            path.unlink(missing_ok=True)
        elif kind == "cut" and path.exists():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif kind in ("swap", "copy"):
            theirs = other._folder / bank.name / name
            if theirs.exists() and path.exists():
                mine = path.read_bytes()
                path.write_bytes(theirs.read_bytes())
                if kind == "swap":
                    theirs.write_bytes(mine)
        elif kind == "roll back":
            old = [kept for kept in self._kept if path in kept]
            if old:
                path.write_bytes(choose.choice(old)[path])
        elif kind == "edit":
            _edit(bank / FILES[0], choose)
        elif kind == "no shard" and choose.random() < 0.3:
            shutil.rmtree(bank / "shard", ignore_errors=True)

    def remember(self) -> None:
        """See :meth:`Place.remember`."""
        found = [p for name in FILES for p in self._folder.glob(f"*/{name}")]
        self._kept.append({path: path.read_bytes() for path in found})

    def clear(self) -> None:
        """See :meth:`Place.clear`."""
        shutil.rmtree(self._folder)


class ServerPlace:
    """A server; only its collections of certain names are touched.

    Args:
        url: of the server.
        banks: names of the collections.
    """

    def __init__(self, url: str, banks: Collection[str]) -> None:
        """Connected, nothing changed."""
        from qdrant_client import QdrantClient

        self.name = url
        self._banks = sorted(banks)
        self._client = QdrantClient(url, check_compatibility=False)
        self._kept: list[dict[str, dict[str, Any]]] = []

    def open(self) -> Store:
        """See :meth:`Place.open`."""
        return open_store(self.name)

    def harm(self, choose: random.Random, other: Any) -> str:
        """See :meth:`Place.harm`: to one thing that is on record with one collection, or to some of its points."""
        found = self._metadata()
        if not found:
            return "nothing to harm"
        bank = choose.choice(sorted(found))
        key = choose.choice([*KEYS, *KEYS, *sorted(set(found[bank]) - set(KEYS))])
        kind = choose.choice(("delete", "damage", "swap", "roll back", "edit", "copy", "lose points"))
        self._do(kind, bank, key, found[bank], choose, other)
        return f"{kind} {key} of {bank} at {self.name}"

    def _do(
        self, kind: str, bank: str, key: str, metadata: Mapping[str, Any], choose: random.Random, other: Any
    ) -> None:
        mine = metadata.get(key)
        if kind == "delete":
            self._write(bank, key, None)
        elif kind == "damage":
            self._write(bank, key, choose.choice(({}, {"version": 2}, "text", 7, [1])))
        elif kind in ("swap", "copy"):
            theirs = other._metadata().get(bank, {}).get(key)
            self._write(bank, key, theirs)
            if kind == "swap":
                other._write(bank, key, mine)
        elif kind == "roll back":
            old = [kept[bank] for kept in self._kept if bank in kept]
            if old:
                self._write(bank, key, choose.choice(old).get(key))
        elif kind == "edit" and isinstance(metadata.get(METADATA_KEY), dict):
            data = copy.deepcopy(metadata[METADATA_KEY])
            self._write(bank, METADATA_KEY, change_record(data, choose))
            self._write(bank, ROWS_KEY, choose.choice((0, 1, 10**6, metadata.get(ROWS_KEY))))
        elif kind == "lose points":
            points, _ = self._client.scroll(bank, limit=choose.choice((1, 5)))
            self._client.delete(bank, [point.id for point in points])

    def _metadata(self) -> dict[str, dict[str, Any]]:
        """Of each collection that is there."""
        there = {one.name for one in self._client.get_collections().collections}
        return {
            name: dict(self._client.get_collection(name).config.metadata or {}) for name in self._banks if name in there
        }

    def _write(self, bank: str, key: str, value: Any) -> None:
        if self._client.collection_exists(bank):
            self._client.update_collection(bank, metadata={key: value})

    def remember(self) -> None:
        """See :meth:`Place.remember`."""
        self._kept.append(copy.deepcopy(self._metadata()))

    def clear(self) -> None:
        """See :meth:`Place.clear`."""
        for name in self._banks:
            self._client.delete_collection(name)

    def close(self) -> None:
        """Let go of the server."""
        self._client.close()


def _edit(path: Path, choose: random.Random) -> None:
    """Change a number of a record."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    if choose.random() < 0.5:
        data["rows"] = choose.choice((0, 1, data.get("rows", 0) // 2, 10**6))
    path.write_text(json.dumps(change_record(data, choose)))


def change_record(data: dict[str, Any], choose: random.Random) -> dict[str, Any]:
    """Change a number or the state in a record's JSON; also by one who knows of its checksums."""
    plan, corpora = data.get("plan"), data.get("corpora") or []
    kind = choose.choice(("done", "state", "corpora", "plan", "rows"))
    if kind == "done" and plan:
        plan["done"] = choose.choice((0, 1, plan["total"] // 2, plan["total"], plan["total"] + 5, -3))
    elif kind == "state":
        data["state"] = choose.choice(("building", "complete"))
    elif kind == "corpora" and corpora:
        corpora.pop(choose.randrange(len(corpora)))
    elif kind == "plan":
        data["plan"] = None
    elif kind == "rows" and corpora:
        corpora[0]["rows"] = choose.choice((0, 1, 10**6))
    bare = {name: value for name, value in data.items() if name != CHECKSUMS}
    return choose.choice((data, bare, with_checksums(bare)))
