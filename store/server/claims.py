"""A writer's claim to a bank, as it stands in the metadata of a collection.

Each claim has a key of its own; :mod:`store.server.claiming` says how one becomes the holder's.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ...schemas.errors import StoreLockedError
from ..liveness import is_alive, process_space
from .connection import Connection

#: The key that names the holder. Before there were claims, it was the claim.
HOLDER_KEY = "lensbank_writer"
#: The keys of the claims: this and the claim's token.
CLAIM_KEY = "lensbank_writer_"
#: A claim that was not renewed for this long is nobody's.
CLAIM_SECONDS = 120.0
# A clock that is further ahead is wrong, and must not keep a bank for ever.
_FUTURE_SECONDS = 86_400.0
# The claims of this process that somebody still wants or holds, by their tokens.
_OURS: set[str] = set()


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants to write a bank, or writes it.

    Attributes:
        token: tells it from every other claim.
        node: the machine's name.
        space: see :func:`store.liveness.process_space`; empty in claims of older versions.
        pid: of the process.
        since: UTC time, ISO 8601, of the first claim; empty in claims of older versions.
        seen: seconds since the epoch, when it was last renewed.
        held: whether its owner has found no other.
    """

    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    node: str = field(default_factory=platform.node)
    space: str = field(default_factory=process_space)
    pid: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    seen: float = 0.0
    held: bool = False

    @property
    def key(self) -> str:
        """Of the collection's metadata."""
        return CLAIM_KEY + self.token

    def entries(self, *, held: bool) -> dict[str, Any]:
        """The claim for the metadata, as of now; with the holder's name where it becomes the holder's."""
        claim = {
            "token": self.token,
            "node": self.node,
            "space": self.space,
            "pid": self.pid,
            "since": self.since,
            "seen": round(time.time(), 3),
            "held": held,
        }
        return {self.key: claim, HOLDER_KEY: claim} if held else {self.key: claim}

    def is_alive(self) -> bool:
        """Whether its owner may still write: it was renewed lately, and is not a process of here that has ended."""
        if not -_FUTURE_SECONDS < time.time() - self.seen <= CLAIM_SECONDS:
            return False
        here = self.space == process_space() if self.space else self.node == platform.node()
        if not here:
            return True
        if self.pid == os.getpid():
            return self.token in _OURS  # it may have let go while the server was away
        return is_alive(self.pid)

    @property
    def is_own(self) -> bool:
        """Whether it is this process's."""
        return self.token in _OURS

    def describe(self) -> str:
        """``process 7 on host, since 2026-11-29 01:42:47 UTC``."""
        since = f", since {self.since.replace('T', ' ').replace('+00:00', ' UTC')}" if self.since else ""
        return f"process {self.pid} on {self.node}{since}"


def want(claim: Claim) -> None:
    """The claim is this process's, and counts as alive until :func:`let_go`."""
    _OURS.add(claim.token)


def let_go(claim: Claim) -> None:
    """The claim is no longer wanted, whatever a server says."""
    _OURS.discard(claim.token)


def claims_in(metadata: Mapping[str, Any]) -> Iterator[Claim]:
    """All claims, the holder's first; what cannot be read is nobody's."""
    found = {key: claim for key, value in metadata.items() if key.startswith(CLAIM_KEY) and (claim := _read(value))}
    named = _read(metadata.get(HOLDER_KEY))
    if named is not None:
        # Of an older version, or of one whose own key was removed.
        yield found.pop(named.key, replace(named, held=True))
    yield from found.values()


def require_free(connection: Connection, name: str, metadata: Mapping[str, Any]) -> None:
    """Refuse a bank that somebody writes; who only asks for it does not.

    Raises:
        StoreLockedError: somebody does.
    """
    for claim in claims_in(metadata):
        if claim.held and claim.is_alive():
            raise refusal(connection, name, claim)


def holder_of(metadata: Mapping[str, Any]) -> str | None:
    """The token of the claim that is named as the holder."""
    holder = _read(metadata.get(HOLDER_KEY))
    return None if holder is None else holder.token


def refusal(connection: Connection, name: str, claim: Claim) -> StoreLockedError:
    """The error that tells of a claim in the way."""
    doing = "written" if claim.held else "claimed"
    ago = max(0.0, time.time() - claim.seen)
    return StoreLockedError(
        f"Bank {name} on {connection.address} is being {doing} by {claim.describe()} (last renewed {ago:.0f} s ago).",
        "Wait until that process has finished, or stop it there. If it was killed, its claim ends "
        f"{CLAIM_SECONDS:.0f} s after the last renewal: run the command again then.",
    )


def _read(value: Any) -> Claim | None:
    try:
        return Claim(
            token=str(value["token"]),
            node=str(value.get("node")),
            space=str(value.get("space", "")),
            pid=int(value.get("pid", 0)),
            since=str(value.get("since", "")),
            seen=float(value.get("seen", 0)),
            held=value.get("held") is True,
        )
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return None
