"""Files that a person asked for: whether one can be written, and writing it whole or not at all.

A file is replaced as a shell's ``>`` would do it (a link stays and what it points at is replaced, permissions
stay), but atomically; and never where that would destroy something: an input, a folder, a device, a FIFO.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from .errors import InputError, StoreFullError, UsageError, is_disk_full
from .names import escaped

#: Standard output, as an option's value.
STDOUT = "-"
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self|proc/\d+)/fd/(\d+)")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def shown_path(path: str | Path) -> str:
    """A path as text that can be written anywhere; see :func:`escaped`."""
    return escaped(str(path))


def kind_of(path: Path) -> str | None:
    """What stands in the way of a regular file: ``a folder``, ``a FIFO`` ...; ``None`` for a file or nothing."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), None)


def standard_input() -> BinaryIO:
    """The bytes of standard input.

    Raises:
        InputError: it is closed.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("Standard input (-) is closed.", "Give the name of a file, or pipe data into the command.")
    return sys.stdin.buffer


def read_given(path: Path, longest: int) -> bytes:
    """All bytes of a file that was named as an input: a regular file, a FIFO such as ``<(...)``, or ``-``.

    Args:
        path: as typed.
        longest: bytes that it may have.

    Raises:
        InputError: it is missing, a folder, device or socket, larger, or cannot be read.
    """
    shown = shown_path(path)
    if str(path) == STDOUT:
        data = standard_input().read(longest + 1)
    else:
        kind = kind_of(path)
        if kind not in (None, "a FIFO"):
            raise InputError(f"{shown} is {kind}; expected a file.", "Give a file's name.")
        try:
            with path.open("rb") as file:
                data = file.read(longest + 1)
        except OSError as error:
            raise InputError(f"{shown} cannot be read: {error.strerror or error}.", "Check the path.") from error
        except ValueError as error:
            raise InputError(f"{shown} cannot be a file's name: {error}.", "Check the path.") from error
    if len(data) > longest:
        raise InputError(f"{shown} has more than {longest >> 20:,} MiB.", "Check that it is the right file.")
    return data


def stream_of(path: str | Path) -> int | None:
    """The open file that a name stands for: 1 for ``-`` and ``/dev/stdout``, N for ``/dev/fd/N``."""
    text = str(path)
    if text == STDOUT:
        return 1
    found = _DESCRIPTOR.fullmatch(text)
    return int(found[1]) if found and len(found[1]) < 8 else _STREAMS.get(text)


def require_writable(path: str | Path, inputs: Iterable[str | Path] = (), what: str = "--out") -> None:
    """See that a file can be written, before the work that makes it.

    Args:
        path: of the file; also ``-`` and the names of open files.
        inputs: files of the same command, and folders of which every file is one.
        what: the option or argument that named it.

    Raises:
        UsageError: its folder is missing or cannot be written; it is a folder, device, FIFO or socket, or an input.
        StoreFullError: the disk has no room.
    """
    shown = shown_path(path)
    number = stream_of(path)
    if number is not None:
        try:
            os.fstat(number)
        except OSError as error:
            raise UsageError(f"{what} {shown} is not open.", "Give a file's name.") from error
        return
    if str(path) == os.devnull:
        return
    target = _target(path, what)
    kind = kind_of(target)
    if kind:
        raise UsageError(
            f"{what} {shown} is {kind}; expected the name of a file.", "Give another name, or - for stdout."
        )
    folder = target.parent
    if not folder.is_dir():
        raise UsageError(f"There is no folder {shown_path(folder)} for {what} {shown}.", "Make it, or give another.")
    for source in inputs:
        if _is_input(target, Path(source)):
            raise UsageError(
                f"{what} {shown} is an input of this command ({shown_path(source)}), which must not be overwritten.",
                "Give another name.",
            )
    if not os.access(folder, os.W_OK | os.X_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise UsageError(f"{what} {shown} cannot be written: no permission.", "Give another name.")
    _require_room(folder, f"{what} {shown}")


def require_folder(path: str | Path, what: str = "--out") -> None:
    """See that a folder for results is there or can be made, before the work.

    Raises:
        UsageError: something else has its name; it cannot be written.
        StoreFullError: the disk has no room.
    """
    shown = shown_path(path)
    if not str(path):
        raise UsageError(f"{what} is empty; expected the name of a folder.")
    folder = Path(path)
    while not _exists(folder, what):
        if folder.is_symlink():
            raise UsageError(f"{what} {shown} is a broken link.", "Give another folder.")
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(
            f"{what} {shown} cannot be a folder: {shown_path(folder)} is not a folder.", "Give another one."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{what} {shown} cannot be written: no permission.", "Give another folder.")
    _require_room(folder, f"{what} {shown}")


def write_whole(path: str | Path, content: str | bytes, inputs: Iterable[str | Path] = ()) -> None:
    """Write a file whole or not at all; text as UTF-8, what UTF-8 lacks escaped.

    Args:
        path: of the file; also ``-`` and the names of open files, which are written to.
        content: all of it.
        inputs: as in :func:`require_writable`.

    Raises:
        UsageError, StoreFullError: as :func:`require_writable`.
        StoreFullError: the disk became full; what was there is as it was.
        OSError: it could not be written; likewise.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    number = stream_of(path)
    if number is not None or str(path) == os.devnull:
        require_writable(path)
        _write_stream(number, data)
        return
    with opened_whole(path, inputs) as file:
        file.write(data)


