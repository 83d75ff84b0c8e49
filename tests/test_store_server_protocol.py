"""The server adapter over both protocols, against the stand-in of `standin_server`.

A real server is another matter: see the tests marked `server` in test_store_congruence.
"""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from qdrant_client import models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from standins import HERE, StandIn, tls_pair
from test_store_rows import CORPUS, Rows, assert_same_hits

from lensbank.schemas.errors import StoreError, StoreLockedError, UsageError
from lensbank.schemas.filters import parse
from lensbank.store.approximation import GRAPH_FROM_ROWS, SERVER_GRAPH_FROM_ROWS
from lensbank.store.opening import open_store
from lensbank.store.server.claims import HOLDER_KEY
from lensbank.store.server.connection import Connection
from lensbank.store.server.lanes import Batch
from lensbank.store.server.options import ServerOptions, parse_options
from lensbank.store.server.points import rest_body, row_bytes
from lensbank.store.server.store import ServerStore
from lensbank.store.server.writer import ROWS_KEY

COUNT = 300


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


def options(server, protocol, **changes):
    return ServerOptions(protocol=protocol, grpc_port=server.grpc_port, **{"patience": 20.0, **changes})


@pytest.fixture(params=["rest", "grpc"])
def store(request, server):
    server.order_faults()
    with open_store(server.url, server=options(server, request.param)) as store:
        assert store.protocol == request.param
        yield store
        for info in store.list():
            store.drop(info.name)


@pytest.fixture
def rows():
    return Rows(COUNT)


def write(store, rows, **finish):
    with store.writer(rows.identities(), "/model") as writer:
        for start in range(0, len(rows.ids), 90):
            rows.put(writer, start, start + 90)
        writer.finish(CORPUS, **finish)


def test_what_is_written_is_found(store, rows):
    seen = []
    write(store, rows, progress=lambda done, total: seen.append((done, total)), graph=True)
    assert seen[-1] == (2 * COUNT, 2 * COUNT) and seen == sorted(seen)
    assert [(b.rows, b.record.state, b.record.corpora) for b in store.list()] == [
        (COUNT, "complete", (dataclasses.replace(CORPUS, rows=COUNT),))
    ] * 2
    queries = np.random.default_rng(0).standard_normal((300, 16)) * 9
    for layer, identity in zip((4, 5), rows.identities(), strict=True):
        with store.open(identity) as bank:
            assert_same_hits(bank.search(queries, 4), rows.nearest(layer, queries, 4))
            assert_same_hits(bank.search(queries[:2], 10**9), rows.nearest(layer, queries[:2], COUNT))
            hit = bank.search(rows.vectors[layer][3:4], 1)[0][0]
            assert hit.payload == {**rows.payloads[3], "norm": pytest.approx(rows.norms[layer][3])}
            assert bank.count(parse(["word=dog"])) == sum(p["word"] == "dog" for p in rows.payloads)
            page, following = bank.scroll(10, None, with_vectors=True)
            assert len(page) == 10 and following is not None
            unit = dict(zip(rows.ids, rows.vectors[layer] / rows.norms[layer][:, None], strict=True))
            for name, vector, _ in page:
                np.testing.assert_allclose(vector, unit[name], atol=2e-7)


def test_the_collection_is_set_up_as_advised(store, rows, raw):
    name = rows.identities()[0].name()
    store.writer(rows.identities(), "/model").close()
    empty = raw.get_collection(name)
    assert empty.points_count == 0 and len(empty.payload_schema) == 6, "payload indexes come before the rows"
    write(store, rows)
    info = raw.get_collection(name)
    assert info.config.hnsw_config.m == 0, "no graph unless it pays"
    assert {k: v.data_type.value for k, v in info.payload_schema.items()} == {
        "token": "keyword",
        "word": "keyword",
        "corpus": "keyword",
        "position": "integer",
        "is_word": "bool",
        "sentence": "text",
    }
    assert info.config.metadata["lensbank"]["state"] == "complete"
    assert info.config.metadata[ROWS_KEY] == COUNT and HOLDER_KEY not in info.config.metadata


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_shards_and_replicas_are_passed_on(server, rows, raw, protocol):
    asked = options(server, protocol, shards=3, replicas=2, write_consistency=1)
    with open_store(server.url, server=asked) as store:
        store.writer(rows.identities(), "/model").close()
        params = raw.get_collection(rows.identities()[0].name()).config.params
        assert (params.shard_number, params.replication_factor, params.write_consistency_factor) == (3, 2, 1)
        for info in store.list():
            store.drop(info.name)


