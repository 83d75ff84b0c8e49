"""Collections for the server stand-in: the embedded Qdrant engine behind a server's requests.

No server can be had where these tests run, so they put one together: `standin_server` speaks
the protocols, this file keeps the collections. Vectors, filters, payload indexes and the
write-ahead log are the real engine's; collections, metadata, strict mode and limits are written
here after Qdrant's documentation, and only as far as the tests need them.
"""

import json
import os
import shutil
import tarfile
import threading
import uuid
from pathlib import Path

import numpy as np
import qdrant_edge as edge
from qdrant_client import models

DISTANCES = {"Cosine": edge.Distance.Cosine, "Dot": edge.Distance.Dot, "Euclid": edge.Distance.Euclid}
HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "indexing_threshold": 10_000,
    "flush_interval_sec": 5,
}


class Refusal(Exception):
    """An answer other than yes: an HTTP status and its message; ``retry_after`` seconds for 429."""

    def __init__(self, status, message, retry_after=None):
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


class Collection:
    """One shard with what a server keeps about a collection."""

    def __init__(self, folder, config=None):
        self.folder, self.name = folder, folder.name
        self.lock = threading.RLock()
        self.optimizing = False
        self.rows_since = 0
        if config is None:
            self.config = json.loads((folder / "config.json").read_text())
            self.shard = edge.EdgeShard.load(str(folder / "shard"))
            self.rows_since = self.count()
        else:
            folder.mkdir(parents=True)
            self.config = config
            self.save()
            self.shard = edge.EdgeShard.create(str(folder / "shard"), self.edge_config())

    def save(self):
        part = self.folder / "config.new"
        part.write_text(json.dumps(self.config))
        part.replace(self.folder / "config.json")

    def hnsw(self):
        return {**HNSW, **(self.config.get("hnsw_config") or {})}

    def optimizers(self):
        return {**OPTIMIZERS, **(self.config.get("optimizers_config") or {})}

    def edge_config(self):
        vectors, hnsw = self.config["vectors"], self.hnsw()
        half = vectors.get("datatype") == "float16"
        quantization = self.config.get("quantization_config") or {}
        turbo = edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4)
        scalar = edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8)
        return edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(
                size=vectors["size"],
                distance=DISTANCES[vectors["distance"]],
                datatype=edge.VectorStorageDatatype.Float16 if half else edge.VectorStorageDatatype.Float32,
            ),
            hnsw_config=edge.HnswIndexConfig(**{k: hnsw[k] for k in ("m", "ef_construct", "full_scan_threshold")}),
            quantization_config=turbo if "turbo" in quantization else scalar if "scalar" in quantization else None,
            optimizers=edge.EdgeOptimizersConfig(
                indexing_threshold=self.optimizers()["indexing_threshold"] or None, default_segment_number=2
            ),
            wal_enabled=os.environ.get("STANDIN_WAL") == "1",  # 64 MB of files, slow to make
        )

    def update(self, change):
        """Change settings; ``change`` as in the REST request."""
        with self.lock:
            metadata = {**(self.config.get("metadata") or {}), **(change.pop("metadata", None) or {})}
            self.config["metadata"] = {k: v for k, v in metadata.items() if v is not None}
            if change.get("strict_mode_config"):
                self.config["strict_mode_config"] = change.pop("strict_mode_config")
            for key, value in change.items():
                self.config[key] = {**(self.config.get(key) or {}), **value}
            self.save()
            if change:
                self.shard.close()
                self.shard = edge.EdgeShard.load(str(self.folder / "shard"), self.edge_config())
                self.rows_since = self.count()

    def upsert(self, points):
        """Points as in the REST request."""
        size = self.config["vectors"]["size"]
        for point in points:
            if len(point["vector"]) != size:
                raise Refusal(
                    400, f"Wrong input: Vector dimension error: expected dim: {size}, got {len(point['vector'])}"
                )
        new = [edge.Point(p["id"], p["vector"], p.get("payload") or {}) for p in points]
        with self.lock:
            self.shard.update(edge.UpdateOperation.upsert_points(new))
            self.rows_since += len(new)

    def edit(self, what, body):
        """Points deleted, or their payload changed, by hand."""
        ids, update = body["points"], edge.UpdateOperation
        operation = {
            "delete": lambda: update.delete_points(ids),
            "set": lambda: update.set_payload(ids, body["payload"]),
            "overwrite": lambda: update.overwrite_payload(ids, body["payload"]),
            "remove": lambda: update.delete_payload(ids, body["keys"]),
        }[what]()
        with self.lock:
            self.shard.update(operation)

    def delete_matching(self, condition):
        self.check_filter(condition)
        with self.lock:
            self.shard.update(edge.UpdateOperation.delete_points_by_filter(edge_filter(condition)))

    def create_index(self, field, schema):
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "keyword":
            params = edge.KeywordIndexParams(prefix=True)
        elif kind == "text":
            params = edge.TextIndexParams(tokenizer=edge.TokenizerType.Word, lowercase=True, phrase_matching=True)
        else:
            params = {
                "integer": edge.IntegerIndexParams(lookup=True, range=True),
                "float": edge.FloatIndexParams(),
                "bool": edge.BoolIndexParams(),
            }[kind]
        with self.lock:
            most, there = self.strict().get("max_payload_index_count"), self.config.get("payload_schema", {})
            if most is not None and field not in there and len(there) >= most:
                raise Refusal(
                    400, f"Bad request: Collection already has the maximum number of payload indices ({most})"
                )
            self.shard.update(edge.UpdateOperation.create_field_index(field, params))
            self.config.setdefault("payload_schema", {})[field] = kind
            self.save()

    def strict(self):
        """The strict mode's settings, where it is on."""
        strict = self.config.get("strict_mode_config") or {}
        return strict if strict.get("enabled") else {}

    def check_filter(self, condition):
        """Refuse a filter on a field without an index, where strict mode does."""
        if condition is None or self.strict().get("unindexed_filtering_retrieve") is not False:
            return
        for part in (condition.must, condition.should, condition.must_not):
            for c in part if isinstance(part, list) else [] if part is None else [part]:
                if isinstance(c, models.Filter):
                    self.check_filter(c)
                elif isinstance(c, models.FieldCondition) and c.key not in self.config.get("payload_schema", {}):
                    kinds = "float, integer" if c.range is not None else "keyword"
                    raise Refusal(
                        400,
                        f'Bad request: Index required but not found for "{c.key}" of one of the following types: '
                        f"[{kinds}]. Help: Create an index for this key or use a different filter.",
                    )

    def count_for(self, condition, exact):
        """A client's count."""
        if exact and self.strict().get("search_allow_exact") is False:
            raise Refusal(400, "Bad request: Exact search disabled!. Help: Set exact=false.")
        self.check_filter(condition)
        return self.count(condition)

    def count(self, condition=None):
        with self.lock:
            return self.shard.count(edge.CountRequest(exact=True, filter=edge_filter(condition)))

    def scroll(self, limit, offset, condition, with_payload, with_vector):
        most = self.strict().get("max_query_limit")
        if most is not None and limit > most:
            raise Refusal(400, f"Forbidden: Limit exceeded {limit} > {most} for max_query_limit")
        self.check_filter(condition)
        with self.lock:
            return self.shard.scroll(
                edge.ScrollRequest(
                    limit=limit,
                    offset=offset,
                    filter=edge_filter(condition),
                    with_payload=edge.PayloadSelector.Include(with_payload)
                    if isinstance(with_payload, list)
                    else with_payload,
                    with_vector=with_vector,
                )
            )

    def retrieve(self, ids, with_payload):
        with self.lock:
            return self.shard.retrieve(ids, with_payload, False)

    def query(self, requests):
        """Requests as ``models.QueryRequest``."""
        self._check_strict(requests)
        with self.lock:
            return self.shard.query_batch(edge.QueryBatchRequest([_query(r) for r in requests]))

    def disk_bytes(self):
        return sum(file.stat().st_blocks * 512 for file in self.folder.rglob("*") if file.is_file())

    def facet(self, key, limit):
        with self.lock:
            return self.shard.facet(edge.FacetRequest(key, limit=limit, exact=True)).hits

    def _check_strict(self, requests):
        strict = self.config.get("strict_mode_config") or {}
        if not strict.get("enabled"):
            return
        for request in requests:
            params = request.params or models.SearchParams()
            oversampling = (params.quantization.oversampling if params.quantization else None) or 0
            for name, value in (
                ("search_max_batchsize", len(requests)),
                ("max_query_limit", request.limit),
                ("search_max_hnsw_ef", params.hnsw_ef or 0),
                ("search_max_oversampling", oversampling),
            ):
                if strict.get(name) is not None and value > strict[name]:
                    raise Refusal(400, f"Forbidden: Limit exceeded {value} > {strict[name]} for {name}")
            if strict.get("search_allow_exact") is False and params.exact:
                raise Refusal(400, "Bad request: Exact search disabled!. Help: Set exact=false.")
            self.check_filter(request.filter)

    def info(self):
        """``models.CollectionInfo``; starts the optimiser where a server would have by now."""
        with self.lock:
            facts, hnsw, optimizers = self.shard.info(), self.hnsw(), self.optimizers()
            waiting = self.rows_since * self.config["vectors"]["size"] * 4 / 1024 > optimizers["indexing_threshold"]
            if waiting and optimizers["indexing_threshold"] and not self.optimizing:
                self.optimizing = True
                threading.Thread(target=self._optimize, daemon=True).start()
            keep = ("vectors", "shard_number", "replication_factor", "write_consistency_factor")
            config = {
                "params": {k: v for k, v in self.config.items() if k in keep and v is not None},
                "hnsw_config": hnsw,
                "optimizer_config": optimizers,
                "quantization_config": self.config.get("quantization_config"),
                "strict_mode_config": self.config.get("strict_mode_config"),
                "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
                "metadata": self.config.get("metadata"),
            }
            schema = self.config.get("payload_schema", {})
            return models.CollectionInfo.model_validate(
                {
                    "status": "yellow" if self.optimizing else "green",
                    "optimizer_status": "ok",
                    "indexed_vectors_count": facts.indexed_vectors_count,
                    "points_count": facts.points_count,
                    "segments_count": facts.segments_count,
                    "config": config,
                    "payload_schema": {k: {"data_type": v, "points": facts.points_count} for k, v in schema.items()},
                }
            )

    def _optimize(self):
        with self.lock:
            self.shard.optimize()
            self.rows_since, self.optimizing = 0, False

    def snapshot(self, path):
        """A tar of the shard as documentation describes a server's: segments and an empty log."""
        with self.lock, tarfile.open(path, "w") as tar:
            self.shard.flush()
            tar.add(self.folder / "shard" / "segments", "segments")

    def drop(self):
        with self.lock:
            self.shard.close()
            shutil.rmtree(self.folder)


