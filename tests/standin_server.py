"""A stand-in for a Qdrant server, as a process: REST and gRPC in front of the embedded engine.

``python tests/standin_server.py FOLDER REST_PORT GRPC_PORT`` (0 for no gRPC). What it answers was
written after the client's own request and response classes; it is no proof that a real server
answers the same. Settings by environment: ``STANDIN_VERSION``, ``QDRANT__SERVICE__API_KEY``,
``QDRANT__SERVICE__READ_ONLY_API_KEY``, ``STANDIN_MINUTE`` (seconds, of write rates),
``STANDIN_STRICT`` (JSON, settings of new collections that they do not choose themselves),
``STANDIN_CERT`` and ``STANDIN_KEY`` (TLS). ``POST /standin`` changes its version, or makes the
next requests fail.
"""

import contextlib
import json
import math
import os
import re
import ssl
import sys
import tempfile
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
from qdrant_client import grpc as q
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc, grpc_to_payload
from standin_engine import Collections, Refusal, plain_id

MAX_BODY = 32 << 20
MINUTE = float(os.environ.get("STANDIN_MINUTE", "60"))  # seconds, of write rates
# What the dashboard's editor and buttons send.
EDITS = {
    ("/points/delete", "POST"): "delete",
    ("/points/payload", "POST"): "set",
    ("/points/payload", "PUT"): "overwrite",
    ("/points/payload/delete", "POST"): "remove",
    ("/points/batch", "POST"): "batch",
}
GRPC_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}


class Server:
    """What both protocols share: the collections, the key, and faults to order."""

    def __init__(self, root):
        self.collections = Collections(root)
        self.version = os.environ.get("STANDIN_VERSION", "1.20.0")
        self.key = os.environ.get("QDRANT__SERVICE__API_KEY")
        self.reading_key = os.environ.get("QDRANT__SERVICE__READ_ONLY_API_KEY")
        self.retry_after = 1  # seconds, of the faults that are a rate limit
        self.faults = []  # statuses of the next requests about points
        counted = "rest, grpc, rest writes, grpc writes, grpc keys, upserts, largest, at once"
        self.seen = dict.fromkeys(counted.split(", "), 0)
        self._upserting = 0
        self._budgets = {}
        self._lock = threading.Lock()

    def enter(self, protocol, key, about_points, writes):
        with self._lock:
            self.seen[protocol] += 1
            self.seen[f"{protocol} writes"] += writes
            self.seen["grpc keys"] += protocol == "grpc" and key is not None
            if self.key and (key is None or key not in (self.key, self.reading_key)):
                raise Refusal(401, "Must provide an API key or an Authorization bearer token")
            if self.key and key != self.key and writes:
                raise Refusal(403, "Forbidden: Global manage access is required")
            if about_points and self.faults:
                status = self.faults.pop(0)
                raise Refusal(status, f"ordered fault {status}", self.retry_after if status == 429 else None)

    def upsert(self, name, points, size):
        with self._lock:
            self.seen["upserts"] += 1
            self.seen["largest"] = max(self.seen["largest"], size)
            self._upserting += 1
            self.seen["at once"] = max(self.seen["at once"], self._upserting)
        try:
            self._upsert(name, points)
        finally:
            with self._lock:
                self._upserting -= 1

    def _upsert(self, name, points):
        strict = self.collections.get(name).config.get("strict_mode_config") or {}
        if strict.get("enabled") and len(points) > (strict.get("upsert_max_batchsize") or len(points)):
            raise Refusal(400, f"Forbidden: Limit exceeded {len(points)} for upsert limit")
        rate = strict.get("enabled") and strict.get("write_rate_limit")
        if rate:
            self._spend(name, len(points), rate)
        self.collections.get(name).upsert(points)

    def _spend(self, name, points, rate):
        """Points a minute, as a bucket that fills again."""
        said = "Rate limiting exceeded: Write rate limit exceeded, "
        if points > rate:
            raise Refusal(429, f"{said}request larger than rate limiter capacity, please try to split your request", 1)
        with self._lock:
            now = time.monotonic()
            left, then = self._budgets.get(name, (rate, now))
            left = min(rate, left + (now - then) * rate / MINUTE)
            if points > left:
                self._budgets[name] = left, now
                raise Refusal(429, f"{said}retry later", math.ceil((points - left) * MINUTE / rate))
            self._budgets[name] = left - points, now

    def tells_sizes(self):
        return tuple(map(int, self.version.split(".")[:2])) >= (1, 18)

    def create(self, name, config):
        config = {**json.loads(os.environ.get("STANDIN_STRICT", "{}")), **config}
        metadata = tuple(map(int, self.version.split(".")[:2])) >= (1, 16)
        self.collections.create(name, config if metadata else {**config, "metadata": None})


