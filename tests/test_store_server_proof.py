"""Two servers on one machine: everything goes to the one that was asked."""

import time

import pytest
from click.testing import CliRunner
from qdrant_client import QdrantClient
from standins import StandIn, free_pair, hold, tls_pair
from test_store_rows import CORPUS, Rows

from lensbank.cli import main_group
from lensbank.schemas.errors import StoreError, UsageError
from lensbank.store.opening import open_store
from lensbank.store.server.options import ServerOptions
from lensbank.store.server.proof import PROOF_COLLECTION, PROOF_KEY


@pytest.fixture(scope="module")
def neighbours():
    """The first has REST alone; the second, which has banks of the same names, listens for gRPC one port above."""
    port = free_pair()
    with StandIn(grpc_port=port + 1) as second, StandIn(grpc=False, port=port) as first:
        yield first, second


@pytest.fixture
def rows():
    return Rows(120)


def write(store, rows):
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.finish(CORPUS)


def drop_all(server):
    with open_store(server.url, server=ServerOptions(protocol="rest")) as store:
        for info in store.list():
            store.drop(info.name)


def ids(server, identity):
    with open_store(server.url, server=ServerOptions(protocol="rest")) as store, store.open(identity) as bank:
        return {name for name, _, _ in bank.scroll(1000)[0]}


@pytest.mark.parametrize("theirs", ["nothing", "banks of the same name"])
def test_rows_listing_and_drop_go_to_the_server_that_was_asked(neighbours, rows, theirs):
    first, second = neighbours
    identity, others = rows.identities()[0], Rows(50, seed=7)
    if theirs != "nothing":
        with open_store(second.url, server=ServerOptions(protocol="rest")) as store:
            write(store, others)
    there = second.collections()
    before, said = second.order_faults(), []
    with open_store(first.url, notify=said.append) as store:
        write(store, rows)
        assert [info.rows for info in store.list()] == [120, 120]
        with store.open(identity) as bank:
            hits = bank.search(rows.vectors[4][:3], 1)
            assert [h[0].id for h in hits] == rows.ids[:3]
            assert set(bank.payloads(rows.ids)) == set(rows.ids)
        assert ids(first, identity) == set(rows.ids)
        for info in store.list():
            store.drop(info.name)
    assert first.collections() == [] and second.collections() == there
    if theirs != "nothing":
        assert ids(second, identity) == set(others.ids)
        drop_all(second)
    assert second.order_faults()["grpc writes"] == before["grpc writes"]
    assert said == [
        f"lensbank could not confirm that gRPC port {first.port + 1} belongs to the Qdrant server {first.url}: another "
        "server answers at that port. Rows are sent over REST instead. To avoid this note, give --server grpc-port=... "
        "or protocol=rest."
    ]


def test_grpc_alone_is_refused_where_another_server_answers(neighbours, rows):
    first, second = neighbours
    for port in (None, second.grpc_port):
        with pytest.raises(StoreError, match="another server answers at that port. No row was sent there"):
            open_store(first.url, server=ServerOptions(protocol="grpc", grpc_port=port))
    with open_store(first.url, server=ServerOptions(protocol="rest")) as store:
        write(store, rows)
    with pytest.raises(StoreError, match="another server answers at that port"):
        open_store(first.url, server=ServerOptions(protocol="grpc"))
    assert "lensbank_proof" not in str(metadata(first, rows))
    drop_all(first)
    assert first.collections() == second.collections() == []


def metadata(server, rows):
    client = QdrantClient(url=server.url, check_compatibility=False)
    found = [client.get_collection(identity.name()).config.metadata for identity in rows.identities()]
    client.close()
    return found


def test_commands_reach_the_server_that_was_asked(neighbours, rows):
    first, second = neighbours
    for server, those in ((first, rows), (second, Rows(50, seed=7))):
        with open_store(server.url, server=ServerOptions(protocol="rest")) as store:
            write(store, those)
    name = rows.identities()[0].name()
    listed = CliRunner().invoke(main_group, ["banks", "list", "--store", first.url])
    assert listed.exit_code == 0 and "120" in listed.output and " 50" not in listed.output
    dropped = CliRunner().invoke(main_group, ["banks", "drop", "--store", first.url, name, "--yes"])
    assert dropped.exit_code == 0, dropped.output
    assert name not in first.collections() and name in second.collections()
    refused = CliRunner().invoke(main_group, ["banks", "list", "--store", first.url, "--server", "protocol=grpc"])
    assert refused.exit_code == 1 and "another server answers at that port" in refused.output
    drop_all(first)
    drop_all(second)


