"""Shows that what answers over gRPC is the server that was asked over REST.

Both sides have a port of their own, and nothing that a server says of itself over gRPC tells it
from another (its version is no proof, a collection's record may be a copy). So a key that nobody
has seen before is written over REST into the metadata of a bank, and must be read over gRPC. The
key is removed at once; what a killed process left is removed by the next proof that sees it.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...schemas.errors import StoreError
from .connection import METADATA_KEY, Connection
from .faults import read_fault
from .refusals import CollectionExistsError, DeniedError, MissingError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

#: What a proof writes: a key of a bank's metadata, or, where there is no bank, a collection's name.
PROOF_KEY = "lensbank_proof_"
PROOF_COLLECTION = "lensbank-proof-"
# A cluster's other node may hear of it a moment later.
_SEEN_WITHIN = 1.0
_POLL = 0.05
_PATIENCE = 2.0
_LEFT_BEHIND = 600.0


class NotShownError(StoreError):
    """It could not be shown that both are one server.

    Attributes:
        passing: whether it may be shown a moment later: somebody did not answer.
    """

    passing = False


class UnansweredError(NotShownError):
    """One of the two did not answer."""

    passing = True


def require_same(rest: Connection, grpc: QdrantClient, bank: str | None) -> None:
    """Write over REST, read over gRPC.

    Args:
        rest: to the server that was asked.
        grpc: what answers at the gRPC port.
        bank: where to write; by default the first bank of the server, or a collection that is
            made for it and dropped.

    Raises:
        NotShownError: another server answers, or none, or nothing may be written.
    """
    nonce = uuid.uuid4().hex
    bank = bank or _some_bank(rest)
    try:
        if bank is None:
            _through_a_collection(rest, grpc, nonce)
        else:
            _through_metadata(rest, grpc, bank, nonce)
    except NotShownError:
        raise
    except DeniedError as error:
        raise NotShownError("the key may not write, and the check writes to the server") from error
    except StoreError as error:
        raise UnansweredError(f"the check could not write to the server ({error.message})") from error


def _through_metadata(rest: Connection, grpc: QdrantClient, bank: str, nonce: str) -> None:
    key, stale = PROOF_KEY + nonce, dict[str, None]()
    try:
        rest.update_metadata(bank, {key: time.time()}, _PATIENCE)
        seen = _wait_for(grpc, bank, key)
        stale = {name: None for name, when in seen.items() if name.startswith(PROOF_KEY) and _is_old(when)}
    finally:
        _forget(rest, bank, {key: None, **stale})


def _forget(rest: Connection, bank: str, keys: dict[str, None]) -> None:
    """Remove keys; also where the answer to writing them was lost."""
    with suppress(DeniedError, MissingError):
        rest.update_metadata(bank, keys, _PATIENCE)


def _through_a_collection(rest: Connection, grpc: QdrantClient, nonce: str) -> None:
    from qdrant_client import models

    _drop_what_was_left(rest)
    name, key = PROOF_COLLECTION + nonce, PROOF_KEY + nonce
    vectors = models.VectorParams(size=1, distance=models.Distance.DOT)
    try:
        with suppress(CollectionExistsError):  # the first answer was lost on the way
            rest.call(lambda c: c.create_collection(name, vectors, metadata={key: time.time()}), _PATIENCE)
        _wait_for(grpc, name, key)
    finally:
        with suppress(DeniedError, MissingError):
            rest.call(lambda c: c.delete_collection(name), _PATIENCE)


def _drop_what_was_left(rest: Connection) -> None:
    for description in rest.call(lambda c: c.get_collections(), _PATIENCE).collections:
        name = description.name
        if not name.startswith(PROOF_COLLECTION):
            continue
        when = (rest.metadata(name, _PATIENCE) or {}).get(PROOF_KEY + name.removeprefix(PROOF_COLLECTION))
        if _is_old(when):
            rest.call(lambda c, n=name: c.delete_collection(n), _PATIENCE)  # type: ignore[misc]


def _wait_for(grpc: QdrantClient, collection: str, key: str) -> dict[str, Any]:
    """The metadata over gRPC, once the key is among it."""
    until = time.monotonic() + _SEEN_WITHIN
    while True:
        try:
            found: dict[str, Any] = dict(grpc.get_collection(collection).config.metadata or {})
        except Exception as error:
            fault = read_fault(error)
            if fault.kind != "missing":
                kind = UnansweredError if fault.passing else NotShownError
                raise kind(f"the answer from that port was {fault.text}") from error
            found = {}
        if key in found:
            return found
        if time.monotonic() >= until:
            raise NotShownError("another server answers at that port")
        time.sleep(_POLL)


def _some_bank(rest: Connection) -> str | None:
    for description in rest.call(lambda c: c.get_collections(), _PATIENCE).collections:
        if METADATA_KEY in (rest.metadata(description.name, _PATIENCE) or {}):
            return str(description.name)
    return None


def _is_old(when: Any) -> bool:
    return isinstance(when, int | float) and time.time() - when > _LEFT_BEHIND
