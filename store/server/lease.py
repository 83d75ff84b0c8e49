"""One writer per bank on a server: a note in the collection's metadata, renewed while it writes.

A server has no lock to offer. The note names the machine and the process, so that the bank of a
process that was killed is free at once on its own machine, and elsewhere when the note is old.
Clocks of the machines should agree within a minute.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...schemas.errors import StoreError, StoreLockedError
from ..liveness import is_alive
from .connection import Connection

LEASE_KEY = "lensbank_writer"
LEASE_SECONDS = 120.0
_RENEW_SECONDS = 30.0
# The leases of this process that somebody still holds, by their tokens.
_HELD: set[str] = set()


class Lease:
    """The right to write some banks.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: Connection) -> None:
        """Nothing is held yet."""
        self._connection = connection
        self._names: list[str] = []
        self._token = uuid.uuid4().hex
        self._renewed = 0.0

    def describe(self) -> dict[str, Any]:
        """Who writes, for a collection's metadata."""
        return {"node": platform.node(), "pid": os.getpid(), "token": self._token, "seen": round(time.time(), 3)}

    def take(self, name: str) -> None:
        """Hold a bank that exists.

        Raises:
            StoreLockedError: another process writes it.
            StoreError: a request failed.
        """
        require_free(self._connection, name, self._metadata(name))
        self._connection.update_metadata(name, {LEASE_KEY: self.describe()})
        # Two who looked at the same moment both wrote; the later note counts.
        found = self._metadata(name).get(LEASE_KEY) or {}
        if found.get("token") != self._token:
            raise _refusal(self._connection, name, found)
        self.hold([name])

    def hold(self, names: Sequence[str]) -> None:
        """Renew these banks from now on: they bear the note."""
        _HELD.add(self._token)
        self._names += names
        self._renewed = self._renewed or time.monotonic()

    def renew(self) -> None:
        """Say that the writer is alive, where it has not been said for a while.

        Raises:
            StoreError: a request failed.
        """
        if time.monotonic() - self._renewed < _RENEW_SECONDS:
            return
        for name in self._names:
            self._connection.update_metadata(name, {LEASE_KEY: self.describe()})
        self._renewed = time.monotonic()

    def release(self) -> None:
        """Let go of all banks; where the server does not answer, the note will grow old."""
        _HELD.discard(self._token)
        while self._names:
            name = self._names.pop()
            with suppress(StoreError):
                if (self._metadata(name, patience=0).get(LEASE_KEY) or {}).get("token") == self._token:
                    self._connection.update_metadata(name, {LEASE_KEY: None}, patience=0)

    def _metadata(self, name: str, patience: float | None = None) -> dict[str, Any]:
        return self._connection.metadata(name, patience) or {}


def require_free(connection: Connection, name: str, metadata: Mapping[str, Any]) -> None:
    """Refuse a bank that somebody writes.

    Raises:
        StoreLockedError: its note is fresh, and not of a process of this machine that has ended.
    """
    lease = metadata.get(LEASE_KEY) or {}
    if not lease or time.time() - float(lease.get("seen", 0)) > LEASE_SECONDS:
        return
    if lease.get("node") == platform.node() and not _runs(int(lease.get("pid", 0)), str(lease.get("token"))):
        return
    raise _refusal(connection, name, lease)


def _runs(pid: int, token: str) -> bool:
    """Whether the writer of a note of this machine may still be there."""
    if pid == os.getpid():
        return token in _HELD  # it may have let go while the server was away
    return is_alive(pid)


def _refusal(connection: Connection, name: str, lease: Mapping[str, Any]) -> StoreLockedError:
    return StoreLockedError(
        f"Bank {name} on {connection.address} is being written by process {lease.get('pid')} on {lease.get('node')}.",
        f"Wait until it has finished. If it was killed, its claim ends {LEASE_SECONDS:.0f} s after it last wrote.",
    )
