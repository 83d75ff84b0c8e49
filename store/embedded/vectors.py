"""A bank's vectors as the embedded engine keeps them, mapped read-only: the one file that knows their format.

Of ``qdrant-edge-py`` 0.9 (segments of version 0.6.0). A finished segment has ``vector_storage/matrix.dat`` (``data``,
then row-major unit vectors), ``id_tracker.i2e`` (32 bytes, then a 128-bit id per row), ``id_tracker.versions`` (a
number per row, the higher the newer) and flags of what was deleted. Of a segment that still takes rows only the list
of ids is read; the engine gives its rows. Nothing is believed: lengths, counts and a sample of rows are compared with
what the engine says, and whatever is not understood makes the vectors unavailable, never the bank.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..vectors import BankVectors, NoVectors, VectorPart, id_halves, id_keys, id_string
from . import engine

if TYPE_CHECKING:
    import qdrant_edge
    from numpy.typing import NDArray

ENGINE, SEGMENT = "0.9.", "0.6.0"
#: Rows of unfinished segments are fetched one by one: more than this many bytes of them take longer than asking.
LOOSE_BYTES = 16 << 20
# Rows that are compared with what the engine returns, in all.
_SAMPLE = 48
_IDS_HEADER, _IDS_MAGIC = 32, b"\x01\x00E2I_DQ\x02" + bytes(7)
_MATRIX_MAGIC, _FLAGS_MAGIC, _UUID_MAGIC = b"data", b"drop", b"QBMK"
# Of the file that says which ids are UUIDs: an empty list of those that are not.
_ALL_UUIDS = (2).to_bytes(8, "little") + (8).to_bytes(8, "little") + (0x303A).to_bytes(8, "little")
# Records of the list of ids of a segment that takes rows: kind, 16 bytes of UUID and, where a row was put, its place.
_PUT, _TAKEN = 2, 4
_RECORD = {_PUT: 21, _TAKEN: 17}
_FINISHED, _GROWING = {"Mmap", "InRamMmap"}, {"ChunkedMmap", "InRamChunkedMmap"}


class _NotUnderstoodError(Exception):
    """Something is not as this file knows it."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A finished segment: its rows, and which of them count."""

    rows: NDArray[np.floating[Any]]
    ids: NDArray[np.uint64]
    live: NDArray[np.bool_]
    versions: NDArray[np.uint64]


def map_vectors(folder: Path, shard: qdrant_edge.EdgeShard, dim: int, vector_dtype: str) -> BankVectors | NoVectors:
    """The vectors of an open shard, or why they cannot be mapped.

    Args:
        folder: of the shard.
        shard: the same, opened by the engine; nobody writes to it meanwhile.
        dim: numbers per vector.
        vector_dtype: ``float32`` or ``float16``.
    """
    try:
        _require(_engine_version().startswith(ENGINE), f"the engine is qdrant-edge-py {_engine_version()}, not 0.9")
        return _mapped(folder, shard, dim, vector_dtype)
    except _NotUnderstoodError as error:
        return NoVectors(str(error))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return NoVectors(f"the engine's files cannot be read ({type(error).__name__}: {error})")


@cache
def _engine_version() -> str:
    return version("qdrant-edge-py")


