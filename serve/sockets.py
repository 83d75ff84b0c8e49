"""Where a server listens and how it is called: known before anything heavy is loaded."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ..schemas.errors import UsageError
from .settings import ServeSettings


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(18)


def address_of(settings: ServeSettings, port: int) -> str:
    """What to open in a browser."""
    host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(settings.host, settings.host)
    shown = f"[{host}]" if ":" in host else host
    token = "" if settings.token is None else f"?token={settings.token}"
    return f"http://{shown}:{port}/{token}"


@contextmanager
def listening(settings: ServeSettings) -> Iterator[socket.socket]:
    """A socket of the address asked for.

    Raises:
        UsageError: it is taken, or is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        opened = socket.create_server(address[:2], family=family, backlog=256)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        what = "is in use" if taken else "cannot be listened on"
        raise UsageError(f"{settings.host} port {settings.port} {what}.", "Choose another --port or --host.") from error
    with opened:
        yield opened
