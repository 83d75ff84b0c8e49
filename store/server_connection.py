"""A connection to a Qdrant server that waits for it, and says so."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from schemas.collection import BankRecord
from schemas.errors import LensbankError, StoreError, StoreFullError, UsageError
from store.server_faults import Fault, read_fault
from store.server_options import ServerOptions

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

T = TypeVar("T")
#: Called with a line for the user.
Notify = Callable[[str], None]

METADATA_KEY = "lensbank"
#: Collection metadata, which holds a bank's identity, came with this version.
OLDEST = (1, 16)
_KEY_VARIABLE = "QDRANT_API_KEY"
_LOCAL = ("localhost", "127.0.0.1", "::1")
# The first request of a command should fail at once where there is no server, but not for a hiccup.
_CONNECT_PATIENCE = 2.0
_PROBE_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
# An error inside the server may pass (it restarts, a shard recovers) or never will.
_BROKEN_ATTEMPTS = 6
# A shorter wait is not worth a line.
_NOTE_AFTER = 3.0


class TooLargeError(StoreError):
    """A request that the server takes only in smaller pieces."""


class CollectionExistsError(StoreError):
    """A collection of that name is there."""


class GaveUpError(StoreError):
    """The one who asked no longer wants the answer."""


class Connection:
    """A client, the server's version, and the address as it may be shown: without credentials.

    Args:
        client: connected.
        address: for messages.
        options: timeouts and patience.
        protocol: ``grpc`` or ``rest``, for the rows.
        version: of the server, major and minor; ``None`` for the client's local mode.
        notify: told when the server keeps one waiting.
    """

    def __init__(
        self,
        client: QdrantClient,
        address: str,
        options: ServerOptions | None = None,
        protocol: str = "rest",
        version: tuple[int, int] | None = None,
        notify: Notify | None = None,
    ) -> None:
        """Nothing is requested yet."""
        self.client = client
        self.address = address
        self.options = options or ServerOptions()
        self.protocol = protocol
        self.version = version
        self._notify = notify
        self._told_until = 0.0
        self._reached = False
        self._lock = threading.Lock()
        # The client's local mode loses rows when two threads write.
        self._turns: AbstractContextManager[Any] = threading.RLock() if version is None else nullcontext()

    def call(
        self,
        work: Callable[[QdrantClient], T],
        patience: float | None = None,
        stop: threading.Event | None = None,
    ) -> T:
        """Run one request that may be repeated, again and again where the server is not there.

        Args:
            work: the request; harmless when the server gets it twice.
            patience: seconds to wait for the server; default from the options.
            stop: when set, gives up.

        Raises:
            TooLargeError: the server takes it in smaller pieces only.
            CollectionExistsError: something of that name is there.
            StoreFullError: the server's disk is full.
            StoreError: the server refuses, or did not answer in time.
        """
        limit = self.options.patience if patience is None else patience
        began, pause, attempts = time.monotonic(), _FIRST_PAUSE, 0
        while True:
            try:
                with self._turns:
                    result = work(self.client)
            except LensbankError:
                raise
            except Exception as error:
                fault = read_fault(error)
                attempts += 1
                waited = time.monotonic() - began
                wait = max(fault.retry_after, pause * random.uniform(0.5, 1.0))
                hopeless = fault.kind == "broken" and attempts >= _BROKEN_ATTEMPTS
                if not fault.passing or hopeless or waited >= limit:
                    raise self._told(fault, waited) from error
                wait = min(wait, limit - waited)
                self._say_waiting(fault, waited + wait, limit)
                if (stop or threading.Event()).wait(wait):
                    raise GaveUpError(f"The server {self.address} did not answer: {fault.text}.") from error
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._reached = True
                if attempts:
                    self._say_back()
                return result

    def record(self, name: str) -> BankRecord | None:
        """The record of a collection; ``None`` where it is not there or not a bank.

        Raises:
            BankMismatchError: written by a newer version.
            StoreError: the request failed.
        """
        data = (self.metadata(name) or {}).get(METADATA_KEY)
        return None if data is None else BankRecord.from_dict(data)

    def metadata(self, name: str, patience: float | None = None) -> dict[str, Any] | None:
        """All metadata of a collection; ``None`` where it is not there.

        Raises:
            StoreError: the request failed.
        """

        def read(client: QdrantClient) -> dict[str, Any] | None:
            if not client.collection_exists(name):
                return None
            return dict(client.get_collection(name).config.metadata or {})

        return self.call(read, patience)

    def note(self, name: str, metadata: Mapping[str, Any], patience: float | None = None) -> None:
        """Replace top-level keys of a collection's metadata; ``None`` removes one.

        Raises:
            StoreError: the request failed.
        """
        self.call(lambda c: c.update_collection(name, metadata=dict(metadata)), patience)

    def say(self, text: str) -> None:
        """Tell the user something."""
        if self._notify is not None:
            self._notify(text)

    def _told(self, fault: Fault, waited: float) -> StoreError:
        """The fault as an error that says what to do."""
        text = self._clean(fault.text).rstrip(".") + "."
        if fault.kind == "too large":
            return TooLargeError(f"The Qdrant server {self.address} finds a request too large: {text}")
        if fault.kind == "exists":
            return CollectionExistsError(f"The Qdrant server {self.address} refuses: {text}")
        if fault.kind == "full":
            return StoreFullError(
                f"The disk of the Qdrant server {self.address} is full: {text}",
                "Free some space there, then run the same command again: it goes on where it stopped.",
            )
        if fault.kind == "denied":
            return StoreError(
                f"The Qdrant server {self.address} refuses the key: {text}",
                f"Set {_KEY_VARIABLE} to a key that may do this.",
            )
        if fault.kind == "untrusted":
            return StoreError(
                f"The certificate of the Qdrant server {self.address} cannot be trusted: {text}",
                "Give the certificates that sign it: --server ca-file=FILE.",
            )
        if fault.passing:
            after = f" for {waited:.0f} s" if waited >= 1 else ""
            hint = f"Check that it runs and that {_KEY_VARIABLE} holds its key, if it has one."
            if self._reached:
                hint = "When it answers again, run the same command: it goes on where it stopped."
            return StoreError(f"The Qdrant server {self.address} failed{after}: {text}", hint)
        return StoreError(f"The Qdrant server {self.address} refuses: {text}", "See the server's log.")

    def _clean(self, text: str) -> str:
        key = os.environ.get(_KEY_VARIABLE)
        return text.replace(key, "***") if key else text

    def _say_waiting(self, fault: Fault, waited: float, limit: float) -> None:
        if waited < _NOTE_AFTER:
            return
        with self._lock:
            now = time.monotonic()
            if now < self._told_until:
                return
            self._told_until = now + 60
        self.say(
            f"The server {self.address} does not answer ({self._clean(fault.text)}); "
            f"waiting for it, up to {limit:.0f} s."
        )

    def _say_back(self) -> None:
        with self._lock:
            told, self._told_until = self._told_until, 0.0
        if told:
            self.say(f"The server {self.address} answers again.")


def connect(url: str, options: ServerOptions, notify: Notify | None = None) -> Connection:
    """Reach a server, see what it is, and choose the protocol.

    Raises:
        StoreError: it cannot be reached, refuses the key, is too old, or is no Qdrant server.
        UsageError: the address or the certificate file cannot be used.
    """
    parts, address = _split(url)
    key = os.environ.get(_KEY_VARIABLE) or None
    if key and parts.scheme == "http" and parts.hostname not in _LOCAL and notify:
        notify(f"The key in {_KEY_VARIABLE} travels unencrypted to {address}; use https where others can listen.")
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
            f"Put the server's key into {_KEY_VARIABLE}.",
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
