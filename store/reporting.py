"""What a transfer tells while it works, and how it learns that it shall end."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class TransferProgress(Protocol):
    """Where a transfer reports to. Phases come one after the other."""

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """A phase begins."""

    def advance(self, count: int) -> None:
        """So many more units are done."""

    def finish(self) -> None:
        """The phase has ended."""

    def note(self, text: str) -> None:
        """Something a user should know."""


class Stopping(Protocol):
    """How a copy learns that it shall end: :class:`ingest.interrupts.Interruption`."""

    @property
    def requested(self) -> bool:
        """Whether it shall end after the portion in hand."""

    def error(self) -> BaseException:
        """What to raise then."""

    def deferred(self) -> AbstractContextManager[None]:
        """A block in which it is asked for, and not raised."""


class NeverStopping:
    """Leaves signals alone."""

    requested = False

    def error(self) -> BaseException:
        """See :class:`Stopping`."""
        return KeyboardInterrupt()

    def deferred(self) -> AbstractContextManager[None]:
        """See :class:`Stopping`."""
        return nullcontext()