def test_the_later_row_of_an_id_wins(store):
    rows, later = Rows(300, layers=(4,)), Rows(300, layers=(4,), seed=1)
    later.ids = rows.ids
    with store.writer(rows.identities(), "/model") as writer:
        for start in range(0, 300, 30):
            rows.put(writer, start, start + 30)
            later.put(writer, start, start + 30)
        writer.finish(CORPUS)
    with store.open(rows.identities()[0]) as bank:
        found = bank.search(later.vectors[4], 1)
    assert [f[0].id for f in found] == rows.ids
    assert min(f[0].score for f in found) > 0.99999


def test_a_server_that_refuses_for_a_while(server, store, rows):
    with store.writer(rows.identities(), "/model") as writer:
        server.order_faults(503, 429, 500, 503)
        rows.put(writer)
        writer.finish(CORPUS)
    assert server.order_faults() and [b.rows for b in store.list()] == [COUNT] * 2
    server.order_faults(503)
    with store.open(rows.identities()[0]) as bank:
        assert bank.count() == COUNT, "reading waits, too"


def test_an_error_that_stays_is_told(server, store, rows, monkeypatch):
    monkeypatch.setattr("lensbank.store.server.connection._FIRST_PAUSE", 0.01)
    with pytest.raises(StoreError, match="ordered fault 500"), store.writer(rows.identities(), "/model") as writer:
        server.order_faults(*[500] * 200)
        rows.put(writer)
        writer.finish(CORPUS)
    server.order_faults()
    assert [b.record.state for b in store.list()] == ["building"] * 2
    write(store, rows)
    assert [(b.rows, b.record.state) for b in store.list()] == [(COUNT, "complete")] * 2


def test_patience_ends(server, rows, monkeypatch):
    monkeypatch.setattr("lensbank.store.server.connection._NOTE_AFTER", 0.5)
    said = []
    impatient = options(server, "rest", patience=1.5)
    with open_store(server.url, server=impatient, notify=said.append) as store:
        server.order_faults(*[503] * 500)
        with pytest.raises(
            StoreError, match=r"failed for ([2-9]|\d\d+) s: 503 ordered fault 503. When .* continues where it stopped"
        ):
            write(store, rows)
        server.order_faults()
        for info in store.list():
            store.drop(info.name)
    assert len(said) == 1 and "does not answer (503 ordered fault 503). Waiting up to 2 s" in said[0]


def test_a_body_over_rest_holds_the_very_numbers_and_the_fields_people_look_for_first(rows):
    vectors = rows.vectors[4].copy()
    tiny = np.finfo(np.float32)
    vectors[0, :6] = (tiny.max, tiny.tiny, tiny.smallest_subnormal, -0.0, 1 / 3, 1e-5)
    body = rest_body(Batch("bank", rows.ids, rows.payloads, vectors))
    points = json.loads(body)["points"]
    assert [point["id"] for point in points] == rows.ids
    assert [point["payload"] for point in points] == rows.payloads
    assert all(list(point["payload"])[:3] == ["word", "sentence", "position"] for point in points)
    read = np.array([point["vector"] for point in points], np.float32)
    assert read.tobytes() == vectors.tobytes()
    assert len(body) < sum(row_bytes(payload, vectors.shape[1]) for payload in rows.payloads)


