"""A log of JSON lines that survives what interrupts it: a line is whole or is not there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from .errors import InputError

T = TypeVar("T")


class JsonLines:
    """Lines that are appended so that they survive a power failure, from any number of threads.

    Args:
        path: of the file; made with the first line.
        hint: what to do about a damaged line.
    """

    def __init__(self, path: Path, hint: str) -> None:
        """Nothing is read or written yet."""
        self.path = path
        self._hint = hint
        self._lock = threading.Lock()

    def read(self, parse: Callable[[str], T]) -> list[T]:
        """Every whole line, parsed; the half line of a run that was killed is cut off.

        Raises:
            InputError: no regular file, unreadable, or a line that is none, by its number.
        """
        if not self.path.exists() and not self.path.is_symlink():
            return []
        if not self.path.is_file():
            raise InputError(f"{self.path} is not a regular file.", "Move it away.")
        try:
            data = self.path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                with self.path.open("r+b") as file:
                    file.truncate(len(whole))
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        return [self._parsed(parse, line, number) for number, line in enumerate(whole.split(b"\n")[:-1], 1)]

    def append(self, lines: Iterable[str]) -> None:
        """Write JSON lines, without their ends, durably.

        Raises:
            OSError: they could not be written.
        """
        text = "".join(f"{line}\n" for line in lines)
        with self._lock, self.path.open("ab") as file:
            file.write(text.encode("ascii", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())

    def _parsed(self, parse: Callable[[str], T], line: bytes, number: int) -> T:
        try:
            return parse(line.decode("utf-8", "replace"))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"Line {number} of {self.path} is damaged ({error}).", self._hint) from error
