"""The list of a finished bank's files: what the engine would not notice, this notices.

The engine loads a shard without one of its payload indexes, or with one of zeros, as a shard in which a filter finds
nothing. So a bank that is finished gets a list of its shard's files. Opening it compares names, sizes and the two ends
of every file (:func:`look`, some milliseconds); ``banks verify`` compares every byte (:func:`compare`). The engine
writes to some of its files when a shard is opened or closed, but never another content.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ...schemas.errors import DamagedBankError, OpenFilesError, StoreError, is_too_many_files
from ...schemas.files import kind_of
from ..records import SHARD_DIR, write_durably

MANIFEST_FILE = "manifest.json"
_VERSION = 1
#: Bytes looked at, at each end of a file, when a bank is opened.
_END = 4096
_BLOCK = 1 << 16
_READ = 16 * _BLOCK
_DEEPEST = 12
#: What the engine writes beside a file that it is about to replace.
_TEMPORARY = ".atomicwrite"
_SHOWN = 3
#: In the place of a size: no regular file.
_NO_FILE = -1


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file.

    Attributes:
        size: in bytes.
        ends: BLAKE2b over its first and last :data:`_END` bytes.
        digest: BLAKE2b over all of it, see :func:`_digest`.
    """

    size: int
    ends: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a finished shard.

    Attributes:
        engine: version of the engine that wrote them.
        files: by their path below the shard, with ``/``.
    """

    engine: str
    files: dict[str, FileFacts]


@dataclass(frozen=True, slots=True)
class Damage:
    """One file that is not as it was.

    Attributes:
        path: below the bank's folder.
        what: ``is missing`` and the like.
    """

    path: str
    what: str

    def __str__(self) -> str:
        """As a clause."""
        return f"{self.path} {self.what}"


def engine_version() -> str:
    """Version of the engine that is installed."""
    return version("qdrant-edge-py")


def make(folder: Path) -> str:
    """List the files of the closed shard in a bank's folder; returns the list's own digest, for the record.

    Raises:
        OSError: a file cannot be read, or the list not written.
    """
    shard = folder / SHARD_DIR
    files = {path: [size, *_facts(shard / path, size)] for path, size in sorted(_sizes(shard).items())}
    data = json.dumps({"version": _VERSION, "engine": engine_version(), "files": files}, indent=0).encode()
    write_durably(folder / MANIFEST_FILE, data)
    return _list_digest(data)


def read(folder: Path, digest: str) -> Manifest:
    """The list of a bank's files.

    Args:
        folder: the bank's.
        digest: of the list, as on record.

    Raises:
        DamagedBankError: it is missing, or not the one on record.
    """
    path = folder / MANIFEST_FILE
    if kind := kind_of(path):  # a FIFO would be waited for
        raise _damaged(folder, f"{MANIFEST_FILE}, the list of its files, is {kind}")
    try:
        data = path.read_bytes()
    except OSError as error:
        _unreadable(path, error)
        raise _damaged(folder, f"{MANIFEST_FILE}, the list of its files, is missing ({error.strerror})") from error
    if _list_digest(data) != digest:
        raise _damaged(folder, f"{MANIFEST_FILE}, the list of its files, does not match the bank's record")
    content = json.loads(data)
    return Manifest(content["engine"], {path: FileFacts(*facts) for path, facts in content["files"].items()})


def look(folder: Path, manifest: Manifest) -> list[Damage]:
    """Compare what costs little: names, sizes, and both ends of every file."""
    return _damages(folder, manifest, lambda path, facts: _ends(path, facts.size) == facts.ends)


def compare(folder: Path, manifest: Manifest) -> list[Damage]:
    """Compare every byte."""
    return _damages(folder, manifest, lambda path, facts: _facts(path, facts.size)[1] == facts.digest)


def _damages(folder: Path, manifest: Manifest, equal: Callable[[Path, FileFacts], bool]) -> list[Damage]:
    shard, found = folder / SHARD_DIR, []
    for path, facts, fault in _named(shard, manifest):
        try:
            if not fault and not equal(shard / path, facts):
                fault = "has other content"
        except OSError as error:
            fault = _unreadable(shard / path, error)
        if fault:
            found.append(Damage(f"{SHARD_DIR}/{path}", fault))
    return found


def _unreadable(path: Path, error: OSError) -> str:
    """What is wrong with a file that cannot be read.

    Raises:
        OpenFilesError: nothing is: too many are open.
    """
    if is_too_many_files(error):
        raise OpenFilesError(path) from error
    return f"cannot be read ({error.strerror})"


def require_whole(folder: Path, manifest: Manifest, damages: list[Damage]) -> None:
    """Refuse a bank whose files are not those it was finished with.

    Raises:
        DamagedBankError: files differ.
        StoreError: another series of the engine wrote them.
    """
    require_undamaged(folder, damages)
    require_engine(folder, manifest)


def require_undamaged(folder: Path, damages: list[Damage]) -> None:
    """Refuse a bank whose files are not those it was finished with.

    Raises:
        StoreError: naming the first of them.
    """
    if damages:
        more = f" and {len(damages) - _SHOWN} more" if len(damages) > _SHOWN else ""
        raise _damaged(folder, "; ".join(map(str, damages[:_SHOWN])) + more)


def require_engine(folder: Path, manifest: Manifest) -> None:
    """Refuse a bank that another series of the engine wrote.

    Raises:
        StoreError: with both versions.
    """
    here = engine_version()
    if manifest.engine.split(".")[:2] != here.split(".")[:2]:
        raise StoreError(
            f"Bank {folder.name} in {folder.parent} was written by the engine qdrant-edge-py {manifest.engine}, but "
            f"{here} is installed.",
            f"Convert the bank (lensbank banks repair {folder.name}), or install qdrant-edge-py=={manifest.engine}.",
        )


def holes(folder: Path) -> int:
    """Bytes of a shard's files that are not allocated on the disk."""
    total = 0
    for entry in _walk(folder / SHARD_DIR):
        status = entry.stat()
        total += max(0, status.st_size - getattr(status, "st_blocks", status.st_size) * 512)
    return total