def test_a_payload_without_the_first_fields_gets_none(rows):
    body = rest_body(Batch("bank", rows.ids[:1], [{"norm": 1.0, "position": 2}], rows.vectors[4][:1]))
    assert list(json.loads(body)["points"][0]["payload"].items()) == [("position", 2), ("norm", 1.0)]


def test_rows_go_over_rest_without_the_clients_models(server, rows, monkeypatch):
    """They take four times the processor time of the arrays themselves."""

    def refused(*_, **__):
        raise AssertionError("a model of the client was made")

    monkeypatch.setattr(models.PointStruct, "__init__", refused)
    with open_store(server.url, server=options(server, "rest")) as store:
        write(store, rows, index=False)
        with store.open(rows.identities()[0]) as bank:
            payload = bank.payloads(rows.ids[:1])[rows.ids[0]]
        assert payload == {**rows.payloads[0], "norm": pytest.approx(rows.norms[4][0])}
        for info in store.list():
            store.drop(info.name)


def test_a_request_that_is_too_large_is_split(server, rows):
    """32 MB over REST: rows of 4,096 dimensions, and far too many at once."""
    wide = Rows(900, dim=4096, layers=(4,))
    assert len(rest_body(Batch("b", wide.ids, wide.payloads, wide.vectors[4]))) > 32 << 20
    greedy = options(server, "rest", batch_rows=900, batch_mb=1000.0, streams=1)
    with open_store(server.url, server=greedy) as store:
        with store.writer(wide.identities(), "/model") as writer:
            wide.put(writer)
            writer.finish(CORPUS, index=False)
        assert [b.rows for b in store.list()] == [900]
        assert server.order_faults()["largest"] < 32 << 20
        store.drop(store.list()[0].name)


def test_requests_keep_to_their_size(server, rows):
    wide = Rows(150, dim=4096, layers=(4,))
    small = StandIn(grpc=False)
    with small, open_store(small.url, server=options(small, "rest", batch_mb=2.0)) as store:
        write(store, wide, index=False)
        seen = small.order_faults()
    assert seen["largest"] < 2.2 * (1 << 20) and seen["upserts"] > 4, "sized by bytes, long before 256 rows"


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_graph_is_built_when_the_rows_are_there(server, rows, raw, protocol):
    """Switched on only then, and waited for."""
    wide = Rows(600, dim=512, layers=(4,))
    name = wide.identities()[0].name()
    with open_store(server.url, server=options(server, protocol)) as store:
        with store.writer(wide.identities(), "/model") as writer:
            raw.update_collection(name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=100))
            wide.put(writer)
            writer.flush()
            assert raw.get_collection(name).config.hnsw_config.m == 0
            writer.finish(CORPUS, graph=True)
        info = raw.get_collection(name)
        assert (info.status, info.config.hnsw_config.m, info.indexed_vectors_count) == ("green", 16, 600)
        store.drop(name)


def test_a_graph_is_built_where_it_pays_on_a_server(server, monkeypatch):
    """There from fewer rows on than in a folder: a scan of few bits gains a batch of queries nothing."""
    assert SERVER_GRAPH_FROM_ROWS < GRAPH_FROM_ROWS
    monkeypatch.setattr("lensbank.store.server.writer.SERVER_GRAPH_FROM_ROWS", 30)
    asked = []
    monkeypatch.setattr("lensbank.store.server.writer.build_index", lambda c, name, graph, *rest: asked.append(graph))
    with open_store(server.url) as store:
        for count in (29, 30):
            few = Rows(count, layers=(4,))
            write(store, few)
            store.drop(few.identities()[0].name())
    assert asked == [False, True]


def test_uploads_are_under_way_at_the_same_time(rows):
    for streams, least, most in ((1, 1, 1), (4, 2, 4)):
        with StandIn(grpc=False) as fresh:
            asked = options(fresh, "rest", streams=streams, batch_rows=10)
            with open_store(fresh.url, server=asked) as store:
                write(store, rows, index=False)
            assert least <= fresh.order_faults()["at once"] <= most