# REST


class Rest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "standin"

    def log_message(self, *_):
        pass

    def do_any(self):
        began = time.monotonic()
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("content-length") or 0)
        try:
            if length > MAX_BODY:
                self.close_connection = True
                raise Refusal(400, f"JSON payload ({length} bytes) is larger than allowed (limit: {MAX_BODY} bytes).")
            raw = self.rfile.read(length)
            if len(raw) < length:
                self.close_connection = True
                return
            body = json.loads(raw) if raw else {}
            backend = self.server.backend
            if path == "/standin":
                backend.faults[:] = body["faults"]
                backend.retry_after = body.get("retry_after", 1)
                backend.version = body["version"]
                result = dict(backend.seen)
            else:
                writes = self.command in ("PUT", "PATCH", "DELETE")
                backend.enter("rest", self.headers.get("api-key"), "/points" in path, writes)
                result = self.route(path.rstrip("/"), body, length)
        except Refusal as refusal:
            self.answer(refusal.status, {"status": {"error": refusal.message}, "time": 0.0}, refusal.retry_after)
            return
        if isinstance(result, Path):
            self.send_file(result)
        elif path == "/":
            self.answer(200, result)
        else:
            self.answer(200, {"result": result, "status": "ok", "time": time.monotonic() - began})

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_any

    def answer(self, status, data, retry_after=None):
        raw = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        if retry_after is not None:
            self.send_header("retry-after", str(retry_after))
        self.end_headers()
        self.wfile.write(raw)

    def send_file(self, path):
        raw = path.read_bytes()
        path.unlink()
        self.send_response(200)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def route(self, path, body, length):
        collections, verb = self.server.backend.collections, self.command
        if path == "":
            return {"title": "qdrant - stand-in", "version": self.server.backend.version}
        if path == "/collections":
            return {"collections": [{"name": name} for name in collections.names()]}
        match = re.fullmatch(r"/collections/([^/]+)(/.*)?", path)
        if match is None:
            raise Refusal(404, f"no {path}")
        name, rest = match[1], match[2] or ""
        if rest == "/exists":
            return {"exists": name in collections.names()}
        if rest == "" and verb == "PUT":
            config = models.CreateCollection.model_validate(body).model_dump(mode="json", exclude_none=True)
            self.server.backend.create(name, config)
            return True
        if rest == "" and verb == "DELETE":
            return collections.drop(name)
        return self.collection(collections.get(name), rest, verb, body, length)

    def collection(self, collection, rest, verb, body, length):
        if rest == "" and verb == "PATCH":
            change = models.UpdateCollection.model_validate(body).model_dump(mode="json", exclude_none=True)
            if body.get("metadata"):
                change["metadata"] = body["metadata"]  # null removes a key
            collection.update(change)
            return True
        if rest == "":
            return collection.info().model_dump(mode="json", exclude_none=True)
        if (rest, verb) == ("/memory", "GET") and self.server.backend.tells_sizes():
            used = dict.fromkeys(("ram_bytes", "cached_bytes", "expected_cache_bytes"), 0)
            return {"total": {"disk_bytes": collection.disk_bytes(), **used}, "vectors": [], "sparse_vectors": []}
        if (rest, verb) == ("/shards/0/snapshot", "GET"):
            path = Path(tempfile.mkstemp(suffix=".snapshot")[1])
            collection.snapshot(path)
            return path
        return self.points(collection, rest, verb, body, length)

    def points(self, collection, rest, verb, body, length):
        done = {"operation_id": 0, "status": "completed"}
        if (rest, verb) == ("/index", "PUT"):
            collection.create_index(body["field_name"], body["field_schema"])
            return done
        if (rest, verb) == ("/points", "PUT"):
            self.server.backend.upsert(collection.name, body["points"], length)
            return done
        if (rest, verb) == ("/points", "POST"):
            found = collection.retrieve(body["ids"], body.get("with_payload", True))
            return [{"id": plain_id(r.id), "payload": r.payload} for r in found]
        if (rest, verb) == ("/points/delete", "POST") and "filter" in body:
            collection.delete_matching(models.Filter.model_validate(body["filter"]))
            return done
        if (rest, verb) in EDITS:
            return edited(collection, EDITS[rest, verb], body, done)
        condition = models.Filter.model_validate(body["filter"]) if body.get("filter") else None
        if rest == "/points/count":
            return {"count": collection.count_for(condition, body.get("exact", True))}
        if rest == "/points/scroll":
            with_payload, with_vector = body.get("with_payload", True), body.get("with_vector", False)
            page, following = collection.scroll(
                body.get("limit") or 10, body.get("offset"), condition, with_payload, with_vector
            )
            points = [{"id": plain_id(r.id), "payload": r.payload, "vector": r.vector} for r in page]
            return {"points": points, "next_page_offset": None if following is None else plain_id(following)}
        if rest == "/points/query/batch":
            requests = [models.QueryRequest.model_validate(r) for r in body["searches"]]
            return [
                {
                    "points": [
                        {"id": plain_id(p.id), "version": 0, "score": p.score, "payload": p.payload} for p in found
                    ]
                }
                for found in collection.query(requests)
            ]
        if rest == "/facet":
            hits = collection.facet(body["key"], body.get("limit") or 10)
            return {"hits": [{"value": h.value, "count": h.count} for h in hits]}
        raise Refusal(404, f"no {verb} {rest}")


