"""Ctrl-C and child processes: what must not be cut in half, and how a child is started clean."""

from __future__ import annotations

import signal
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_START_LOCK = threading.Lock()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C until the block is left, so that no message is sent or read by half.

    Blocking the signal would not do: the kernel gives it to another of the process's threads, and
    Python raises in the main one all the same.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if in_main else None
    if before is None:  # another thread hears no Ctrl-C; a handler set outside of Python stays
        yield
        return
    caught: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def spawning() -> Iterator[None]:
    """Start a child that neither runs the parent's main module again nor hears an early Ctrl-C.

    Spawned children import the parent's main module in case it defines their entry. Ours is in
    :mod:`store.worker`, and a user's script may load torch, or lack the guard that keeps it from
    starting all over.
    """
    mask = getattr(signal, "pthread_sigmask", None)
    if mask:
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # starting it on the way would unblock the signal
    with _START_LOCK:
        main = sys.modules["__main__"]
        before = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            if mask:
                with suppress(ValueError):
                    mask(signal.SIG_SETMASK, before)
