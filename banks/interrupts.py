"""Ctrl-C and SIGTERM: between batches instead of in the middle of one, and with a word about what is stored."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from ..schemas.errors import GaveUpError

if TYPE_CHECKING:
    from typing import Self


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it before a job's time is up.

    Attributes:
        exit_code: what a shell reports for it.
    """

    exit_code = 128 + signal.SIGTERM


class Interruption:
    """Makes SIGTERM an exception as Ctrl-C is one, and puts both off where asked to.

    Only the main thread can do so, and only where nobody else has chosen what these signals do
    (``nohup`` ignores Ctrl-C); elsewhere they stay what they were.
    """

    def __init__(self) -> None:
        """Nothing changes before the ``with``."""
        self._before: dict[int, Any] = {}
        self._deferring = False
        self._heard: int | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal was put off."""
        return self._heard is not None

    def error(self) -> KeyboardInterrupt:
        """What to raise for the signal that was put off."""
        return _error(self._heard)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Put the first signal off to the end of the block; the second one stops at once.

        Raises:
            KeyboardInterrupt: at the end, where a signal came and the block did not act on it, or where a server
                would have had to be waited for.
        """
        self._deferring = True
        try:
            yield
        except GaveUpError as error:
            if self.requested:
                raise self.error() from error
            raise
        finally:
            self._deferring = False
        if self.requested:
            raise self.error()

    def __enter__(self) -> Self:
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) is usual:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop listening."""
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._deferring or self.requested:
            raise _error(number)
        self._heard = number  # and nothing more: a handler may run in the middle of a write to stderr


def _error(number: int | None) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
