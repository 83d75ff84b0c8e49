"""How a bank is set up as a collection of a server, and how its searches are shaped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...schemas.backoff import Backoff
from ...schemas.collection import BankIdentity, BankKind
from ...schemas.errors import StoreError
from ...schemas.kinds import indexed_of
from ...schemas.payload import FieldKind
from ..approximation import GRAPH_EFFORT, GRAPH_LINKS, SERVER_GRAPH_CANDIDATES, oversampling
from .connection import Connection
from .options import ServerOptions
from .refusals import IndexLimitError

if TYPE_CHECKING:
    from qdrant_client import models

# Quantisation by rotation came with one version, the placement of each component with another.
_TURBO, _MEMORY = (1, 18), (1, 19)
_FIRST_POLL, _SLOWEST_POLL = 0.05, 1.0
# How long a collection must be green after its graph was switched on: the server begins a moment later.
_SETTLED_SECONDS = 0.5


def creation(
    identity: BankIdentity, options: ServerOptions, version: tuple[int, int] | None, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of ``create_collection`` after its name.

    Args:
        identity: of the bank.
        options: shards and replicas.
        version: of the server; ``None`` for the newest.
        metadata: of the collection, from its first moment on.
    """
    from qdrant_client import models

    half = identity.vector_dtype == "float16"
    return {
        "vectors_config": models.VectorParams(
            size=identity.dim,
            distance=models.Distance.COSINE,
            datatype=models.Datatype.FLOAT16 if half else models.Datatype.FLOAT32,
        ),
        # No graph while rows come: building it once at the end is cheaper, and payload indexes
        # that are there by then are woven into it.
        "hnsw_config": models.HnswConfigDiff(m=0),
        "quantization_config": _quantization(version),
        "shard_number": options.shards,
        "replication_factor": options.replicas,
        "write_consistency_factor": options.write_consistency,
        "metadata": dict(metadata),
    }


def _quantization(version: tuple[int, int] | None) -> models.QuantizationConfig:
    from qdrant_client import models

    if version is not None and version < _TURBO:
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        return models.ScalarQuantization(scalar=scalar)
    bits = models.TurboQuantBitSize.BITS4
    if version is not None and version < _MEMORY:
        return models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(bits=bits, always_ram=True))
    return models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(bits=bits, memory=models.Memory.PINNED))


def require_indexes(connection: Connection, name: str, kind: BankKind) -> list[str]:
    """Refuse a collection that cannot have a bank's payload indexes.

    Returns:
        The fields whose index is not there yet.

    Raises:
        IndexLimitError: its strict mode allows fewer.
        StoreError: a request failed.
    """
    info = connection.call(lambda c: c.get_collection(name))
    there = set(info.payload_schema or {})
    fields, strict = indexed_of(kind), info.config.strict_mode_config
    missing = [field for field in fields if field not in there]
    most = strict.max_payload_index_count if strict is not None and strict.enabled else None
    needed = len(there) + len(missing)
    if most is not None and missing and needed > most:
        raise IndexLimitError(
            f"The strict mode of the Qdrant server {connection.address} allows {most} payload indexes in {name}; a "
            f"bank needs {len(fields)} ({', '.join(fields)}).",
            f"Raise max_payload_index_count on the server to {needed} or more.",
        )
    return missing


def require_room_for_indexes(connection: Connection, name: str, kind: BankKind) -> None:
    """Refuse a server that allows too few, and leave no collection behind: only one that is made shows its limits.

    Args:
        connection: to the server.
        name: of a collection that was just made.
        kind: of the bank.

    Raises:
        IndexLimitError: it does.
        StoreError: a request failed.
    """
    try:
        require_indexes(connection, name, kind)
    except IndexLimitError:
        connection.call(lambda c: c.delete_collection(name))
        raise


def create_indexes(connection: Connection, name: str, kind: BankKind) -> None:
    """The payload indexes, which belong before the rows.

    Raises:
        IndexLimitError: strict mode allows fewer.
        StoreError: a request failed.
    """
    fields = indexed_of(kind)
    for field in require_indexes(connection, name, kind):
        connection.call(
            lambda c, f=field, k=fields[field]: c.create_payload_index(name, f, field_schema=_index(k), wait=True)  # type: ignore[misc]
        )