@contextmanager
def opened_whole(path: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name when the block ends well; as :func:`write_whole`.

    Raises:
        UsageError, StoreFullError, OSError: as :func:`write_whole`.
    """
    require_writable(path, inputs)
    try:
        with _replacing(_target(path, "--out")) as file:
            yield file
    except OSError as error:
        if is_disk_full(error):
            raise StoreFullError(
                f"{shown_path(path)} could not be written: {error.strerror}.", "Free some space, or write elsewhere."
            ) from error
        raise


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    # A name that nobody else has: FILE.part could be somebody's.
    number, name = tempfile.mkstemp(prefix=".lensbank-", suffix=".part", dir=target.parent)
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(_mode(target))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def partial_folder(target: Path) -> Path:
    """A new empty folder beside ``target``, to be renamed to it; its name is nobody else's.

    Raises:
        OSError: it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}-", suffix=".partial", dir=target.parent))


def usual_mode(folder: bool = False) -> int:
    """Permissions that a new file or folder has by this process's umask."""
    mask = os.umask(0o022)
    os.umask(mask)
    return (0o777 if folder else 0o666) & ~mask


def _mode(target: Path) -> int:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return usual_mode()


def _target(path: str | Path, what: str) -> Path:
    """Where a shell's redirection would write: links are followed."""
    if not str(path):
        raise UsageError(f"{what} is empty; expected the name of a file.")
    if str(path).endswith(("/", os.sep)):
        raise UsageError(
            f"{what} {shown_path(path)} is the name of a folder; expected the name of a file.", "Leave out the slash."
        )
    try:
        return Path(os.path.realpath(path, strict=False)) if Path(path).is_symlink() else Path(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} {shown_path(path)!r} cannot be a file's name: {error}.") from error


def _exists(path: Path, what: str) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} {shown_path(path)!r} cannot be a file's name: {error}.") from error


def _is_input(target: Path, source: Path) -> bool:
    try:
        if source.is_dir():
            return target.exists() and target.resolve().is_relative_to(source.resolve())
        return target.samefile(source)
    except (OSError, ValueError):
        return False


def _require_room(folder: Path, what: str) -> None:
    with suppress(OSError):
        if os.statvfs(folder).f_bavail == 0:
            raise StoreFullError(f"The disk of {what} is full.", "Free some space, or write elsewhere.")


def _write_stream(number: int | None, data: bytes) -> None:
    if number is None:
        return
    if number == 1 and sys.stdout is not None and getattr(sys.stdout, "buffer", None) is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)  # ours, also where a program has redirected it
        sys.stdout.flush()
        return
    with os.fdopen(os.dup(number), "wb") as file:
        file.write(data)
