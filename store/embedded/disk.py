"""Full and read-only disks: found early, and reported in one sentence."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from ...schemas.errors import OpenFilesError, StoreError, StoreFullError, StoreLockedError, is_too_many_files
from ...schemas.units import show_bytes

_FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded", errno.EFBIG: "File too large"}
_DENIED = {
    errno.EACCES: "Permission denied",
    errno.EROFS: "Read-only file system",
    errno.EPERM: "Operation not permitted",
}
_FREE_HINT = "Free some space or use another --store, then run the same command again: it continues where it stopped."


def require_free(path: Path, needed: int) -> None:
    """Refuse to go on when the disk is about to be full.

    The engine writes through memory maps, where a full disk kills the process instead of giving
    an error, so it must not get that far.

    Raises:
        StoreFullError: fewer than ``needed`` bytes are free where ``path`` is.
    """
    free = shutil.disk_usage(path).free
    if free < needed:
        raise StoreFullError(
            f"{path} has {show_bytes(free)} of free space; {show_bytes(needed)} are needed.", _FREE_HINT
        )


def require_room_to_read(folder: Path, hollow: int) -> None:
    """Refuse to read a bank where reading would fill the disk.

    The engine maps its sparse files for writing. A file system in memory allocates a page for every hole that is read
    through such a map, and kills the process when none is left; one on a disk allocates nothing.

    Args:
        folder: the bank's.
        hollow: bytes of its files that are not allocated.

    Raises:
        StoreFullError: a file system in memory with less free space than that.
    """
    free = shutil.disk_usage(folder).free
    if hollow > free and _in_memory(folder):
        raise StoreFullError(
            f"{folder} is on a file system in memory with {show_bytes(free)} of free space. To open the bank, the "
            f"engine may fill the holes of its sparse files, which needs up to {show_bytes(hollow)}.",
            "Make that file system larger, or copy the store to a disk.",
        )


def _in_memory(folder: Path) -> bool:
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False  # no Linux, so no tmpfs
    lines = [line.partition(" - ") for line in mounts.splitlines()]
    return any(left.split()[2] == wanted and right.split()[0] in ("tmpfs", "ramfs") for left, _, right in lines)


def is_engine_failure(error: BaseException) -> bool:
    """Whether an engine call failed. A panic of the engine, as over a damaged file, is no ``Exception``."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def store_error(error: BaseException, path: Path) -> StoreError:
    """What a failed file operation or engine call means to a user.

    The engine raises bare exceptions whose message ends with the system's own, so they are told
    apart by it.
    """
    if isinstance(error, StoreError):
        return error
    if is_too_many_files(error):
        return OpenFilesError(path)
    code = error.errno if isinstance(error, OSError) else None
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    if "Not enough space" in text:  # the engine's own check before it indexes
        return StoreFullError(f"{path} cannot be indexed: {_short(text)}", _FREE_HINT)
    full, denied = _named(code, text, _FULL), _named(code, text, _DENIED)
    if full:
        return StoreFullError(f"No more data can be written to {path}: {full}.", _FREE_HINT)
    if denied:
        return StoreFullError(
            f"{path} cannot be written: {denied}.", "Use another --store, or change the folder's permissions."
        )
    if "WouldBlock" in text:
        return StoreLockedError(f"{path} is in use by another process.", "Wait until it has finished.")
    if isinstance(error, OSError):
        return StoreError(f"{path} cannot be used: {_short(text)}.", "Use another folder as --store.")
    return StoreError(
        f"The embedded engine failed on {path}: {_short(text)}",
        "Run the command again; if it fails again, delete that bank's folder and ingest again.",
    )


def _named(code: int | None, text: str, table: dict[int, str]) -> str | None:
    """The table's words for an error number, or for a message that ends with it or with the words."""
    for number, words in table.items():
        if code == number or f"os error {number})" in text or words.lower() in text.lower():
            return words
    return None


def _short(text: str) -> str:
    """The first line: the engine appends back traces."""
    return (text.strip().splitlines() or ["no message"])[0][:300]


def disk_bytes(folder: Path) -> int:
    """Bytes allocated below ``folder`` (the engine's files are sparse); 0 where there is none."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:
                continue  # a writer replaced it meanwhile
            total += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
    return total