def edited(collection, what, body, done):
    if what != "batch":
        collection.edit(what, body)
        return done
    for operation in body["operations"]:
        [(what, given)] = operation.items()
        collection.edit({"set_payload": "set", "delete": "delete"}[what], given)
    return [done] * len(body["operations"])


# gRPC


def answering(work):
    """A servicer's method: checks the key and turns refusals into status codes."""

    def answer(self, request, context):
        metadata = dict(context.invocation_metadata())
        try:
            writes = work.__name__ in ("Create", "Update", "Delete", "Upsert", "CreateFieldIndex")
            self.server.enter("grpc", metadata.get("api-key"), isinstance(self, PointsOverGrpc), writes)
            return work(self, request)
        except Refusal as refusal:
            if refusal.retry_after is not None:
                context.set_trailing_metadata((("retry-after", str(refusal.retry_after)),))
            context.abort(GRPC_CODES[refusal.status], refusal.message)

    return answer


class RootOverGrpc(q.QdrantServicer):
    def __init__(self, server):
        self.server = server

    @answering
    def HealthCheck(self, request):
        return q.HealthCheckReply(title="qdrant - stand-in", version=self.server.version)


class CollectionsOverGrpc(q.CollectionsServicer):
    def __init__(self, server):
        self.server, self.collections = server, server.collections

    @answering
    def List(self, request):
        return q.ListCollectionsResponse(
            collections=[q.CollectionDescription(name=name) for name in self.collections.names()]
        )

    @answering
    def CollectionExists(self, request):
        exists = request.collection_name in self.collections.names()
        return q.CollectionExistsResponse(result=q.CollectionExists(exists=exists))

    @answering
    def Get(self, request):
        info = self.collections.get(request.collection_name).info()
        return q.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))

    @answering
    def Create(self, request):
        convert, config = GrpcToRest, {}
        for name, field, work in (
            ("vectors", "vectors_config", convert.convert_vectors_config),
            ("hnsw_config", "hnsw_config", convert.convert_hnsw_config_diff),
            ("optimizers_config", "optimizers_config", convert.convert_optimizers_config_diff),
            ("quantization_config", "quantization_config", convert.convert_quantization_config),
        ):
            if request.HasField(field):
                config[name] = work(getattr(request, field)).model_dump(mode="json", exclude_none=True)
        for name in ("shard_number", "replication_factor", "write_consistency_factor"):
            if request.HasField(name):
                config[name] = getattr(request, name)
        config["metadata"] = grpc_to_payload(request.metadata)
        self.server.create(request.collection_name, config)
        return q.CollectionOperationResponse(result=True)

    @answering
    def Update(self, request):
        change = GrpcToRest.convert_update_collection(request).model_dump(mode="json", exclude_none=True)
        change["metadata"] = grpc_to_payload(request.metadata)
        self.collections.get(request.collection_name).update(change)
        return q.CollectionOperationResponse(result=True)

    @answering
    def Delete(self, request):
        return q.CollectionOperationResponse(result=self.collections.drop(request.collection_name))


