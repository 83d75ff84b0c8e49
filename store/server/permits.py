"""Rows from other processes into banks that one writer holds: workers of a cluster write under its claim.

A worker makes no claim of its own. It looks at the writer's, in the metadata of each collection, before it writes and
every :data:`LOOK_SECONDS` while it does. Where another holder is named, or none, it stops for good. Where the claim is
the writer's but was not renewed for :data:`~store.server.claims.CLAIM_SECONDS`, when others may take the bank, it waits
and looks again: the writer may only have been cut off, and nothing is written meanwhile.

So once another process holds a bank, a worker that has not noticed yet can write for :data:`LOOK_SECONDS` at most, and
the other waits for so long before it writes (:mod:`store.server.lent`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..rows import checked_rows
from .claiming import ClaimLostError, require_held
from .claims import CLAIM_SECONDS, Claim, claims_in
from .connecting import connect
from .connection import Connection
from .options import ServerOptions
from .uploads import Target, Uploads

if TYPE_CHECKING:
    from ..bank import Floats

#: How long a look at the writer's claim is good for.
LOOK_SECONDS = 10.0
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class ServerPermit:
    """See :class:`store.writing.Permit`. It holds no key: that is read where the permit is used.

    Attributes:
        url: of the server.
        options: how to use it.
        targets: the banks by layer.
        dim: width of their vectors.
        batch_rows: in one request, at most.
        claim: the writer's.
        look_seconds: how long a look at that is good for.
    """

    url: str
    options: ServerOptions
    targets: Mapping[int, Target]
    dim: int
    batch_rows: int
    claim: Claim
    look_seconds: float

    def open(self, patience: float | None = None) -> ServerSender:
        """See :meth:`store.writing.Permit.open`."""
        connection = connect(self.url, self.options, patience=patience)
        try:
            return ServerSender(connection, self)
        except BaseException:
            connection.close()
            raise


class ServerSender:
    """See :class:`store.writing.Sender`. For one thread at a time.

    Args:
        connection: to the server; closed with the sender.
        permit: the writer's.
    """

    def __init__(self, connection: Connection, permit: ServerPermit) -> None:
        """Look whether the writer holds the banks.

        Raises:
            ClaimLostError: it does not.
            StoreError: a request failed.
        """
        self._connection = connection
        self._permit = permit
        names = [target.name for target in permit.targets.values()]
        self._watch = Watch(connection, names, permit.claim, permit.look_seconds)
        self._watch.require()
        self._uploads = Uploads(connection, permit.targets, permit.batch_rows, self._watch.require)

    def put(
        self,
        ids: Sequence[str],
        payloads: Sequence[Mapping[str, Any]],
        vectors: Mapping[int, Floats],
        norms: Mapping[int, Floats],
    ) -> None:
        """See :meth:`store.writing.BankWriter.put`."""
        permit = self._permit
        clean, units = checked_rows(ids, payloads, vectors, norms, permit.targets, permit.dim)
        self._uploads.put(ids, clean, units, norms)

    def drain(self) -> None:
        """See :meth:`store.writing.Sender.drain`."""
        self._uploads.drain()

    def close(self) -> None:
        """See :meth:`store.writing.Sender.close`."""
        self._uploads.abort()
        self._uploads.close()  # a request under way has the connection
        self._connection.close()


class Watch:
    """Looks whether a writer still holds its banks; for several threads.

    Args:
        connection: to the server.
        names: of the banks.
        claim: the writer's.
        look_seconds: how long a look is good for.
    """

    def __init__(self, connection: Connection, names: Sequence[str], claim: Claim, look_seconds: float) -> None:
        """Nothing is known yet."""
        self._look_seconds = look_seconds
        self._connection = connection
        self._names = tuple(names)
        self._claim = claim
        self._looked = float("-inf")
        self._lost: ClaimLostError | None = None
        self._turn = threading.Lock()

    def require(self) -> None:
        """Return where the writer holds all banks; called before anything is written.

        Raises:
            ClaimLostError: it does not, or has not renewed its claim for as long as a server is waited for.
            StoreError: the server does not answer.
        """
        with self._turn:
            if self._lost is not None:
                raise ClaimLostError(self._lost.message, self._lost.hint)
            if time.monotonic() - self._looked < self._look_seconds:
                return
            try:
                self._look()
            except ClaimLostError as error:
                self._lost = error
                raise

    def _look(self) -> None:
        began = time.monotonic()
        while True:
            looked = time.monotonic()
            silent = max(self._silent_for(name) for name in self._names)
            if silent <= CLAIM_SECONDS:
                self._looked = looked
                return
            if looked - began > self._connection.options.patience:
                raise ClaimLostError(
                    f"The writer of bank {self._names[0]} on {self._connection.address} ({self._claim.describe()}) has "
                    f"not renewed its claim for {silent:.0f} s.",
                    "When it is gone, run the same command again: it continues from there.",
                )
            time.sleep(_PAUSE)

    def _silent_for(self, name: str) -> float:
        """Seconds since the writer renewed its claim to a bank."""
        metadata = self._connection.metadata(name)
        require_held(self._connection, name, self._claim, metadata)
        seen = next(one.seen for one in claims_in(metadata or {}) if one.token == self._claim.token)
        return time.time() - seen