def _damaged(folder: Path, what: str) -> DamagedBankError:
    return DamagedBankError(
        f"Bank {folder.name} in {folder.parent} is damaged: {what}.",
        "Files are missing, incomplete or changed, for example after an interrupted copy. Copy the folder of the "
        f"bank again, try lensbank banks repair {folder.name}, or drop the bank (lensbank banks drop {folder.name}) "
        "and ingest again.",
    )


def _named(shard: Path, manifest: Manifest) -> list[tuple[str, FileFacts, str]]:
    """Every file on the list or in the shard, and what names and sizes say is wrong with it."""
    there = _sizes(shard)
    found = []
    for path, facts in manifest.files.items():
        size = there.pop(path, None)
        fault = "is missing" if size is None else ""
        if size == _NO_FILE:
            fault = f"is {kind_of(shard / path) or 'no file'}; expected a file"
        elif size is not None and size != facts.size:
            fault = f"has {size:,} bytes, expected {facts.size:,}"
        found.append((path, facts, fault))
    return found + [(path, FileFacts(size, "", ""), "was not there") for path, size in sorted(there.items())]


def _sizes(shard: Path) -> dict[str, int]:
    start = len(str(shard)) + 1
    return {entry.path[start:].replace(os.sep, "/"): _size(entry) for entry in _walk(shard)}


def _size(entry: os.DirEntry[str]) -> int:
    status = entry.stat()
    return status.st_size if stat.S_ISREG(status.st_mode) else _NO_FILE


def _walk(top: Path) -> list[os.DirEntry[str]]:
    """All files below a folder; nothing where there is none."""
    found, folders = [], [(str(top), 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(_TEMPORARY):
                        continue
                    if entry.is_dir():
                        if depth < _DEEPEST:
                            folders.append((entry.path, depth + 1))
                    else:
                        found.append(entry)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return found


def _facts(path: Path, size: int) -> tuple[str, str]:
    return _ends(path, size), _digest(path)


def _ends(path: Path, size: int) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        ends = os.pread(descriptor, _END, 0)
        if size > _END:
            ends += os.pread(descriptor, _END, max(_END, size - _END))
    finally:
        os.close(descriptor)
    return hashlib.blake2b(ends, digest_size=8).hexdigest()


def _digest(path: Path) -> str:
    """BLAKE2b over a file's blocks with their places; blocks of zeros, of which sparse files are full, are left out."""
    digest, zeros, at = hashlib.blake2b(digest_size=16), bytes(_BLOCK), 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_READ):
            for start in range(0, len(chunk), _BLOCK):
                block = chunk[start : start + _BLOCK]
                if block != zeros[: len(block)]:
                    digest.update(b"%d " % (at + start))
                    digest.update(block)
            at += len(chunk)
    digest.update(b"end %d" % at)
    return digest.hexdigest()


def _list_digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
