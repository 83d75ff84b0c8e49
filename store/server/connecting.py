"""Reaching a Qdrant server: its address, its version, and whether it speaks gRPC."""

from __future__ import annotations

import os
import socket
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from ...schemas.errors import StoreError, UsageError
from .connection import KEY_VARIABLE, Connection, Notify
from .faults import read_fault
from .options import ServerOptions

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

#: Collection metadata, which holds a bank's identity, came with this version.
OLDEST = (1, 16)
_LOCAL = ("localhost", "127.0.0.1", "::1")
# The first request of a command should fail at once where there is no server, but not for a hiccup.
_CONNECT_PATIENCE = 2.0
_PROBE_SECONDS = 3.0


def connect(url: str, options: ServerOptions, notify: Notify | None = None) -> Connection:
    """Reach a server, see what it is, and choose the protocol.

    Raises:
        StoreError: it cannot be reached, refuses the key, is too old, or is no Qdrant server.
        UsageError: the address or the certificate file cannot be used.
    """
    parts, address = _split(url)
    key = os.environ.get(KEY_VARIABLE) or None
    if key and parts.scheme == "http" and parts.hostname not in _LOCAL and notify:
        notify(f"The key in {KEY_VARIABLE} travels unencrypted to {address}; use https where others can listen.")
    rest = Connection(_client(url, options, key, prefer_grpc=False), address, options, notify=notify)
    version = _require_version(rest)
    rest.call(lambda c: c.get_collections(), _CONNECT_PATIENCE)  # the version needs no key, this does
    if options.protocol == "rest" or (options.protocol == "auto" and parts.path.strip("/")):
        return Connection(rest.client, address, options, "rest", version, notify)
    client = _client(url, options, key, prefer_grpc=True)
    try:
        _probe_grpc(client, parts.hostname or "", options.grpc_port)
    except Exception as error:
        client.close()
        if options.protocol == "grpc":
            raise StoreError(
                f"The Qdrant server {address} does not answer over gRPC at port {options.grpc_port}: "
                f"{read_fault(error).text}.",
                "Open that port, name another (--server grpc-port=...), or use --server protocol=rest.",
            ) from error
        return Connection(rest.client, address, options, "rest", version, notify)
    rest.client.close()
    return Connection(client, address, options, "grpc", version, notify)


def _split(url: str) -> tuple[SplitResult, str]:
    """The address in parts, and as it may be shown."""
    parts = urlsplit(url)
    try:
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise UsageError(f"The server's URL has no valid port: {error}.", "Example: http://localhost:6333") from error
    if parts.username or parts.password:
        raise UsageError(
            f"The server's URL ({parts.scheme}://...@{parts.hostname}) holds a user or a password, which Qdrant "
            "does not use.",
            f"Put the server's key into {KEY_VARIABLE}.",
        )
    if not parts.hostname:
        raise UsageError(f"{url!r} is not a server's URL.", "Example: http://localhost:6333")
    return parts, f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _client(url: str, options: ServerOptions, key: str | None, prefer_grpc: bool) -> QdrantClient:
    import ssl

    from qdrant_client import QdrantClient

    # A connection that has died without a word is found by asking, not by waiting for its deadline.
    grpc_options: dict[str, Any] = {
        "grpc.keepalive_time_ms": 20_000,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.initial_reconnect_backoff_ms": 200,
        "grpc.max_reconnect_backoff_ms": 5_000,
    }
    rest: dict[str, Any] = {}
    if options.ca_file is not None:
        try:
            grpc_options["root_certificates"] = options.ca_file.read_bytes()
            rest["verify"] = ssl.create_default_context(cafile=str(options.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"The certificates {options.ca_file} cannot be read: {error}.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about keys over http: said once, by us
        return QdrantClient(
            url=url,
            api_key=key,
            prefer_grpc=prefer_grpc,
            grpc_port=options.grpc_port,
            grpc_options=grpc_options,
            timeout=max(1, round(options.timeout)),
            pool_size=options.streams + 1,
            check_compatibility=False,  # the version is looked at below
            **rest,
        )


def _require_version(connection: Connection) -> tuple[int, int]:
    """The server's version, if it is one that can hold banks."""
    info = connection.call(lambda c: c.info(), _CONNECT_PATIENCE)
    try:
        major, minor = (int(part) for part in info.version.split(".")[:2])
    except (AttributeError, ValueError) as error:
        raise StoreError(
            f"{connection.address} does not answer like a Qdrant server (version {info.version!r}).",
            "Example: http://localhost:6333",
        ) from error
    if (major, minor) < OLDEST:
        raise StoreError(
            f"The Qdrant server {connection.address} has version {info.version}; a bank's identity is kept in "
            f"collection metadata, which came with {OLDEST[0]}.{OLDEST[1]}.",
            "Update the server, or use a folder as --store.",
        )
    return major, minor


def _probe_grpc(client: QdrantClient, host: str, port: int) -> None:
    """Ask for something over gRPC; raises where nothing answers.

    Raises:
        Exception: of the network or of the client.
    """
    # A port that swallows packets would keep gRPC waiting for its own, longer, time.
    socket.create_connection((host, port), _PROBE_SECONDS).close()
    client.info()
    # Made on first use, which must not be by several threads at once.
    client.grpc_points, client.grpc_collections  # noqa: B018