class Collections:
    """All collections below a folder."""

    def __init__(self, root):
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._open = {}
        for folder in sorted(self.root.iterdir()):
            if (folder / "config.json").exists():
                self._open[folder.name] = Collection(folder)

    def names(self):
        return sorted(self._open)

    def get(self, name):
        if name not in self._open:
            raise Refusal(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._open[name]

    def create(self, name, config):
        with self._lock:
            if name in self._open:
                raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
            self._open[name] = Collection(self.root / name, config)

    def drop(self, name):
        with self._lock:
            collection = self._open.pop(name, None)
        if collection:
            collection.drop()
        return collection is not None


def plain_id(point_id):
    """An id as JSON has it."""
    return point_id if isinstance(point_id, int) else str(point_id)


def _query(request):
    params = request.params or models.SearchParams()
    quantization = params.quantization and edge.QuantizationSearchParams(
        rescore=params.quantization.rescore, oversampling=params.quantization.oversampling
    )
    vector = request.query.nearest if isinstance(request.query, models.NearestQuery) else request.query
    return edge.QueryRequest(
        limit=request.limit or 10,
        query=edge.Query.Nearest([float(x) for x in vector]),
        filter=edge_filter(request.filter),
        params=edge.SearchParams(hnsw_ef=params.hnsw_ef, exact=bool(params.exact), quantization=quantization),
        with_payload=bool(request.with_payload),
    )


def edge_filter(condition):
    """``models.Filter`` for the engine."""
    if condition is None:
        return None
    parts = {}
    for name in ("must", "should", "must_not"):
        given = getattr(condition, name)
        given = given if isinstance(given, list) or given is None else [given]
        parts[name] = None if given is None else [_condition(c) for c in given]
    return edge.Filter(**parts)


def _condition(c):
    if isinstance(c, models.Filter):
        return edge_filter(c)
    if isinstance(c, models.HasIdCondition):
        return edge.HasIdCondition({uuid.UUID(i) if isinstance(i, str) else i for i in c.has_id})
    if not isinstance(c, models.FieldCondition):
        raise Refusal(400, f"the stand-in does not know {type(c).__name__}")
    if c.range is not None:
        bounds = {k: v for k, v in c.range.model_dump().items() if v is not None}
        return edge.FieldCondition(c.key, range=edge.RangeFloat(**bounds))
    match = c.match
    if isinstance(match, models.MatchValue):
        value = np.bool_(match.value) if isinstance(match.value, bool) else match.value
        return edge.FieldCondition(c.key, match=edge.MatchValue(value))
    if isinstance(match, models.MatchAny):
        return edge.FieldCondition(c.key, match=edge.MatchAny(match.any))
    if isinstance(match, models.MatchExcept):
        return edge.FieldCondition(c.key, match=edge.MatchExcept(match.except_))
    if isinstance(match, models.MatchText):
        return edge.FieldCondition(c.key, match=edge.MatchText(match.text))
    raise Refusal(400, f"the stand-in does not know {type(match).__name__}")
