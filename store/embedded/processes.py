"""Ctrl-C and child processes: what must not be cut in half, and how a child is started clean."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_START_LOCK = threading.Lock()
_BOOTSTRAP = str(Path(__file__).resolve().parents[2] / "bootstrap.py")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C (and SIGTERM, where it raises) until the block is left: no message is sent or read by half.

    Blocking the signals would not do: the kernel gives them to another of the process's threads,
    and Python raises in the main one all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # another thread hears no signal
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    # SIG_DFL and SIG_IGN raise nothing; a handler set outside of Python (None) stays.
    before = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    caught: list[int] = []
    for number in before:
        signal.signal(number, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


@contextmanager
def spawning() -> Iterator[None]:
    """Start a child that neither runs the parent's main module again nor hears an early Ctrl-C.

    Spawned children import the parent's main module in case it defines their entry. Ours is in
    :mod:`store.embedded.worker`, and a user's script may load torch, or lack the guard that keeps it from
    starting all over. What the child runs in its place makes it import the very package that its parent runs.
    """
    mask = getattr(signal, "pthread_sigmask", None)
    if mask:
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # starting it on the way would unblock the signal
    with _START_LOCK:
        main = sys.modules["__main__"]
        before = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None
        stand_in = types.ModuleType("__main__")
        stand_in.__file__ = _BOOTSTRAP
        sys.modules["__main__"] = stand_in
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            if mask:
                with suppress(ValueError):
                    mask(signal.SIG_SETMASK, before)


def return_freed_memory() -> None:
    """Give freed memory back to the system (glibc keeps it: hundreds of megabytes after a segment is optimised)."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
