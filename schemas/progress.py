"""Where long work reports to: one protocol for every part that takes time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Where long work reports to. Phases come one after the other."""

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """A phase begins; ``total`` is ``None`` where it is not known."""

    def advance(self, count: int) -> None:
        """So many more units are done."""

    def finish(self) -> None:
        """The phase has ended; harmless when repeated."""

    def remark(self, text: str) -> None:
        """Something that belongs to the progress, and is not shown where that is not."""

    def note(self, text: str) -> None:
        """Something a user should know, shown in any case."""


class Silent:
    """Says nothing."""

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """See :class:`Progress`."""

    def advance(self, count: int) -> None:
        """See :class:`Progress`."""

    def finish(self) -> None:
        """See :class:`Progress`."""

    def remark(self, text: str) -> None:
        """See :class:`Progress`."""

    def note(self, text: str) -> None:
        """See :class:`Progress`."""


class Noted(Silent):
    """Keeps what is noted, for somebody elsewhere to show."""

    def __init__(self) -> None:
        """Nothing is noted yet."""
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """See :class:`Progress`."""
        self.notes.append(text)


def phase_of(progress: Progress, phase: str, unit: str) -> Callable[[int, int], None]:
    """What tells of a phase by its units done and its units in all; the phase starts with the first call.

    For work whose size only the one who does it knows: a bank is indexed with the rows that it held before.
    """
    shown: int | None = None

    def advanced(done: int, total: int) -> None:
        nonlocal shown
        if shown is None:
            progress.start(phase, total, unit)
        progress.advance(done - (shown or 0))
        shown = done

    return advanced
