"""Reaching a Qdrant server: its version, its two ports, and that both are the server that was asked."""

from __future__ import annotations

import os
import socket
import warnings
from typing import TYPE_CHECKING, Any

from ...schemas.errors import StoreError, UsageError
from ...schemas.files import kind_of
from .address import KEY_VARIABLE, ServerAddress, read_address
from .connection import Connection, Notify
from .faults import read_fault
from .lasting import ProvenClient
from .options import ServerOptions
from .proof import NotShownError, UnansweredError, require_same
from .refusals import UntrustedError
from .scheme import speaks_http, speaks_tls

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

#: Collection metadata, which holds a bank's identity, came with this version.
OLDEST = (1, 16)
# The first request of a command should fail at once where there is no server, but not for a hiccup.
_CONNECT_PATIENCE = 2.0
_PROBE_SECONDS = 3.0
# How long a server that was started again may take to listen on its second port, before rows go over REST.
_BACK_WITHIN = 10.0


def connect(
    url: str, options: ServerOptions, notify: Notify | None = None, patience: float | None = None
) -> Connection:
    """Reach a server over REST and see what it is; gRPC is looked for when rows travel.

    Where only gRPC may be used, it is looked for at once.

    Args:
        url: of the server.
        options: how to use it.
        notify: told what the user should know.
        patience: seconds to wait for it at first, at most those of all other requests; by default few.

    Raises:
        StoreError: it cannot be reached, refuses the key, is too old, or is no Qdrant server;
            ``protocol=grpc`` and the gRPC port cannot be shown to be the same server.
        UsageError: the address or the certificate file cannot be used.
    """
    address = read_address(url)
    key = os.environ.get(KEY_VARIABLE) or None
    if key and not address.secure and not address.is_local and notify:
        notify(
            f"The key in {KEY_VARIABLE} is sent unencrypted to {address.url}; use https if others can read the "
            "network traffic."
        )
    client = _client(address, options, key)
    patience = min(_CONNECT_PATIENCE if patience is None else patience, options.patience)
    try:
        version = _require_version(Connection(client, address.url, options, notify=notify), address, patience)

        def find_grpc(
            connection: Connection, bank: str | None, lost: ProvenClient | None, lost_for: float
        ) -> ProvenClient | None:
            return _find_grpc(connection, address, key, bank, lost, lost_for)

        # Behind a path stands a proxy, of which nobody knows where it passes gRPC on.
        looks = options.protocol == "grpc" or (
            options.protocol == "auto" and (not address.path or options.grpc_port is not None)
        )
        connection = Connection(client, address.url, options, version, notify, find_grpc if looks else None)
        connection.call(lambda c: c.get_collections(), patience)  # the version needs no key, this does
        if options.protocol == "grpc":
            connection.protocol_for(None)
    except BaseException:
        client.close()
        raise
    return connection


def _find_grpc(
    connection: Connection,
    address: ServerAddress,
    key: str | None,
    bank: str | None,
    known: ProvenClient | None,
    lost_for: float,
) -> ProvenClient | None:
    """A client for the rows, shown to reach the same server.

    Args:
        connection: over REST.
        address: of the server.
        key: its key.
        bank: that is there, if one is known.
        known: what was shown before, whose connection was lost; shown again.
        lost_for: seconds since that was seen.

    Returns:
        ``None`` where that cannot be shown, and REST will do; the user is told.

    Raises:
        ConnectionError: what was lost may come back.
        StoreError: REST may not be used.
    """
    options = connection.options
    port = options.grpc_port or address.port + 1
    made = known
    try:
        if made is None:
            _require_trusted(address, options, key, port)
            made = ProvenClient(*(_client(address, options, key, grpc_port=port) for _ in range(2)))
            # Made on first use, which must not be by several threads at once.
            made.client.grpc_points, made.client.grpc_collections  # noqa: B018
        _probe(made.watch, address.host, port)
        require_same(connection, made.client, bank)
        made.proof += 1
    except NotShownError as error:
        said = error.message.rstrip(".")
        why = f"lensbank could not confirm that gRPC port {port} belongs to the Qdrant server {address.url}: {said}."
        if known is None:
            if made is not None:
                made.close()
        elif error.passing and (options.protocol == "grpc" or lost_for < _BACK_WITHIN):
            raise ConnectionError(why) from error
        if options.protocol == "grpc":
            raise StoreError(
                why,
                "No row was sent there. Name the gRPC port (--server grpc-port=...), or use --server protocol=rest.",
            ) from error
        connection.say(
            f"{why} Rows are sent over REST instead. To avoid this note, give --server grpc-port=... or protocol=rest."
        )
        return None
    except BaseException:
        if made is not None and known is None:
            made.close()
        raise
    return made


