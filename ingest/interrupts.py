"""Ctrl-C between batches instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self


class Interruption:
    """Turns the first Ctrl-C into a request to stop; the second one stops at once.

    Only the main thread can do so; elsewhere Ctrl-C stays what it was.

    Attributes:
        requested: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        """Nothing changes before the ``with``."""
        self._before: Any = None
        self.requested = False

    def __enter__(self) -> Self:
        """Listen."""
        # A handler that is not Python's own is somebody's choice (nohup ignores Ctrl-C); leave it.
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop listening."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True  # and nothing more: a handler may run in the middle of a write to stderr
