"""Where a query reports to."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where a query reports to. Phases come one after the other."""

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """A phase begins; ``total`` is ``None`` where it is not known."""

    def advance(self, count: int) -> None:
        """So many more units are done."""

    def finish(self) -> None:
        """The phase has ended."""

    def remark(self, text: str) -> None:
        """Something to know before what follows."""


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