def _require_trusted(address: ServerAddress, options: ServerOptions, key: str | None, port: int) -> None:
    """Look at a port before a key goes there.

    Nothing that a server tells without its key shows which one it is. So a key goes to a port that
    the user has named, or whose certificate is that of the host; never to one that is only guessed.

    Raises:
        NotShownError: there is none, nothing answers, or the key may not go there.
    """
    if port >= 1 << 16:
        raise NotShownError("there is no such port")
    if key is None:
        return
    keyless = _client(address, options, None, grpc_port=port)
    try:
        _probe(keyless, address.host, port)
    finally:
        keyless.close()
    if not address.secure and options.grpc_port is None:
        raise NotShownError(
            f"this needs the key in {KEY_VARIABLE}, which lensbank sends over plain http only to a port that you named"
        )


def _client(
    address: ServerAddress, options: ServerOptions, key: str | None, grpc_port: int | None = None
) -> QdrantClient:
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
        if kind := kind_of(options.ca_file):  # it is read twice, and a device would never end
            raise UsageError(f"The certificates {options.ca_file} are {kind}; expected a file.", "Give a PEM file.")
        try:
            grpc_options["root_certificates"] = options.ca_file.read_bytes()
            rest["verify"] = ssl.create_default_context(cafile=str(options.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"The certificates {options.ca_file} cannot be read: {error}.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about keys over http: said once, by us
        return QdrantClient(
            url=address.url,
            port=address.port,
            api_key=key,
            prefer_grpc=grpc_port is not None,
            grpc_port=grpc_port or address.port,  # the client wants a number; without gRPC it is not used
            grpc_options=grpc_options,
            timeout=max(1, round(options.timeout)),
            # One channel, one connection: what was shown of it holds for every request.
            pool_size=options.streams + 1 if grpc_port is None else 1,
            check_compatibility=False,  # the version is looked at below
            **rest,
        )


def _require_version(connection: Connection, address: ServerAddress, patience: float) -> tuple[int, int]:
    """The server's version, if it is one that can hold banks."""
    try:
        info = connection.call(lambda c: c.info(), patience)
    except UntrustedError:
        raise
    except StoreError as error:
        raise _other_scheme(address) or error from error
    try:
        major, minor = (int(part) for part in info.version.split(".")[:2])
    except (AttributeError, ValueError) as error:
        raise StoreError(
            f"{connection.address} does not answer like a Qdrant server (version {info.version!r}).",
            "Example: http://localhost:6333",
        ) from error
    if (major, minor) < OLDEST:
        raise StoreError(
            f"The Qdrant server {connection.address} has version {info.version}; expected {OLDEST[0]}.{OLDEST[1]} or "
            "newer, because banks keep their records in collection metadata.",
            "Update the server, or use a folder as --store.",
        )
    return major, minor


def _other_scheme(address: ServerAddress) -> StoreError | None:
    """The error to show where http was meant instead of https, or the reverse."""
    rest = address.url.partition("://")[2]
    if address.secure:
        if speaks_tls(address.host, address.port) or not speaks_http(address.host, address.port):
            return None
        return StoreError(f"The server at {address.url} answers in plain http, not in https.", f"Write http://{rest}")
    if not speaks_tls(address.host, address.port):
        return None
    return StoreError(f"The server at {address.url} answers in https, not in plain http.", f"Write https://{rest}")


def _probe(client: QdrantClient, host: str, port: int) -> None:
    """Ask for something over gRPC that needs no key and says nothing of the server but its version.

    Raises:
        UnansweredError: nothing answers.
    """
    try:
        # A port that swallows packets would keep gRPC waiting for its own, longer, time.
        socket.create_connection((host, port), _PROBE_SECONDS).close()
        client.info()
    except Exception as error:
        if read_fault(error).kind == "denied":  # who refuses a key that was not sent answers
            return
        raise UnansweredError(f"the server does not answer over gRPC ({read_fault(error).text})") from error