class PointsOverGrpc(q.PointsServicer):
    def __init__(self, server):
        self.server, self.collections = server, server.collections

    @answering
    def Upsert(self, request):
        points = [
            {"id": _id_of(p.id), "vector": list(p.vectors.vector.dense.data), "payload": grpc_to_payload(p.payload)}
            for p in request.points
        ]
        self.server.upsert(request.collection_name, points, request.ByteSize())
        return q.PointsOperationResponse(result=q.UpdateResult(operation_id=0, status=q.UpdateStatus.Completed))

    @answering
    def Delete(self, request):
        condition = GrpcToRest.convert_filter(request.points.filter)
        self.collections.get(request.collection_name).delete_matching(condition)
        return q.PointsOperationResponse(result=q.UpdateResult(operation_id=0, status=q.UpdateStatus.Completed))

    @answering
    def CreateFieldIndex(self, request):
        kind = q.FieldType.Name(request.field_type).removeprefix("FieldType").lower()
        self.collections.get(request.collection_name).create_index(request.field_name, kind)
        return q.PointsOperationResponse(result=q.UpdateResult(operation_id=0, status=q.UpdateStatus.Completed))

    @answering
    def Count(self, request):
        exact = request.exact if request.HasField("exact") else True
        count = self.collections.get(request.collection_name).count_for(_filter(request), exact)
        return q.CountResponse(result=q.CountResult(count=count))

    @answering
    def Get(self, request):
        collection = self.collections.get(request.collection_name)
        found = collection.retrieve([_id_of(p) for p in request.ids], request.with_payload.enable)
        records = [models.Record(id=plain_id(r.id), payload=r.payload or {}) for r in found]
        return q.GetResponse(result=[RestToGrpc.convert_record(r) for r in records])

    @answering
    def Scroll(self, request):
        page, following = self.collections.get(request.collection_name).scroll(
            request.limit,
            _id_of(request.offset) if request.HasField("offset") else None,
            _filter(request),
            list(request.with_payload.include.fields) or request.with_payload.enable,
            request.with_vectors.enable,
        )
        records = [models.Record(id=plain_id(r.id), payload=r.payload or {}, vector=r.vector) for r in page]
        offset = None if following is None else RestToGrpc.convert_extended_point_id(plain_id(following))
        return q.ScrollResponse(result=[RestToGrpc.convert_record(r) for r in records], next_page_offset=offset)

    @answering
    def QueryBatch(self, request):
        requests = [GrpcToRest.convert_query_points(r) for r in request.query_points]
        found = self.collections.get(request.collection_name).query(requests)
        points = [
            [models.ScoredPoint(id=plain_id(p.id), version=0, score=p.score, payload=p.payload or {}) for p in hits]
            for hits in found
        ]
        return q.QueryBatchResponse(
            result=[q.BatchResult(result=[RestToGrpc.convert_scored_point(p) for p in hits]) for hits in points]
        )


def _id_of(point_id):
    return point_id.num if point_id.HasField("num") else point_id.uuid


def _filter(request):
    return GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None


def serve_grpc(backend, port, certificate):
    server = grpc.server(
        futures.ThreadPoolExecutor(8),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    q.add_QdrantServicer_to_server(RootOverGrpc(backend), server)
    q.add_CollectionsServicer_to_server(CollectionsOverGrpc(backend), server)
    q.add_PointsServicer_to_server(PointsOverGrpc(backend), server)
    if certificate:
        chain, key = (Path(path).read_bytes() for path in certificate)
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, chain)]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server


def main():
    root, rest_port, grpc_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    backend = Server(root)
    certificate = (os.environ["STANDIN_CERT"], os.environ["STANDIN_KEY"]) if "STANDIN_CERT" in os.environ else None
    ThreadingHTTPServer.allow_reuse_address = True
    rest = ThreadingHTTPServer(("127.0.0.1", rest_port), Rest)
    rest.backend, rest.daemon_threads = backend, True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        rest.socket = context.wrap_socket(rest.socket, server_side=True)
    kept = serve_grpc(backend, grpc_port, certificate) if grpc_port else None  # noqa: F841 - stops when collected
    print("ready", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        rest.serve_forever()


if __name__ == "__main__":
    main()