@pytest.mark.parametrize("with_banks", [False, True])
def test_a_proof_leaves_nothing_behind(rows, with_banks):
    with StandIn() as server:
        if with_banks:
            with open_store(server.url) as store:
                write(store, rows)
            there = metadata(server, rows)
        with open_store(server.url, server=ServerOptions(protocol="grpc")) as store:
            assert store.protocol == "grpc"
        assert server.collections() == (sorted(i.name() for i in rows.identities()) if with_banks else [])
        assert not with_banks or metadata(server, rows) == there


def test_what_a_killed_process_left_is_removed_when_it_is_old(rows):
    with StandIn() as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        old, new = time.time() - 3600, time.time()
        from qdrant_client import models

        tiny = models.VectorParams(size=1, distance=models.Distance.DOT)
        for nonce, when in (("a", old), ("b", new)):
            client.create_collection(PROOF_COLLECTION + nonce, tiny, metadata={PROOF_KEY + nonce: when})
        client.create_collection(PROOF_COLLECTION + "foreign", tiny)
        with open_store(server.url, server=ServerOptions(protocol="grpc")) as store:
            assert server.collections() == [PROOF_COLLECTION + "b", PROOF_COLLECTION + "foreign"]
            write(store, rows)
        name = rows.identities()[0].name()
        client.update_collection(name, metadata={PROOF_KEY + "a": old, PROOF_KEY + "b": new})
        with open_store(server.url) as store, store.open(name) as bank:
            bank.search(rows.vectors[4][:1], 1)
        left = [key for key in client.get_collection(name).config.metadata if key.startswith(PROOF_KEY)]
        assert left == [PROOF_KEY + "b"]
        client.close()


def test_a_key_that_may_only_read_reads_over_rest(rows, monkeypatch):
    with StandIn(QDRANT__SERVICE__API_KEY="writes", QDRANT__SERVICE__READ_ONLY_API_KEY="reads") as server:
        named = ServerOptions(grpc_port=server.grpc_port)
        monkeypatch.setenv("QDRANT_API_KEY", "writes")
        with open_store(server.url, server=named) as store:
            write(store, rows)
            assert store.protocol == "grpc"
        monkeypatch.setenv("QDRANT_API_KEY", "reads")
        said = []
        opened = open_store(server.url, server=named, notify=said.append)
        with opened as store, store.open(rows.identities()[0]) as bank:
            assert bank.search(rows.vectors[4][:1], 1)[0][0].id == rows.ids[0]
            assert bank.count() == 120
        assert len(said) == 1 and "the key may not write" in said[0] and "Rows are sent over REST" in said[0]
        with pytest.raises(StoreError, match="the key may not write"):
            open_store(server.url, server=ServerOptions(protocol="grpc", grpc_port=server.grpc_port))


def test_a_key_goes_to_no_port_that_was_only_guessed(neighbours, rows, monkeypatch):
    first, second = neighbours
    monkeypatch.setenv("QDRANT_API_KEY", "open-sesame")
    before, said = second.order_faults()["grpc keys"], []
    with open_store(first.url, notify=said.append) as store:
        write(store, rows)
        assert store.protocol == "rest"
        with store.open(rows.identities()[0]) as bank:
            assert bank.search(rows.vectors[4][:1], 1)[0][0].id == rows.ids[0]
    with pytest.raises(StoreError, match="the key in QDRANT_API_KEY.*only to a port that you named.*grpc-port="):
        open_store(first.url, server=ServerOptions(protocol="grpc"))
    assert second.order_faults()["grpc keys"] == before
    assert (
        len(said) == 1
        and "Rows are sent over REST instead" in said[0]
        and "--server grpc-port=" in said[0]
        and "open-sesame" not in said[0]
    )
    drop_all(first)


