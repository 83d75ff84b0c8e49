"""The embedded Qdrant engine (``qdrant-edge-py``): the one file that knows how its shards are set up.

Everything it raises is a bare exception; :func:`store.embedded.disk.store_error` reads them. It holds
Python's global lock during every call, which is why writing lives in a process of its own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import qdrant_edge as edge

from ...schemas.collection import BankIdentity
from ...schemas.kinds import indexed_of
from ...schemas.payload import FieldKind
from ..approximation import (
    GRAPH_CANDIDATES,
    GRAPH_EFFORT,
    GRAPH_FROM_ROWS,
    GRAPH_LINKS,
    oversampling,
)
from ..rows import engine_id
from .warming import at_hand


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How banks are written and indexed.

    Attributes:
        batch_rows: rows per upsert.
        slots: batches that may wait for the writing process.
        slot_bytes: bytes of vectors per waiting batch; fewer rows go into one where they are wide.
        index_from_kb: segments of fewer kilobytes of vectors are not indexed: a scan is as fast.
        segment_rows: rows below which a segment is not worth a core of its own.
        optimize_rows: rows after which to index when it is not known how many will come.
        growing_rows: rows, over all banks that are written together, whose payload indexes may still be
            growing: they are held in memory until a segment is optimised.
        merged_rows: rows up to which segments are merged: the more, the more memory a merge takes.
        writing_segments: indexed segments to leave in a large bank while it is being written; with as few as
            it ends with, every new one would be merged with a large one again and again.
        graph_from_rows: rows above which an HNSW graph is worth the minutes it takes.
        graph_links: links per row of that graph.
        graph_effort: candidates looked at for each row while it is built.
        graph_payload_links: of each row to others of the same frequent payload value; ``None`` for as many. They are
            what a filtered search leads along: 0 builds faster and loses most of it (docs/storage.md).
        quantized_bits: of the copies that approximate search scans: 1, 2, 4, 8; 0 for none.
        reserve_bytes: free disk space to leave.
        writers: processes that write together; ``None`` for what suits the machine
            (:func:`store.embedded.resources.writing_processes`).
    """

    batch_rows: int = 1000
    slots: int = 4
    slot_bytes: int = 24 << 20
    index_from_kb: int = 1000
    segment_rows: int = 5_000
    optimize_rows: int = 100_000
    growing_rows: int = 200_000
    merged_rows: int = 250_000
    writing_segments: int = 16
    graph_from_rows: int = GRAPH_FROM_ROWS
    graph_links: int = GRAPH_LINKS
    graph_effort: int = GRAPH_EFFORT
    graph_payload_links: int | None = None
    quantized_bits: int = 4
    reserve_bytes: int = 128 << 20
    writers: int | None = None

    def segments(self, expected_rows: int | None) -> int:
        """Indexed segments to aim for: a query batch uses one core per segment."""
        cores = min(os.cpu_count() or 1, 16)
        if expected_rows is None:
            return cores
        return max(1, min(cores, expected_rows // self.segment_rows))


def _config(identity: BankIdentity, settings: EngineSettings, segments: int, graph: bool) -> edge.EdgeConfig:
    half = identity.vector_dtype == "float16"
    row_bytes = identity.dim * (2 if half else 4)
    datatype = edge.VectorStorageDatatype.Float16 if half else edge.VectorStorageDatatype.Float32
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=identity.dim,
            distance=edge.Distance.Cosine,
            datatype=datatype,
            # Cached is read whole when the bank is opened. A graph needs few rows, and a bank that has one is large.
            memory=edge.Memory.Cold if graph else edge.Memory.Cached,
        ),
        hnsw_config=edge.HnswIndexConfig(
            m=settings.graph_links if graph else 0,
            ef_construct=settings.graph_effort,
            full_scan_threshold=1000,
            payload_m=settings.graph_payload_links,
        ),
        quantization_config=_quantization(settings.quantized_bits),
        optimizers=edge.EdgeOptimizersConfig(
            indexing_threshold=settings.index_from_kb,
            default_segment_number=segments + 1,  # the one that takes new rows counts, too
            max_segment_size=max(1, settings.merged_rows * row_bytes // 1024),  # in KB of vectors as they are stored
        ),
        payload_memory=edge.Memory.Cold,
        id_tracker_memory=edge.Memory.Cached,
        wal_enabled=False,  # flush() and the bank's record instead; lets many readers in, too
    )


def _quantization(bits: int) -> edge.TurboQuantQuantizationConfig | None:
    if not bits:
        return None
    size = {
        1: edge.TurboQuantBitSize.Bits1,
        2: edge.TurboQuantBitSize.Bits2,
        4: edge.TurboQuantBitSize.Bits4,
        8: edge.TurboQuantBitSize.Bits8,
    }[bits]
    return edge.TurboQuantQuantizationConfig(bits=size, memory=edge.Memory.Cached)


def create_shard(folder: Path, identity: BankIdentity, settings: EngineSettings, segments: int) -> edge.EdgeShard:
    """A new shard with its payload indexes (made first: the engine fills them as rows come)."""
    shard = edge.EdgeShard.create(str(folder), _config(identity, settings, segments, graph=False))
    for name, kind in indexed_of(identity.kind).items():
        shard.update(edge.UpdateOperation.create_field_index(name, _index(kind)))
    return shard


def _index(kind: FieldKind) -> Any:
    # Read from the disk as filters ask: held in memory they would grow with the bank.
    cold = edge.Memory.Cold
    if kind == "keyword":
        return edge.KeywordIndexParams(prefix=True, memory=cold)
    if kind == "integer":
        return edge.IntegerIndexParams(lookup=True, range=True, memory=cold)
    if kind == "float":
        return edge.FloatIndexParams(memory=cold)
    if kind == "bool":
        return edge.BoolIndexParams(memory=cold)
    return edge.TextIndexParams(tokenizer=edge.TokenizerType.Word, lowercase=True, phrase_matching=True, memory=cold)


def load_shard(folder: Path) -> edge.EdgeShard:
    """An existing shard as it was left."""
    with at_hand(folder):
        return edge.EdgeShard.load(str(folder))


def close_for_good(shard: edge.EdgeShard, folder: Path) -> None:
    """Make a shard durable and close it with files that no later opening changes.

    A segment that still takes rows keeps journals beside its files, which the next opening reads and deletes.
    """
    shard.flush()
    shard.close()
    if any(folder.rglob("*journal*")):
        load_shard(folder).close()


def reload_shard(
    folder: Path, identity: BankIdentity, settings: EngineSettings, segments: int, graph: bool
) -> edge.EdgeShard:
    """An existing shard with other index settings; the next ``optimize()`` acts on them."""
    return edge.EdgeShard.load(str(folder), _config(identity, settings, segments, graph))


def upsert(
    shard: edge.EdgeShard,
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    vectors: memoryview,
    norms: memoryview[float],
    dim: int,
) -> None:
    """Store one batch.

    Args:
        shard: where to.
        rows: id and payload of each row.
        vectors: float32 bytes of ``[n, dim]``.
        norms: float32 items of ``[n]``.
        dim: numbers per vector.
    """
    numbers = vectors.cast("f")
    points = []
    for i, (name, payload) in enumerate(rows):
        # The cheapest way in: the engine takes any sequence, and this one is neither copied nor boxed as a whole.
        vector = cast("list[float]", numbers[i * dim : (i + 1) * dim])
        points.append(edge.Point(name, vector, {**payload, "norm": norms[i]}))
    shard.update(edge.UpdateOperation.upsert_points(points))


def copy_rows(shard: edge.EdgeShard, rows: Iterable[tuple[Any, Any, dict[str, Any]]]) -> None:
    """Store rows of another shard, id, vector and payload: unit vectors are taken without another rounding."""
    points = [edge.Point(name, cast("list[float]", vector), payload) for name, vector, payload in rows]
    shard.update(edge.UpdateOperation.upsert_points(points))


def count_rows(shard: edge.EdgeShard, where: edge.Filter | None = None) -> int:
    """Exact number of rows."""
    return shard.count(edge.CountRequest(exact=True, filter=where))


def count_values(shard: edge.EdgeShard, field: str, where: edge.Filter | None) -> dict[str, int]:
    """Exact numbers of rows by the value of an indexed keyword field; a row counts once for each of its values."""
    request = edge.FacetRequest(field, limit=max(1, count_rows(shard, where)), exact=True, filter=where)
    return {str(hit.value): hit.count for hit in shard.facet(request).hits}


def query(
    shard: edge.EdgeShard,
    vectors: Iterable[list[float]],
    limit: int,
    where: edge.Filter | None,
    exact: bool,
    with_payload: bool,
) -> list[list[edge.ScoredPoint]]:
    """The nearest rows of each vector; one batch, scored together segment by segment."""
    # exact=True goes past graph and quantised vectors to the rows themselves.
    params = edge.SearchParams(
        exact=exact,
        hnsw_ef=None if exact else GRAPH_CANDIDATES,
        quantization=None if exact else edge.QuantizationSearchParams(rescore=True, oversampling=oversampling(limit)),
    )
    requests = [
        edge.QueryRequest(
            limit=limit, query=edge.Query.Nearest(vector), filter=where, params=params, with_payload=with_payload
        )
        for vector in vectors
    ]
    return shard.query_batch(edge.QueryBatchRequest(requests))


def payloads(shard: edge.EdgeShard, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Payloads of those of the rows that are there, by id."""
    wanted: list[int | uuid.UUID | str] = [engine_id(name) for name in ids]
    return {str(record.id): dict(record.payload or {}) for record in shard.retrieve(wanted, True, False)}


def count_ids(shard: edge.EdgeShard, ids: Sequence[str]) -> int:
    """How many of these rows are there."""
    return len(shard.retrieve(list(ids), False, False))


def scroll(
    shard: edge.EdgeShard,
    limit: int,
    offset: str | None,
    with_vectors: bool,
    where: edge.Filter | None = None,
    fields: Sequence[str] | None = None,
) -> tuple[list[edge.Record], str | None]:
    """A page of rows in id order, and where the next one starts."""
    records, following = shard.scroll(
        edge.ScrollRequest(
            limit=limit,
            offset=None if offset is None else engine_id(offset),
            filter=where,
            with_payload=True if fields is None else edge.PayloadSelector.Include(list(fields)),
            with_vector=with_vectors,
        )
    )
    return records, None if following is None else str(following)


def matching(shard: edge.EdgeShard, where: edge.Filter) -> tuple[list[int], bool]:
    """Ids of the rows that meet a filter, as numbers; of the others, and false, where these are fewer."""
    met, total = count_rows(shard, where), count_rows(shard)
    is_met = met <= total - met
    asked = where if is_met else edge.Filter(must_not=[where])
    request = edge.ScrollRequest(limit=total, filter=asked, with_payload=False, with_vector=False)
    return [int(record.id) for record in shard.scroll(request)[0]], is_met  # a UUID's int, or a foreign number


def delete_rows(shard: edge.EdgeShard, where: edge.Filter | None) -> None:
    """Delete the rows that meet a filter."""
    assert where is not None
    shard.update(edge.UpdateOperation.delete_points_by_filter(where))


def rows_with_vectors(shard: edge.EdgeShard, ids: Sequence[str]) -> list[edge.Record]:
    """Those of the rows that are there, without payload."""
    return shard.retrieve(list(ids), False, True)
