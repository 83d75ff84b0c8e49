"""How a claim becomes the holder's, and why no two can both hold a bank.

A server has no lock to offer, but it takes changes of a collection's metadata one after another, and key
by key: what one writer puts under a key of its own, no other replaces by accident. So who wants to write

1. puts a claim under a key of its own, then reads all claims; where another lives, it withdraws;
2. marks its claim as held, in one request with the key that names the holder, then reads again; where
   another claim that is held lives, or another is named, it withdraws.

**Why two can never both believe that they hold a bank.** Each writes before it reads, and trusts only a read
that shows its own key. Of two claims that are marked as held one was marked later, and the read after that
mark shows the earlier one, unless its owner has let go of it. Where the earlier one counts as dead by then,
its owner has not renewed it for long, and must do so before it writes anything more: it looks, writes and
looks again, and finds another holder named, or none, since a renewal never writes that key. So the later one
withdraws or the earlier one stops, and never do both go on.

What a server cannot exclude: a request that was on its way when its sender lost the claim may still arrive.
Clocks of the machines should agree within a minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...schemas.backoff import Backoff
from ...schemas.errors import StoreError
from .claims import CLAIM_SECONDS, HOLDER_KEY, Claim, claims_in, holder_of, refusal
from .connection import Connection

_ATTEMPTS = 6
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.8
# The nodes of a cluster hear of a change one after another: reads until the own claim is seen.
_LOOKS = 6


class ClaimLostError(StoreError):
    """A bank is no longer this writer's."""


def take(connection: Connection, name: str, claim: Claim) -> None:
    """Hold a bank that exists.

    Raises:
        StoreLockedError: another process writes it, or wants to.
        StoreError: a request failed.
    """
    pauses, attempts = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), 0
    while (rival := _attempt(connection, name, claim)) is not None:
        attempts += 1
        if rival.held or attempts == _ATTEMPTS:
            raise refusal(connection, name, rival)
        time.sleep(pauses.next())


def _attempt(connection: Connection, name: str, claim: Claim) -> Claim | None:
    """Try to hold a bank; returns who is in the way."""
    try:
        rival = _ask(connection, name, claim)
    except BaseException:
        with suppress(StoreError):
            withdraw(connection, name, claim, patience=0)
        raise
    if rival is not None:
        withdraw(connection, name, claim)
    return rival


def _ask(connection: Connection, name: str, claim: Claim) -> Claim | None:
    """The two rounds of one attempt; the claim stays, whoever is in the way."""
    connection.update_metadata(name, claim.entries(held=False))
    before = _others(_look(connection, name, claim), claim)
    for other in before:
        if other.is_alive():
            return other
    connection.update_metadata(name, claim.entries(held=True))
    metadata = _look(connection, name, claim)
    for other in _others(metadata, claim):
        if other.held and other.is_alive():  # who only asks came later, and will see this claim
            return other
    if holder_of(metadata) != claim.token:
        return replace(claim, seen=time.time())  # somebody came between, and has withdrawn
    if before:
        connection.update_metadata(name, {other.key: None for other in before})
    return None


def _look(connection: Connection, name: str, claim: Claim) -> dict[str, Any]:
    """The metadata, as of a moment after the own claim was written.

    Raises:
        ClaimLostError: it is not there.
    """
    pauses = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    for _ in range(_LOOKS):
        metadata = connection.metadata(name) or {}
        if claim.key in metadata:
            return metadata
        time.sleep(pauses.next())
    raise ClaimLostError(
        f"The claim to write bank {name} was written to {connection.address}, but it is not there.",
        "Another process may have removed the claim or the bank. Run the same command again.",
    )


def renew(connection: Connection, name: str, claim: Claim, stop: threading.Event | None = None) -> None:
    """Say that the holder is alive; returns where it held the bank before and does so now.

    Args:
        connection: to the server.
        name: of the bank.
        claim: that holds it.
        stop: when set, gives up waiting for the server.

    Raises:
        ClaimLostError: it does not hold it.
        StoreError: a request failed.
    """
    require_held(connection, name, claim, connection.metadata(name, stop=stop))
    connection.update_metadata(name, {claim.key: claim.entries(held=True)[claim.key]}, stop=stop)
    try:
        require_held(connection, name, claim, connection.metadata(name, stop=stop))
    except ClaimLostError:
        with suppress(StoreError):  # it was written after it had been removed
            connection.update_metadata(name, {claim.key: None}, patience=0)
        raise


def require_held(connection: Connection, name: str, claim: Claim, metadata: Mapping[str, Any] | None) -> None:
    """Return where a bank is the claim's.

    Args:
        connection: for messages.
        name: of the bank.
        claim: that should hold it.
        metadata: of the collection, read just now.

    Raises:
        ClaimLostError: it is not.
    """
    if metadata is None:
        raise ClaimLostError(
            f"Bank {name} on {connection.address} was deleted while it was being written.",
            "Run the same command again to write it again.",
        )
    if claim.key in metadata and holder_of(metadata) == claim.token:
        return
    holder = next((other for other in _others(metadata, claim) if other.held), None)
    who = f"; the writer is now {holder.describe()}" if holder else ""
    raise ClaimLostError(
        f"{_name_of(claim)} is no longer the writer of bank {name} on {connection.address}{who}. It did not renew its "
        f"claim for {CLAIM_SECONDS:.0f} s (stopped, asleep, or cut off from the server), or somebody removed it.",
        "Flushed rows are kept. When no other process writes the bank, run the same command: it continues from there.",
    )


def withdraw(connection: Connection, name: str, claim: Claim, patience: float | None = None) -> None:
    """Remove a claim, and its owner's name where it is named as the holder.

    Raises:
        StoreError: a request failed.
    """
    metadata = connection.metadata(name, patience)
    if metadata is not None:
        named = {HOLDER_KEY: None} if holder_of(metadata) == claim.token else {}
        connection.update_metadata(name, {claim.key: None, **named}, patience)


def _name_of(claim: Claim) -> str:
    return "This process" if claim.is_own else claim.describe().capitalize()


def _others(metadata: Mapping[str, Any], claim: Claim) -> list[Claim]:
    return [other for other in claims_in(metadata) if other.token != claim.token]