def test_waiting_grows_between_tries(monkeypatch):
    now, waits = [0.0], []

    def waited(connection, seconds, stop):
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("lensbank.store.server.connection._FIRST_PAUSE", 0.04)
    monkeypatch.setattr("lensbank.store.server.connection.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(Connection, "gives_up", waited)

    def fail(client):
        raise ResponseHandlingException(OSError("gone"))

    with pytest.raises(StoreError, match="gone"):
        Connection(None, "http://example:6333", version=(1, 20)).call(fail, patience=0.7)
    *gaps, _ = waits  # the last one is cut short by the deadline
    assert len(gaps) >= 3 and all(gap >= 0.02 * 2**i for i, gap in enumerate(gaps)) and sum(waits) <= 0.7


def test_only_errors_inside_the_server_count_towards_giving_up(monkeypatch):
    """A server that restarts refuses connections for a while, then may stumble once."""
    monkeypatch.setattr("lensbank.store.server.connection._FIRST_PAUSE", 0.0)
    gone = ResponseHandlingException(OSError("gone"))
    broken = UnexpectedResponse(500, "broken", b"", None)
    answers = [gone] * 8 + [broken]

    def work(client):
        if answers:
            raise answers.pop(0)
        return "fine"

    connection = Connection(None, "http://example:6333", version=(1, 20))
    assert connection.call(work, patience=10) == "fine"
    answers = [broken] * 7
    with pytest.raises(StoreError, match="500"):
        connection.call(work, patience=10)
    assert len(answers) == 1


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("lensbank.store.server.connecting._CONNECT_PATIENCE", 0.0)
    limits, handle = [], httpx.HTTPTransport.handle_request

    def handled(transport, request):
        limits.append(request.extensions["timeout"]["read"])
        return handle(transport, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handled)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(StoreError, match="timed out"):
            open_store(f"http://127.0.0.1:{deaf.getsockname()[1]}", server=ServerOptions(timeout=1))
    assert limits == [1]  # what it asked for, and once


def test_the_limits_of_strict_mode_are_kept(store, rows, raw):
    write(store, rows)
    names = [i.name() for i in rows.identities()]
    queries = np.random.default_rng(0).standard_normal((50, 16))
    strict = models.StrictModeConfig(
        enabled=True,
        search_max_batchsize=7,
        max_query_limit=20,
        search_max_hnsw_ef=50,
        search_max_oversampling=2,
        upsert_max_batchsize=50,
    )
    raw.update_collection(names[0], strict_mode_config=strict)
    raw.update_collection(names[1], strict_mode_config=models.StrictModeConfig(enabled=True, search_allow_exact=False))
    with store.open(names[0]) as bank:
        assert_same_hits(bank.search(queries, 5), rows.nearest(4, queries, 5))
        assert len(bank.search(queries, 5, exact=False)) == 50
        with pytest.raises(StoreError, match="allows 20 rows per query.*--top-k"):
            bank.search(queries, 21)
    with store.open(names[1]) as bank:
        with pytest.raises(StoreError, match="forbids exact search.*--approximate --no-recall-check"):
            bank.search(queries, 5)
        assert len(bank.search(queries, 5, exact=False)) == 50
        few = parse(["word=dog"])  # elsewhere reason enough to compare all of them
        assert not bank.compares_all(few) and len(bank.search(queries, 5, few, exact=False)) == 50
    write(store, rows)  # no more than 50 rows at once


def test_a_bank_has_one_writer(store, server, rows):
    with store.writer(rows.identities(), "/model") as writer:
        with pytest.raises(StoreLockedError, match=f"being written by process {os.getpid()}"):
            store.writer(rows.identities()[1:], "/model")
        rows.put(writer)
        writer.finish(CORPUS)
    write(store, rows)


def test_the_claim_of_a_killed_process_is_free_at_once(store, server, rows):
    code = (
        "import sys, os; from standins import *; from test_store_rows import Rows\n"
        "from lensbank.store.opening import open_store\n"
        "rows = Rows(300); store = open_store(sys.argv[1])\n"
        "writer = store.writer(rows.identities(), '/model'); rows.put(writer, 0, 100); writer.flush()\n"
        "rows.put(writer, 100); print('put', flush=True); os.kill(os.getpid(), 9)"
    )
    path = os.pathsep.join((str(HERE), str(HERE.parent)))
    done = subprocess.run(
        [sys.executable, "-c", code, server.url],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
    )
    assert done.stdout == "put\n" and done.returncode == -9, done.stderr
    assert all(info.record.state == "building" and info.rows >= 100 for info in store.list())
    write(store, rows)
    assert [(b.rows, b.record.state) for b in store.list()] == [(COUNT, "complete")] * 2


def test_a_claim_from_elsewhere_holds_until_it_is_old(store, rows, raw):
    write(store, rows)
    name = rows.identities()[0].name()
    lease = {"node": "elsewhere", "pid": 7, "token": "x", "seen": time.time()}
    raw.update_collection(name, metadata={HOLDER_KEY: lease})
    with pytest.raises(StoreLockedError, match="process 7 on elsewhere"):
        store.writer(rows.identities(), "/model")
    assert {b.record.state for b in store.list()} == {"complete"}, "a refused writer must change nothing"
    raw.update_collection(name, metadata={HOLDER_KEY: {**lease, "seen": time.time() - 1000}})
    write(store, rows)


def test_rows_that_the_server_lost_are_missed(store, rows, raw):
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.flush()
    raw.update_collection(rows.identities()[0].name(), metadata={ROWS_KEY: COUNT + 5})
    with pytest.raises(StoreError, match=f"has {COUNT} rows, but had {COUNT + 5} .* lost rows"):
        store.writer(rows.identities(), "/model")


def test_memory_is_bounded_where_the_server_is_slow(server, rows):
    """put() waits: rows in hand are a few requests, whatever is put."""
    with open_store(server.url, server=options(server, "rest", streams=2, batch_rows=50)) as store:
        with store.writer(rows.identities(), "/model") as writer:
            server.order_faults(*[503] * 10_000)
            done = threading.Event()

            def put():
                try:
                    for _ in range(20):
                        rows.put(writer)
                except StoreError:
                    pass
                done.set()

            threading.Thread(target=put, daemon=True).start()
            assert not done.wait(1.0)
            held = sum(waiting.qsize() for waiting in writer._uploads._lanes._queues)
            assert held <= 2
            server.order_faults()
            assert done.wait(60)
        for info in store.list():
            store.drop(info.name)


def test_grpc_is_taken_where_it_answers_and_rest_where_not(server):
    with open_store(server.url, server=options(server, "auto")) as store:
        assert store.protocol == "grpc"
    with StandIn(grpc=False) as other:
        said = []
        with open_store(other.url, notify=said.append) as store:
            assert store.protocol == "rest"
        assert len(said) == 1 and f"gRPC port {other.port + 1}" in said[0] and "Rows are sent over REST" in said[0]
        with pytest.raises(StoreError, match=f"gRPC port {other.port + 1}.*does not answer.*protocol=rest"):
            open_store(other.url, server=ServerOptions(protocol="grpc"))


def test_an_old_server_is_named(server):
    server.order_faults(version="1.15.5")
    with pytest.raises(StoreError, match=r"has version 1.15.5; expected 1.16 or newer.*Update the server"):
        open_store(server.url)
    server.order_faults()


@pytest.mark.parametrize(
    ("version", "kind"), [("1.16.0", "scalar"), ("1.17.3", "scalar"), ("1.18.0", "turbo"), ("1.20.1", "turbo")]
)
def test_quantisation_is_what_the_version_knows(server, rows, raw, version, kind):
    server.order_faults(version=version)
    with open_store(server.url, server=options(server, "rest")) as store:
        store.writer(rows.identities()[:1], "/model").close()
        config = raw.get_collection(rows.identities()[0].name()).config.quantization_config
        store.drop(rows.identities()[0].name())
    assert getattr(config, kind) is not None
    if version == "1.18.0":
        assert config.turbo.memory is None and config.turbo.always_ram
    server.order_faults()


def test_the_key_is_needed_sent_and_never_shown(rows, monkeypatch, capfd):
    with StandIn(QDRANT__SERVICE__API_KEY="open-sesame") as keyed:
        for key in (None, "wrong-key"):
            monkeypatch.setenv("QDRANT_API_KEY", key or "")
            with pytest.raises(StoreError, match="rejected the key: .*API key.*QDRANT_API_KEY") as caught:
                open_store(keyed.url)
            assert key is None or key not in str(caught.value)
        monkeypatch.setenv("QDRANT_API_KEY", "open-sesame")
        for protocol in ("rest", "grpc"):
            said = []
            asked = ServerOptions(protocol=protocol, grpc_port=keyed.grpc_port)
            with open_store(keyed.url, server=asked, notify=said.append) as store:
                write(store, rows)
                records = [str(b.record) for b in store.list()]
                assert "open-sesame" not in "".join([*records, *said, store.address])
        stored = b"".join(p.read_bytes() for p in keyed.folder.rglob("config.json"))
        assert b"open-sesame" not in stored
    assert "open-sesame" not in "".join(capfd.readouterr())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return tls_pair(tmp_path_factory.mktemp("tls"))


def test_tls_with_a_certificate_of_ones_own(certificate, rows):
    chain, key = map(str, certificate)
    with StandIn(STANDIN_CERT=chain, STANDIN_KEY=key) as server:
        for protocol in ("rest", "grpc"):
            trusting = ServerOptions(protocol=protocol, grpc_port=server.grpc_port, ca_file=certificate[0])
            with open_store(server.url, server=trusting) as store:
                write(store, rows)
                assert [b.rows for b in store.list()] == [COUNT] * 2
        with pytest.raises(StoreError, match="is not trusted: .*--server ca-file"):
            open_store(server.url, server=ServerOptions(protocol="rest"))


def test_a_key_over_plain_http_is_remarked_on(monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", "open-sesame")
    said = []
    with pytest.raises(StoreError):
        open_store("http://lensbank.invalid:1", server=ServerOptions(patience=0), notify=said.append)
    assert len(said) == 1 and "is sent unencrypted to http://lensbank.invalid:1; use https" in said[0]


def test_options_are_read_as_typed():
    assert parse_options([]) == ServerOptions()
    read = parse_options(["shards=2", "write-consistency=1", "timeout=30", "protocol=rest", "grpc_port=7000"])
    assert (read.shards, read.write_consistency, read.timeout, read.protocol, read.grpc_port) == (
        2,
        1,
        30,
        "rest",
        7000,
    )


@pytest.mark.parametrize(
    "text", ["shards", "shards=", "shards=0", "shards=two", "colour=red", "protocol=http", "timeout=inf"]
)
def test_options_that_cannot_be_are_usage_errors(text):
    with pytest.raises(UsageError, match="--server"):
        parse_options([text])


@pytest.mark.parametrize("url", ["http://", "http://host:99999", "https://host:port"])
def test_addresses_that_cannot_be(url):
    with pytest.raises(UsageError, match="URL"):
        ServerStore.connect(url)


def test_a_missing_certificate_file(server, tmp_path):
    with pytest.raises(UsageError, match="nowhere.pem cannot be read"):
        open_store(server.url, server=ServerOptions(ca_file=tmp_path / "nowhere.pem"))
