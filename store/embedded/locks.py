"""One writer or many readers per bank, on this machine.

``flock`` on a small file in the bank's folder: the kernel lets go of it when its process ends,
however it ends, so there is no stale lock to clean up.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ...schemas.errors import LeavingError, StoreError, StoreLockedError
from ..liveness import is_alive

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_TURN_SECONDS = 0.1


class BankLock:
    """A lock on one bank, held until :meth:`release`.

    Args:
        folder: the bank's folder, which exists.
        exclusive: for writing; otherwise shared, for reading.
        owner: process id to show to those who are refused; default this process.

    Raises:
        StoreLockedError: a writer has it, or (exclusive) readers have.
        StoreError: the file system has no locks.
        OSError: the lock file cannot be made (exclusive only: a reader of a folder that cannot
            be written goes without, since nobody can write there).
    """

    def __init__(self, folder: Path, *, exclusive: bool, owner: int | None = None) -> None:
        """Take the lock, or refuse at once."""
        self._file: int | None = None
        if fcntl is None:  # pragma: no cover - Windows
            raise StoreError(
                "The embedded engine needs an operating system with file locks (flock).",
                "Use a Qdrant server's URL as --store.",
            )
        while self._file is None:
            file = self._open(folder, exclusive)
            if file is None:
                return
            try:
                self._take(file, folder, exclusive)
                # A bank that was dropped meanwhile leaves us a lock on a file that is no longer there.
                if _same_file(file, folder / LOCK_FILE):
                    self._file, file = file, -1
            finally:
                if file >= 0:
                    os.close(file)
        if exclusive:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(owner or os.getpid()).encode(), 0)

    @staticmethod
    def _open(folder: Path, exclusive: bool) -> int | None:
        path = folder / LOCK_FILE
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if exclusive or error.errno not in _READ_ONLY:
                raise
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None

    @staticmethod
    def _take(file: int, folder: Path, exclusive: bool) -> None:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise _no_locks(folder, error) from error
            raise _refusal(file, folder, exclusive) from None

    def release(self) -> None:
        """Let go; harmless when repeated."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        """A bank that nobody closed must not stay locked."""
        self.release()


def _no_locks(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"The file system of {folder} does not support file locks ({error.strerror}).", "Use a --store on a local disk."
    )


def _refusal(file: int, folder: Path, exclusive: bool) -> StoreLockedError:
    # Only a writer leaves its process id; a reader's shared lock shows that no writer is there.
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        writing = False
    except OSError:
        writing = True
    if exclusive and not writing:
        return StoreLockedError(
            f"Bank {folder.name} in {folder.parent} is being read by another process or an open bank.",
            "Close the queries and notebooks that use it, then run the command again.",
        )
    owner = os.pread(file, 32, 0).decode("ascii", "replace").strip()
    if owner.isdigit() and not is_alive(int(owner)):
        return LeavingError(
            f"Bank {folder.name} in {folder.parent} is still being closed: process {owner}, which wrote it, has "
            "ended, and its last rows are being stored.",
            "Try again in a moment.",
        )
    # A writer takes the lock before it can leave its process id: one without is just starting.
    since = datetime.fromtimestamp(os.fstat(file).st_mtime, UTC).strftime("since %Y-%m-%d %H:%M:%S UTC")
    kind, who = (
        (StoreLockedError, f"process {owner}, {since}") if owner.isdigit() else (LeavingError, "another process")
    )
    return kind(
        f"Bank {folder.name} in {folder.parent} is being written by {who}.",
        "Wait until it has finished, or stop it; then run the command again.",
    )


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def in_turn(path: Path, waits: Callable[[], None]) -> Iterator[None]:
    """A block that one process at a time is in, whoever comes meanwhile waits for.

    Args:
        path: of a file that stands for the block; it is made, and left.
        waits: called once where another process is in it.

    Raises:
        StoreError: the file system has no locks.
        OSError: the file cannot be made.
    """
    if fcntl is None:  # pragma: no cover - Windows
        raise StoreError(
            "The embedded engine needs an operating system with file locks (flock).",
            "Use a Qdrant server's URL as --store.",
        )
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        waited = False
        while not _taken(file, path):
            if not waited:
                waits()
            waited = True
            time.sleep(_TURN_SECONDS)
        yield
    finally:
        os.close(file)


def _taken(file: int, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise _no_locks(path.parent, error) from error
    return True
