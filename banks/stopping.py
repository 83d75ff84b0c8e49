"""How long work learns that it shall end."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Stopping(Protocol):
    """How a copy learns that it shall end: :class:`banks.interrupts.Interruption`."""

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