def test_over_https_a_key_goes_to_the_port_above(rows, tmp_path, monkeypatch):
    pair = tls_pair(tmp_path)
    monkeypatch.setenv("QDRANT_API_KEY", "open-sesame")
    tls = {"STANDIN_CERT": str(pair[0]), "STANDIN_KEY": str(pair[1])}
    server = StandIn(QDRANT__SERVICE__API_KEY="open-sesame", **tls)
    with server, open_store(server.url, server=ServerOptions(ca_file=pair[0])) as store:
        write(store, rows)
        assert store.protocol == "grpc"


@pytest.mark.parametrize("protocol", ["auto", "grpc"])
@pytest.mark.parametrize("work", ["search", "write"])
def test_a_port_that_another_server_took_meanwhile_is_proven_again(rows, protocol, work):
    """Both ports are taken from the server between two requests; only REST comes back as the one that was asked."""
    identity, others = rows.identities()[0], Rows(50, seed=7)
    with StandIn(STANDIN_WAL="1") as server, StandIn(STANDIN_WAL="1") as other:
        with open_store(other.url) as store:
            write(store, others)
        there = other.collections()
        said, options = [], ServerOptions(protocol=protocol, patience=20, streams=1, batch_rows=40)
        with open_store(server.url, server=options, notify=said.append) as store:
            if work == "search":
                write(store, rows)
                bank = store.open(identity)
                assert [hit[0].id for hit in bank.search(rows.vectors[4][:2], 1)] == rows.ids[:2]
            else:
                writer = store.writer(rows.identities(), "/model").__enter__()
                rows.put(writer, 0, 60)
                writer.flush()
            ports = server.port, server.grpc_port
            for one in (server, other):
                one.kill()
            server.grpc_port, other.grpc_port = 0, ports[1]
            server.start()
            other.start()
            before = other.order_faults()["grpc writes"]

            def go_on():
                if work == "search":
                    assert [hit[0].id for hit in bank.search(rows.vectors[4][:2], 1)] == rows.ids[:2]
                else:
                    rows.put(writer, 60, 120)
                    writer.finish(CORPUS)
                    writer.__exit__(None, None, None)

            if protocol == "grpc":
                with pytest.raises(StoreError, match="another server answers at that port"):
                    go_on()
                if work == "write":
                    writer.__exit__(StoreError, StoreError(""), None)
            else:
                go_on()
                assert ids(server, identity) == set(rows.ids)
                assert len(said) == 1 and "another server answers at that port. Rows are sent over REST" in said[0]
            assert other.order_faults()["grpc writes"] == before and other.collections() == there
        assert ids(other, identity) == set(others.ids)


def test_a_server_that_was_started_again_is_asked_over_grpc_again(rows):
    with StandIn(STANDIN_WAL="1") as server:
        said = []
        with open_store(server.url, notify=said.append) as store:
            write(store, rows)
            with store.open(rows.identities()[0]) as bank:
                bank.search(rows.vectors[4][:1], 1)
                for _ in range(2):
                    server.kill()
                    server.start()
                    assert bank.search(rows.vectors[4][:1], 1)[0][0].id == rows.ids[0]
            assert store.protocol == "grpc"
        assert said == []
        assert "lensbank_proof" not in str(metadata(server, rows))


def test_listing_asks_nothing_over_grpc(rows):
    with StandIn() as server:
        with open_store(server.url) as store:
            write(store, rows)
        before = server.order_faults()
        with open_store(server.url) as store:
            assert len(store.list()) == 2
        after = server.order_faults()
        assert after["grpc"] == before["grpc"] and after["rest writes"] == before["rest writes"]


def test_a_port_with_none_above_it():
    with pytest.raises(StoreError), hold(free_pair()) as held:  # nobody answers there: the port is what is looked at
        open_store(f"http://127.0.0.1:{held.getsockname()[1]}", server=ServerOptions(patience=0))
    with pytest.raises(UsageError, match="grpc-port cannot be '65536'.*1 to 65535"):
        from lensbank.store.server.options import parse_options

        parse_options(["grpc-port=65536"])
