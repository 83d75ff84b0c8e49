"""Standard input, output and error of the process: closed, full or left by their reader, and never a run's end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

import click

from ..schemas.errors import UsageError


def keep_streams() -> None:
    """Make a process whose streams are closed, or whose stderr cannot be written, one that works all the same.

    A closed 0, 1 or 2 would be the number of the next file that is opened, a bank's for example, and what a library
    writes to "stderr" would go into it. Here each stands for a file that can neither be read nor written.
    """
    for number, way in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, way), True)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    sys.stderr = _Forgiving(sys.stderr)


class _Forgiving:
    """stderr, of which a message or a bar may be lost, but not the work that it tells of."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def require_stdout() -> None:
    """See that a result has somewhere to go, before the work.

    Raises:
        UsageError: stdout is closed.
    """
    if sys.stdout is None or sys.stdout.closed:
        raise UsageError(
            "Standard output is closed, so the result cannot be written.", "Give --out FILE, or open standard output."
        )


def flush_stdout() -> None:
    """Write what is left now, where an error has a line and an exit code of its own."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def leave_stdout() -> None:
    """Its reader has left: what is still to be written, by Python as it ends, goes nowhere."""
    with suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def confirmed(question: str) -> bool:
    """The answer of whoever sits at stdin.

    Raises:
        click.Abort: nobody does.
    """
    if sys.stdin is None:
        raise click.Abort
    return click.confirm(question, default=False, err=True)