def _mapped(folder: Path, shard: qdrant_edge.EdgeShard, dim: int, vector_dtype: str) -> BankVectors:
    segments: list[_Segment] = []
    growing: list[str] = []
    for path in sorted(p for p in (folder / "segments").iterdir() if p.is_dir() and not p.name.startswith(".")):
        config = json.loads((path / "segment.json").read_text(encoding="utf-8"))["config"]["vector_data"]
        _require((path / "version.info").read_text().strip() == SEGMENT, "a segment has another version")
        _require(list(config) == [""], "there are named vectors")
        own = config[""]
        described = (own["size"], own["distance"], own.get("datatype", "float32"), own.get("multivector_config"))
        _require(described == (dim, "Cosine", vector_dtype, None), f"a segment's vectors are {described}")
        if own["storage_type"] in _GROWING:
            growing += _growing_ids(path / "mutable_id_tracker.mappings", LOOSE_BYTES // (4 * dim))
        else:
            _require(own["storage_type"] in _FINISHED, f"a segment's vectors are stored as {own['storage_type']}")
            segments.append(_finished(path, dim, np.dtype(f"<f{2 if vector_dtype == 'float16' else 4}")))
    loose = _loose(shard, growing, dim)
    _leave_newest(segments, loose, engine.count_rows(shard))
    _compare_sample(shard, segments)
    parts = [VectorPart(s.rows, s.ids, None if s.live.all() else s.live) for s in segments if s.live.any()]
    return BankVectors((*parts, *([loose] if len(loose.rows) else [])), vector_dtype == "float16")


def _finished(path: Path, dim: int, dtype: np.dtype[Any]) -> _Segment:
    """A finished segment's files, by their lengths and marks."""
    with (path / "id_tracker.i2e").open("rb") as file:
        head = file.read(_IDS_HEADER)
    _require(head[: len(_IDS_MAGIC)] == _IDS_MAGIC, "a table of ids has another format")
    count = int.from_bytes(head[16:24], "little")
    uuids = _UUID_MAGIC + (1).to_bytes(4, "little") + count.to_bytes(8, "little") + _ALL_UUIDS
    _require((path / "id_tracker.is_uuid").read_bytes() == uuids, "some ids are not UUIDs")
    ids = _map(path / "id_tracker.i2e", np.dtype("<u8"), _IDS_HEADER, (count, 2))
    versions = _map(path / "id_tracker.versions", np.dtype("<u8"), 0, (count,))
    storage = path / "vector_storage"
    with (storage / "matrix.dat").open("rb") as file:
        _require(file.read(4) == _MATRIX_MAGIC, "a file of vectors has another format")
    rows = _map(storage / "matrix.dat", dtype, 4, (count, dim))
    with (storage / "deleted.dat").open("rb") as file:
        _require(file.read(4) == _FLAGS_MAGIC, "a file of flags has another format")
    gone = _flags(path / "id_tracker.deleted", 0, count) | _flags(storage / "deleted.dat", 8, count)
    return _Segment(rows, ids, ~gone, versions)


def _map(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    expected = offset + int(np.prod(shape)) * dtype.itemsize
    found = path.stat().st_size
    _require(found == expected, f"{path.name} has {found:,} bytes; expected {expected:,}")
    if not shape[0]:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)


def _flags(path: Path, offset: int, count: int) -> NDArray[np.bool_]:
    """One bit a row, in words of 64; longer files end with zeros."""
    words = np.fromfile(path, np.uint8, offset=offset)
    _require(len(words) >= -(-count // 64) * 8, f"{path.name} is too short")
    return np.unpackbits(words, bitorder="little")[:count].astype(np.bool_)


def _growing_ids(path: Path, most: int) -> list[str]:
    """Ids that a segment which takes rows has ever held."""
    if not path.exists():
        return []
    data = path.read_bytes()
    found: dict[str, None] = {}
    place = 0
    while place < len(data):
        size = _RECORD.get(data[place])
        _require(size is not None and place + size <= len(data), "a list of new ids has another format")
        assert size is not None
        found[str(uuid.UUID(bytes=data[place + 1 : place + 17]))] = None
        place += size
        _require(len(found) <= most, f"more than {most:,} of its rows are not in a finished segment")
    return list(found)


def _loose(shard: qdrant_edge.EdgeShard, ids: Sequence[str], dim: int) -> VectorPart:
    """Rows that the engine gives, by the ids of those that may be there."""
    vectors: list[Any] = []
    numbers: list[int] = []
    for start in range(0, len(ids), 1000):
        for record in engine.rows_with_vectors(shard, ids[start : start + 1000]):
            vectors.append(np.asarray(record.vector, np.float32))
            numbers.append(_number(record.id))
    rows = np.stack(vectors) if vectors else np.empty((0, dim), np.float32)
    return VectorPart(rows, id_halves(numbers))


def _number(point_id: Any) -> int:
    _require(hasattr(point_id, "int"), "some ids are not UUIDs")
    return int(point_id.int)


def _leave_newest(segments: Sequence[_Segment], loose: VectorPart, expected: int) -> None:
    """Have each point live once: as the engine gave it, else in the segment that has its newest version."""
    if len(loose.rows):
        given = np.sort(id_keys(loose.ids))
        for segment in segments:
            segment.live[_positions(given, id_keys(segment.ids))] = False
    there = sum(int(segment.live.sum()) for segment in segments) + len(loose.rows)
    if there > expected:  # some are in two segments
        keys = np.concatenate([id_keys(segment.ids) for segment in segments])
        live = np.concatenate([segment.live for segment in segments])
        versions = np.concatenate([segment.versions for segment in segments])
        order = np.lexsort((versions, keys, live))  # the newest live row of an id comes last
        older = order[:-1][live[order[:-1]] & (keys[order[:-1]] == keys[order[1:]])]
        live[older] = False
        ends = np.cumsum([len(segment.live) for segment in segments])[:-1]
        for segment, kept in zip(segments, np.split(live, ends), strict=True):
            segment.live[:] = kept
        there = int(live.sum()) + len(loose.rows)
    _require(there == expected, f"its files hold {there:,} rows, but the engine counts {expected:,}")


def _positions(wanted: NDArray[np.bytes_], keys: NDArray[np.bytes_]) -> NDArray[np.intp]:
    """Places in ``keys`` of those that are among the sorted ``wanted``."""
    at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return np.flatnonzero(wanted[at] == keys)


def _compare_sample(shard: qdrant_edge.EdgeShard, segments: Sequence[_Segment]) -> None:
    """Some rows of every segment, to the last bit, with what the engine returns for their ids."""
    share = max(3, _SAMPLE // max(1, len(segments)))
    for segment in segments:
        live = np.flatnonzero(segment.live)
        chosen = np.unique(live[np.linspace(0, len(live) - 1, share).astype(np.int64)]) if len(live) else live
        names = {id_string(*map(int, segment.ids[row])): int(row) for row in chosen}
        records = engine.rows_with_vectors(shard, list(names))
        _require(len(records) == len(names), "its files hold rows that the engine does not have")
        for record in records:
            same = np.array_equal(np.asarray(record.vector, np.float32), segment.rows[names[str(record.id)]])
            _require(same, "rows in its files differ from the rows that the engine returns")


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise _NotUnderstoodError(reason)