def _index(kind: FieldKind) -> models.PayloadSchemaType | models.TextIndexParams:
    from qdrant_client import models

    if kind == "text":
        return models.TextIndexParams(
            type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD, lowercase=True, phrase_matching=True
        )
    return models.PayloadSchemaType(kind)


def build_index(
    connection: Connection, name: str, graph: bool, advance: Callable[[int], None], alive: Callable[[], None]
) -> None:
    """Let the server index what was written, and wait until it has.

    Args:
        connection: to the server.
        name: of the collection.
        graph: build an HNSW graph, too.
        advance: called with the number of vectors indexed so far.
        alive: called at every look.

    Raises:
        StoreError: a request failed, or the server's optimiser did.
    """
    from qdrant_client import models

    links, effort = GRAPH_LINKS, GRAPH_EFFORT
    config = models.HnswConfigDiff(m=links, ef_construct=effort) if graph else models.HnswConfigDiff(m=0)
    info = connection.call(lambda c: c.get_collection(name))
    green_until = 0.0
    if info.config.hnsw_config.m != config.m:
        connection.call(lambda c: c.update_collection(name, hnsw_config=config))
        green_until = time.monotonic() + _SETTLED_SECONDS
    polls = Backoff(_FIRST_POLL, _SLOWEST_POLL, spread=0.0)
    while True:
        info = connection.call(lambda c: c.get_collection(name))
        status = info.optimizer_status
        if info.status == models.CollectionStatus.RED or isinstance(status, models.OptimizersStatusOneOf1):
            reason = status.error if isinstance(status, models.OptimizersStatusOneOf1) else "collection status red"
            raise StoreError(
                f"The Qdrant server {connection.address} could not index {name}: {reason}",
                "The rows are stored. Read the log of the server, then run the same command again.",
            )
        advance(info.indexed_vectors_count or 0)
        if info.status == models.CollectionStatus.GREEN and time.monotonic() >= green_until:
            return
        alive()
        time.sleep(polls.next())


@dataclass(frozen=True, slots=True)
class Limits:
    """What a collection's strict mode lets one do.

    Attributes:
        exact: whether exact search is allowed.
        ef: candidates that a graph search looks at.
        oversampling: candidates of the quantised search per row asked for, at most.
        queries: per request; ``None`` for any number.
        hits: per query; ``None`` for any number.
        rows: per upload; ``None`` for any number.
    """

    exact: bool = True
    ef: int = SERVER_GRAPH_CANDIDATES
    oversampling: float = math.inf
    queries: int | None = None
    hits: int | None = None
    rows: int | None = None


def read_limits(connection: Connection, name: str) -> Limits:
    """The limits that the server sets on a collection.

    Raises:
        StoreError: the request failed.
    """
    strict = connection.call(lambda c: c.get_collection(name)).config.strict_mode_config
    if strict is None or not strict.enabled:
        return Limits()
    free = Limits()
    return Limits(
        exact=strict.search_allow_exact is not False,
        ef=min(free.ef, strict.search_max_hnsw_ef or free.ef),
        oversampling=min(free.oversampling, strict.search_max_oversampling or free.oversampling),
        queries=strict.search_max_batchsize,
        hits=strict.max_query_limit,
        rows=strict.upsert_max_batchsize,
    )


def require_allowed(limits: Limits, exact: bool, hits: int, address: str, name: str) -> None:
    """Refuse a search that the server's limits do not allow.

    Raises:
        StoreError: it is exact, or asks for too many rows.
    """
    server = f"The strict mode of the Qdrant server {address}"
    if exact and not limits.exact:
        raise StoreError(
            f"{server} forbids exact search in {name}.",
            "Use --approximate --no-recall-check, or allow exact search on the server (search_allow_exact).",
        )
    if limits.hits is not None and hits > limits.hits:
        raise StoreError(
            f"{server} allows {limits.hits} rows per query in {name}; {hits} are needed.",
            "Give a smaller --top-k, or raise max_query_limit on the server.",
        )


def search_params(exact: bool, limits: Limits, limit: int) -> models.SearchParams:
    """How a search for ``limit`` rows is shaped, within the server's limits."""
    from qdrant_client import models

    if exact:
        return models.SearchParams(exact=True)
    candidates = min(oversampling(limit), limits.oversampling)
    quantization = models.QuantizationSearchParams(rescore=True, oversampling=candidates)
    return models.SearchParams(exact=False, hnsw_ef=limits.ef, quantization=quantization)
