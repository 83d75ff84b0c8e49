"""Banks on a server. The client's own local mode stands in for one: same calls, no index.

Searches and filters are compared with the embedded engine's in test_store_filters.
"""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from test_store_rows import CORPUS, IDENTITY, Rows, assert_same_hits

from lensbank.schemas.errors import (
    BankIncompleteError,
    BankMismatchError,
    BankNotFoundError,
    StateError,
    StoreError,
    UsageError,
)
from lensbank.store.embedded import engine
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedBank, EmbeddedStore
from lensbank.store.opening import open_store
from lensbank.store.server.bank import ServerBank
from lensbank.store.server.store import ServerStore

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


@pytest.fixture
def client():
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def store(client):
    return ServerStore(client, "http://example:6333")


@pytest.fixture
def rows():
    return Rows(300)


def write(store, rows, **changes):
    with store.writer(rows.identities(**changes), "/model") as writer:
        rows.put(writer, 0, 290)
        rows.put(writer, 290)
        writer.flush()
        writer.finish(CORPUS)


def test_a_bank_is_written_listed_and_searched(store, rows):
    seen = []
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        assert [b.record.state for b in store.list()] == ["building", "building"]
        writer.finish(CORPUS, progress=lambda done, total: seen.append((done, total)), graph=True)
    assert seen == sorted(seen) and seen[-1] == (600, 600) and (300, 600) in seen
    assert [(b.name, b.rows, b.record.state, b.record.corpora) for b in store.list()] == [
        (i.name(), 300, "complete", (dataclasses.replace(CORPUS, rows=300),)) for i in rows.identities()
    ]
    queries = np.random.default_rng(0).standard_normal((300, 16)) * 9
    for layer, identity in zip((4, 5), rows.identities(), strict=True):
        with store.open(identity) as bank:
            assert_same_hits(bank.search(queries, 4), rows.nearest(layer, queries, 4))
            assert_same_hits(bank.search(queries[:2], 10**9, exact=False), rows.nearest(layer, queries[:2], 300))
            hit = bank.search(rows.vectors[layer][3:4], 1)[0][0]
            assert hit.payload == {**rows.payloads[3], "norm": pytest.approx(rows.norms[layer][3])}
            assert bank.search(queries[:2], 0) == [[], []]
            assert bank.search(queries[:1], 1, with_payload=False)[0][0].payload == {}


def test_scroll_visits_every_row_once(store, rows):
    write(store, rows)
    seen, offset = {}, None
    with store.open(rows.identities()[0]) as bank:
        while True:
            page, offset = bank.scroll(70, offset, with_vectors=True)
            seen.update({name: vector for name, vector, _ in page})
            if offset is None:
                break
    assert seen.keys() == set(rows.ids)
    np.testing.assert_allclose(seen[rows.ids[5]], rows.vectors[4][5] / rows.norms[4][5], atol=1e-6)


def test_adding_keeps_what_is_there(store, rows):
    write(store, rows)
    write(store, rows)  # the same again changes nothing
    more = Rows(20, seed=3)
    write(store, more)
    assert [b.rows for b in store.list()] == [320, 320]
    assert store.list()[0].record.corpora == (dataclasses.replace(CORPUS, rows=320),)


def test_an_unfinished_bank_is_refused(store, rows):
    with store.writer(rows.identities(), "/the/model") as writer:
        rows.put(writer, 0, 10)
    with pytest.raises(BankIncompleteError, match="http://example:6333 is not complete.*--model /the/model"):
        store.open(rows.identities()[0])
    with store.open(rows.identities()[0], allow_incomplete=True) as bank:
        assert bank.count() == 10
    with pytest.raises(StoreError, match="writer is closed"):
        rows.put(writer)


def test_other_models_and_settings_are_refused(store, rows):
    write(store, rows)
    with pytest.raises(BankMismatchError, match="seed 0 in the bank, 3 now"):
        store.writer(rows.identities(seed=3), "/model")
    assert [b.record.state for b in store.list()] == ["complete", "complete"]


def test_foreign_collections_are_left_alone(store, client, rows):
    client.create_collection("diary", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    name = rows.identities()[0].name()
    client.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    assert store.list() == []
    for work in (lambda: store.open("diary"), lambda: store.drop("diary")):
        with pytest.raises(BankNotFoundError, match="no bank 'diary'. The server has no banks yet"):
            work()
    with pytest.raises(UsageError, match="a bank is 3"):
        store.open(3)
    with pytest.raises(StoreError, match=f"collection {name} that is not a bank"):
        store.writer(rows.identities(), "/model")
    assert client.collection_exists("diary")


def test_dropping(store, rows):
    write(store, rows)
    gone, kept = (i.name() for i in rows.identities())
    store.drop(gone)
    with pytest.raises(BankNotFoundError, match=f"The server has {kept}"):
        store.open(gone)


def test_bad_states_are_refused(store, rows):
    rows.vectors[5][2] = 0
    with store.writer(rows.identities(), "/model") as writer:
        with pytest.raises(StateError, match="at layer 5 is zero"):
            rows.put(writer)
        assert [b.rows for b in store.list()] == [0, 0]


def test_a_server_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", "verysecret")
    with pytest.raises(StoreError, match="server http://127.0.0.1:1 failed.*: .*QDRANT_API_KEY") as caught:
        open_store("http://127.0.0.1:1")
    assert "verysecret" not in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match=r"http://...@127.0.0.1.*QDRANT_API_KEY") as caught:
        open_store("http://user:hush@127.0.0.1:1")
    assert "hush" not in str(caught.value)


def test_names_are_not_paths(store):
    for name in ("", "..", "a/b"):
        with pytest.raises((BankNotFoundError, StoreError)):
            store.open(name)
    with pytest.raises(BankNotFoundError):
        store.open(IDENTITY)


def test_an_approximate_search_looks_at_twice_the_candidates_of_the_embedded_engine(
    store, rows, client, tmp_path, monkeypatch
):
    asked = []
    there, here = client.query_batch_points, engine.edge.SearchParams
    monkeypatch.setattr(
        client, "query_batch_points", lambda *args, **o: asked.append(o["requests"][0].params) or there(*args, **o)
    )
    monkeypatch.setattr(ServerBank, "compares_all", lambda *_: False)
    write(store, rows)
    with store.open(rows.identities()[0]) as bank:
        bank.search(rows.vectors[4][:2], 5, exact=False)
    embedded = EmbeddedStore(tmp_path, EngineSettings(index_from_kb=1))
    write(embedded, rows)
    monkeypatch.setattr(EmbeddedBank, "compares_all", lambda *_: False)
    monkeypatch.setattr(engine.edge, "SearchParams", lambda **o: asked.append(SimpleNamespace(**o)) or here(**o))
    with embedded.open(rows.identities()[0]) as bank:
        bank.search(rows.vectors[4][:2], 5, exact=False)
    server, folder = asked
    assert (server.exact, server.hnsw_ef) == (folder.exact, 2 * folder.hnsw_ef) == (False, 512)
    assert server.quantization.oversampling == folder.quantization.oversampling
