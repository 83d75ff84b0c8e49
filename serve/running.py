"""From a service to a process that answers: signals, and an end within seconds."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from .routes import application
from .service import Service
from .sockets import address_of

# Seconds that open connections, and then the model's thread, are given at the end.
_GRACE = 2


class Server(uvicorn.Server):
    """uvicorn's, which tells our streams that the end has come: they would keep it waiting."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        """With the event that streams watch."""
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        super().handle_exit(sig, frame)
        self._stopping.set()


def configured(service: Service, stopping: asyncio.Event) -> uvicorn.Config:
    """How uvicorn is used: nothing of it is printed, and no header says what it is."""
    return uvicorn.Config(
        application(service, stopping),
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=service.settings.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=64 * 1024,
    )


def serve(service: Service, opened: socket.socket, say: Callable[[str], None], ready: Callable[[str], None]) -> None:
    """Answer until a signal comes, then end within seconds.

    Args:
        service: what answers; its worker is started here.
        opened: from :func:`listening`.
        say: told what the person who runs it should know.
        ready: told the address once it answers.
    """
    stopping = asyncio.Event()
    server = Server(configured(service, stopping), stopping)
    address = address_of(service.settings, opened.getsockname()[1])
    service.worker.start()
    with _signals_end_quietly():
        threading.Thread(target=_when_ready, args=(server, ready, address), daemon=True).start()
        server.run([opened])
    unfinished = service.worker.stop(_GRACE)
    say("Stopped." if not unfinished else f"Stopped; unfinished readings: {unfinished}.")
    if service.worker.is_alive:
        # In the middle of a forward pass, which cannot be interrupted: the interpreter must not be taken from under it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _when_ready(server: uvicorn.Server, ready: Callable[[str], None], address: str) -> None:
    waiting = threading.Event()
    while not server.started and not server.should_exit:
        waiting.wait(0.02)
    if server.started:
        ready(address)


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Uvicorn raises the signals it has caught again when it has ended; by then all has been done that they ask for."""
    before = {number: signal.signal(number, _noted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _noted(number: int, frame: FrameType | None) -> None:
    return
