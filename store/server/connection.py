"""A connection to a Qdrant server that waits for it, and says so."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ...schemas.backoff import Backoff
from ...schemas.collection import BankRecord
from ...schemas.errors import GaveUpError, LensbankError, StoreError
from ..records import record_in
from .address import KEY_VARIABLE
from .faults import Fault, read_fault
from .lasting import FindGrpc, GrpcSide
from .options import ServerOptions
from .refusals import refusal

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

T = TypeVar("T")
#: Called with a line for the user.
Notify = Callable[[str], None]

METADATA_KEY = "lensbank"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_LOOK_SECONDS = 0.1
# An error inside the server may pass (it restarts, a shard recovers) or never will.
_BROKEN_ATTEMPTS = 6
# A shorter wait is not worth a line.
_NOTE_AFTER = 3.0


class Connection:
    """A client, the server's version, and the address as it may be shown: without credentials.

    Collections and their records go over REST to the address that was given; rows may go over
    gRPC, once that port has been shown to be the same server.

    Args:
        client: connected, over REST.
        address: for messages.
        options: timeouts and patience.
        version: of the server, major and minor; ``None`` for the client's local mode.
        notify: told when the server keeps one waiting.
        find_grpc: called before the first row is read or written, and again whenever the connection
            that it found was lost, with the name of a bank that is there, if one is known; returns a
            client for the rows, or ``None`` for REST from then on.
    """

    def __init__(
        self,
        client: QdrantClient,
        address: str,
        options: ServerOptions | None = None,
        version: tuple[int, int] | None = None,
        notify: Notify | None = None,
        find_grpc: FindGrpc[Connection] | None = None,
    ) -> None:
        """Nothing is requested yet."""
        self.client = client
        self.address = address
        self.options = options or ServerOptions()
        self.version = version
        #: Whether somebody has asked for an end: then nobody waits for the server any more.
        self.leaving: Callable[[], bool] = lambda: False
        self._notify = notify
        self._grpc = GrpcSide(self, find_grpc)
        self._quiet_until = 0.0
        self._said: set[str] = set()
        self._reached = False
        self._lock = threading.Lock()
        # The client's local mode loses rows when two threads write.
        self._turns: AbstractContextManager[Any] = threading.RLock() if version is None else nullcontext()

    @property
    def protocol(self) -> Literal["grpc", "rest"]:
        """What the rows travel by; found out when it is first asked for."""
        return self.protocol_for(None)

    def protocol_for(self, bank: str | None) -> Literal["grpc", "rest"]:
        """The same, with the name of a bank that is there.

        Raises:
            StoreError: only gRPC may be used, and it cannot be shown to reach this server.
        """
        try:
            return "rest" if self._grpc.proven(bank) is None else "grpc"
        except ConnectionError:  # lost for now; the next request waits for it
            return "grpc"

    def rows(
        self,
        bank: str,
        work: Callable[[QdrantClient], T],
        patience: float | None = None,
        stop: threading.Event | None = None,
        before: Callable[[], None] | None = None,
    ) -> T:
        """Run a request about the rows of a bank, by gRPC where that is this server; see :meth:`call`.

        Raises:
            StoreError: see :meth:`call` and :meth:`protocol_for`.
        """

        def by_what_is_proven(_: QdrantClient) -> T:
            proven = self._grpc.proven(bank)
            if proven is None:
                return work(self.client)
            proof = proven.proof
            result = work(proven.client)
            if not proven.lasts or proven.proof != proof:  # gRPC may have sent it to whoever listens there now
                raise ConnectionError("the connection was lost on the way")
            return result

        return self._repeat(by_what_is_proven, patience, stop, before)

    def call(
        self,
        work: Callable[[QdrantClient], T],
        patience: float | None = None,
        stop: threading.Event | None = None,
        before: Callable[[], None] | None = None,
    ) -> T:
        """Run one request that may be repeated, again and again where the server is not there.

        Args:
            work: the request; harmless when the server gets it twice.
            patience: seconds to wait for the server; default from the options.
            stop: when set, gives up.
            before: called before every attempt; raises where the request must not be sent any more.

        Raises:
            TooLargeError: the server takes it in smaller pieces only.
            InexactOnlyError: its strict mode forbids what is exact.
            CollectionExistsError: something of that name is there.
            DeniedError: the key may not do this.
            MissingError: nothing of that name is there.
            StoreFullError: the server's disk is full.
            StoreError: the server refuses, or did not answer in time.
        """
        return self._repeat(work, patience, stop, before)

    def close(self) -> None:
        """Close what is open."""
        self.client.close()
        self._grpc.close()

    def _repeat(
        self,
        work: Callable[[QdrantClient], T],
        patience: float | None,
        stop: threading.Event | None,
        before: Callable[[], None] | None,
    ) -> T:
        limit = self.options.patience if patience is None else patience
        began, pauses, faults = time.monotonic(), Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), list[str]()
        while True:
            if before is not None:
                before()
            try:
                with self._turns:
                    result = work(self.client)
            except LensbankError:
                raise
            except Exception as error:
                fault = read_fault(error)
                faults.append(fault.kind)
                waited = time.monotonic() - began
                wait = max(fault.retry_after, pauses.next())
                hopeless = faults.count("broken") >= _BROKEN_ATTEMPTS
                if not fault.passing or hopeless or waited >= limit:
                    raise self._error_of(fault, waited) from error
                wait = min(wait, limit - waited)
                self._say_waiting(fault, waited + wait, limit)
                if self.gives_up(wait, stop):
                    raise GaveUpError(f"The server {self.address} did not answer: {fault.text}.") from error
            else:
                self._reached = True
                if faults:
                    self._say_back()
                return result

    def gives_up(self, seconds: float, stop: threading.Event | None = None) -> bool:
        """Wait before the next request; whether nobody wants its answer any more.

        Who handles a signal cannot set an event: the thread that it interrupts may hold the event's lock.
        """
        until, stop = time.monotonic() + seconds, stop or threading.Event()
        while (left := until - time.monotonic()) > 0:
            if self.leaving() or stop.wait(min(left, _LOOK_SECONDS)):
                return True
        return self.leaving()

    def record(self, name: str) -> BankRecord | None:
        """The record of a collection; ``None`` where it is not there or not a bank.

        Raises:
            BankMismatchError: written by a newer version.
            StoreError: the request failed, or the record is damaged.
        """
        data = (self.metadata(name) or {}).get(METADATA_KEY)
        return None if data is None else record_in(data, name, self.address)

    def metadata(
        self, name: str, patience: float | None = None, stop: threading.Event | None = None
    ) -> dict[str, Any] | None:
        """All metadata of a collection; ``None`` where it is not there.

        Raises:
            StoreError: the request failed.
        """

        def read(client: QdrantClient) -> dict[str, Any] | None:
            if not client.collection_exists(name):
                return None
            return dict(client.get_collection(name).config.metadata or {})

        return self.call(read, patience, stop)

    def update_metadata(
        self,
        name: str,
        metadata: Mapping[str, Any],
        patience: float | None = None,
        stop: threading.Event | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        """Replace top-level keys of a collection's metadata; ``None`` removes one.

        Raises:
            StoreError: the request failed.
        """
        self.call(lambda c: c.update_collection(name, metadata=dict(metadata)), patience, stop, before)

    def say(self, text: str) -> None:
        """Tell the user something."""
        if self._notify is not None:
            self._notify(text)

    def say_once(self, text: str) -> None:
        """Tell the user something, unless this connection has said it before."""
        with self._lock:
            known = text in self._said
            self._said.add(text)
        if not known:
            self.say(text)

    def _error_of(self, fault: Fault, waited: float) -> StoreError:
        """The fault as an error that says what to do."""
        text = self._clean(fault.text).rstrip(".!") + "."
        return refusal(fault, self.address, text, waited, self._reached)

    def _clean(self, text: str) -> str:
        key = os.environ.get(KEY_VARIABLE)
        return text.replace(key, "***") if key else text

    def _say_waiting(self, fault: Fault, waited: float, limit: float) -> None:
        if waited < _NOTE_AFTER:
            return
        with self._lock:
            now = time.monotonic()
            if now < self._quiet_until:
                return
            self._quiet_until = now + 60
        self.say(f"The server {self.address} does not answer ({self._clean(fault.text)}). Waiting up to {limit:.0f} s.")

    def _say_back(self) -> None:
        with self._lock:
            said, self._quiet_until = self._quiet_until, 0.0
        if said:
            self.say(f"The server {self.address} answers again.")
