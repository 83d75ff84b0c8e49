"""Whether a gRPC connection is still the one that was shown to reach the server.

gRPC connects again by itself, to whatever listens by then: a server that was started again, or
another one that took its port. So a second channel to the same port is connected at the proof and
never used after it. It stays connected for as long as the process at the other end lives, and
once it has lost its connection it does not connect again, however quickly the first one does.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


C_contra = TypeVar("C_contra", contravariant=True)
C = TypeVar("C")


class ProvenClient:
    """A client for the rows, and the channel that tells when what it has been shown of no longer counts.

    Args:
        client: for the rows, with one channel.
        watch: of the same port; asked before every proof, and for nothing else.

    Attributes:
        proof: how often it has been shown to reach the server.
    """

    def __init__(self, client: QdrantClient, watch: QdrantClient) -> None:
        """Nothing is asked."""
        self.client = client
        self.watch = watch
        self.proof = 0

    @property
    def lasts(self) -> bool:
        """Whether no connection was lost since the proof; asks nothing of the server."""
        return _is_connected(self.watch)

    def close(self) -> None:
        """Close both."""
        self.client.close()
        self.watch.close()


class FindGrpc(Protocol[C_contra]):
    """Finds what the rows travel by."""

    def __call__(
        self, connection: C_contra, bank: str | None, lost: ProvenClient | None, lost_for: float
    ) -> ProvenClient | None:
        """Look for it.

        Args:
            connection: over REST.
            bank: that is there, if one is known.
            lost: what was found before, and has lost its connection.
            lost_for: seconds since that was seen.
        """


class GrpcSide(Generic[C]):
    """What the rows of a connection travel by, found when the first of them do and shown again after every loss.

    Args:
        connection: over REST.
        find: see :class:`FindGrpc`; ``None`` where rows go over REST.
    """

    def __init__(self, connection: C, find: FindGrpc[C] | None) -> None:
        """Nothing is looked for yet."""
        self._connection = connection
        self._find = find
        self._found: ProvenClient | None = None
        self._lost_at = 0.0
        self._lock = threading.Lock()

    def proven(self, bank: str | None) -> ProvenClient | None:
        """A client that has been shown to reach the server, or ``None`` for REST.

        Raises:
            ConnectionError: its connection was lost, and it may come back.
            StoreError: only gRPC may be used, and it cannot be shown to reach this server.
        """
        with self._lock:
            lost = self._found
            if self._find is None or (lost is not None and lost.lasts):
                return lost
            now = time.monotonic()
            self._lost_at = self._lost_at or now
            self._found = self._find(self._connection, bank, lost, now - self._lost_at)
            self._lost_at = 0.0
            if self._found is None:
                self._find = None
                if lost is not None:
                    lost.close()
            return self._found

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            self._find = None
            if self._found is not None:
                self._found.close()


def _is_connected(client: QdrantClient) -> bool:
    import grpc

    (channel,) = client._client._grpc_channel_pool  # type: ignore[attr-defined]
    core: Any = channel
    while not hasattr(core, "check_connectivity_state"):  # interceptors, and what grpc wraps its own in
        core = core._channel
    # One of grpc's public states, by its number; the public way to it is a thread that looks five times a second.
    return bool(core.check_connectivity_state(False) == grpc.ChannelConnectivity.READY.value[0])
