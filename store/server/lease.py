"""The right to write some banks, renewed in the background as long as it is wanted."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from ...schemas.errors import StoreError
from . import claiming, claims
from .claiming import ClaimLostError
from .claims import Claim
from .connection import Connection
from .lent import LENT_KEY, mark, wait_for_others

_RENEW_SECONDS = 30.0
# After this long without a renewal, there must be one before anything is written: others take over after
# `CLAIM_SECONDS`, and clocks may differ.
_SURE_SECONDS = 60.0


class Lease:
    """A claim to each of some banks.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: Connection) -> None:
        """Nothing is held yet."""
        self._connection = connection
        self._claim = Claim()
        self._names: list[str] = []
        self._taken: list[str] = []
        self._lent: float | None = None
        self._renewed = _now()
        self._lost: ClaimLostError | None = None
        self._ended = threading.Event()
        self._turn = threading.Lock()
        # A daemon: a program that forgets to release must still be able to end.
        self._thread = threading.Thread(target=self._keep_renewing, name="lensbank-claim", daemon=True)
        claims.want(self._claim)

    @property
    def claim(self) -> Claim:
        """Whose it is; for others who write under it (:mod:`store.server.permits`)."""
        return self._claim

    def entries(self) -> dict[str, Any]:
        """Metadata that makes a new collection this lease's from its first moment on; then :meth:`hold` it."""
        return self._claim.entries(held=True)

    def has_made(self, name: str) -> bool:
        """Whether a collection was made with :meth:`entries`.

        Raises:
            StoreError: a request failed.
        """
        return self._claim.key in (self._connection.metadata(name) or {})

    def take(self, name: str) -> None:
        """Hold a bank that exists; then :meth:`settle`.

        Raises:
            StoreLockedError: another process writes it.
            StoreError: a request failed.
        """
        claiming.take(self._connection, name, self._claim)
        self._taken.append(name)
        self.hold(name)

    def settle(self) -> None:
        """Return when nobody writes the banks that were taken whom an earlier holder had let in.

        Raises:
            GaveUpError: somebody has asked for an end meanwhile.
            StoreError: a request failed.
        """
        wait_for_others(self._connection, self._taken)
        self._taken = []

    def lend(self, seconds: float) -> None:
        """Let others write all banks, who look at the claim as often as said (:mod:`store.server.lent`).

        Raises:
            StoreError: a request failed.
        """
        for name in self._names:
            self._connection.update_metadata(name, mark(seconds), before=self.require)
        self._lent = seconds

    def recall(self) -> None:
        """Nobody else writes the banks any more: all that they were to write is there.

        Raises:
            StoreError: a request failed.
        """
        if self._lent is not None:
            for name in self._names:
                self._connection.update_metadata(name, {LENT_KEY: None}, before=self.require)
            self._lent = None

    def hold(self, name: str) -> None:
        """Renew the claim to this bank from now on."""
        self._names.append(name)
        if not self._thread.is_alive():
            self._thread.start()

    def require(self) -> None:
        """Return where all banks are still held; to be called before anything is written.

        Raises:
            ClaimLostError: another process may write one.
            StoreError: the server does not answer.
        """
        if self._lost is not None or _since(self._renewed) > _SURE_SECONDS:
            self._renew()

    def release(self) -> None:
        """Let go of all banks; where the server does not answer, the claims will grow old. Repeatable."""
        self._ended.set()
        try:
            with self._turn:
                while self._names:
                    with suppress(StoreError):
                        self._withdraw(self._names.pop())
        finally:
            claims.let_go(self._claim)

    def _withdraw(self, name: str) -> None:
        if self._lent is not None and self._lost is None:
            self._connection.update_metadata(name, mark(self._lent, ended=True), patience=0)
        claiming.withdraw(self._connection, name, self._claim, patience=0)

    def _keep_renewing(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            try:
                self._renew()
            except ClaimLostError:
                return  # `require` tells
            except StoreError:
                continue  # the server is away, for others as well

    def _renew(self) -> None:
        with self._turn:
            if self._lost is not None:
                raise ClaimLostError(self._lost.message, self._lost.hint)
            began = _now()
            if _since(self._renewed) < _RENEW_SECONDS / 2:
                return  # another thread has been here
            try:
                for name in tuple(self._names):
                    claiming.renew(self._connection, name, self._claim, self._ended)
            except ClaimLostError as error:
                self._lost = error
                raise
            self._renewed = began


def _now() -> tuple[float, float]:
    """The time by two clocks: one stands still while a machine sleeps, the other can be set."""
    return time.monotonic(), time.time()


def _since(then: tuple[float, float]) -> float:
    return max(now - before for now, before in zip(_now(), then, strict=True))
