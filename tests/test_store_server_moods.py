"""A server in strict mode or with limits, against the stand-in: its refusals as tested on a real one."""

import json

import numpy as np
import pytest
import server_fixtures
from qdrant_client import models
from standins import StandIn
from test_store_rows import CORPUS, Rows, assert_same_hits

from lensbank.schemas.errors import StoreError
from lensbank.schemas.filters import parse
from lensbank.store.opening import open_store
from lensbank.store.server.connection import Connection
from lensbank.store.server.options import ServerOptions

COUNT = 300


@pytest.fixture(scope="module")
def server():
    with StandIn(STANDIN_MINUTE="0.01") as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def protocol(request):
    return request.param


@pytest.fixture
def notes():
    return []


@pytest.fixture
def store(server, protocol, notes):
    options = ServerOptions(protocol=protocol, grpc_port=server.grpc_port, patience=60, streams=1)
    with open_store(server.url, server=options, notify=notes.append) as store:
        yield store
        for info in store.list():
            store.drop(info.name)


@pytest.fixture
def rows():
    return Rows(COUNT)


def write(store, rows):
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.finish(CORPUS)


def restrict(raw, rows, **limits):
    for identity in rows.identities():
        strict = models.StrictModeConfig(enabled=True, **limits)
        raw.update_collection(identity.name(), strict_mode_config=strict)


def test_where_exact_counts_are_forbidden_banks_are_listed_and_written(store, rows, raw, notes):
    write(store, rows)
    restrict(raw, rows, search_allow_exact=False, max_query_limit=70)
    listed = [info.rows for info in store.list()] + [info.rows for info in store.list()]
    assert listed == [COUNT] * 4
    with store.open(rows.identities()[0].name()) as bank:
        queries = np.random.default_rng(0).standard_normal((3, 16))
        assert [len(hits) for hits in bank.search(queries, 5, exact=False)] == [5] * 3
        assert bank.count(parse(["word=dog"])) > 0
    said = [note for note in notes if "forbids exact counts" in note]
    assert len(said) == 2, "once a bank"
    write(store, rows)  # its writer counts by going through the ids, 70 at a time
    assert [(info.rows, info.record.state) for info in store.list()] == [(COUNT, "complete")] * 2


def test_rows_are_read_in_pages_that_the_server_allows(store, rows, raw):
    write(store, rows)
    name = rows.identities()[0].name()
    with store.open(name) as bank:
        free, _ = bank.scroll(COUNT + 1)
    restrict(raw, rows, max_query_limit=70)
    with store.open(name) as bank:
        found, offset = [], None
        while True:
            page, offset = bank.scroll(1000, offset)
            assert len(page) <= 70
            found += page
            if offset is None:
                break
    assert found == free and len(found) == COUNT


def test_a_batch_above_the_write_rate_is_split(store, rows, raw, protocol, monkeypatch):
    """Patience ends the test as an error where the batch is only repeated. Its seconds are a hundredth of one here."""
    wait = Connection.gives_up
    monkeypatch.setattr(Connection, "gives_up", lambda one, seconds, stop: wait(one, seconds / 100, stop))
    write(store, rows)
    restrict(raw, rows, write_rate_limit=40)
    write(store, rows)
    with store.open(rows.identities()[0].name()) as bank:
        queries = np.random.default_rng(0).standard_normal((3, 16))
        assert_same_hits(bank.search(queries, 5), rows.nearest(4, queries, 5))


def test_a_filter_without_its_index_is_named(store, rows, raw):
    write(store, rows)
    restrict(raw, rows, unindexed_filtering_retrieve=False)
    with store.open(rows.identities()[0].name()) as bank:
        queries = np.random.default_rng(0).standard_normal((1, 16))
        with pytest.raises(StoreError, match='filters by indexed fields only.*"norm"') as caught:
            bank.search(queries, 5, parse(["norm>0"]))
        assert "--where" in caught.value.hint and "unindexed_filtering_retrieve" in caught.value.hint


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_too_few_payload_indexes_are_refused_before_a_bank_is_begun(rows, protocol):
    strict = json.dumps({"strict_mode_config": {"enabled": True, "max_payload_index_count": 3}})
    with StandIn(STANDIN_STRICT=strict) as server:
        with open_store(server.url, server=ServerOptions(protocol=protocol, grpc_port=server.grpc_port)) as store:
            with pytest.raises(
                StoreError, match="allows 3 payload indexes in .*; a bank needs 6 .token, word"
            ) as caught:
                write(store, rows)
            assert "Raise max_payload_index_count on the server to 6 or more" in caught.value.hint
            assert store.list() == []
        assert server.collections() == []


def test_indexes_that_are_there_are_not_asked_for_again(store, rows, raw):
    """Where the limit is reached by them, the next would be refused."""
    write(store, rows)
    restrict(raw, rows, max_payload_index_count=6)
    write(store, rows)
    restrict(raw, rows, max_payload_index_count=3)  # afterwards: what is there stays
    write(store, rows)
    assert [info.record.state for info in store.list()] == ["complete"] * 2


def test_the_grpc_port_of_a_server_of_ones_own_is_the_next(monkeypatch):
    monkeypatch.delenv("QDRANT_TEST_GRPC_PORT", raising=False)
    assert server_fixtures.grpc_port_of("http://127.0.0.1:6393") == 6394
    assert server_fixtures.grpc_port_of("http://127.0.0.1") == 6334
    monkeypatch.setenv("QDRANT_TEST_GRPC_PORT", "7000")
    assert server_fixtures.grpc_port_of("http://127.0.0.1:6393") == 7000
