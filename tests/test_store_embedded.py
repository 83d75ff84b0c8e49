"""Banks in a folder: searching, opening, refusing, dropping."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from test_store_rows import CORPUS, IDENTITY, Rows, assert_same_hits

from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.errors import (
    BankIncompleteError,
    BankMismatchError,
    BankNotFoundError,
    StateError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    UsageError,
)
from lensbank.store.embedded import disk
from lensbank.store.embedded.disk import store_error
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.opening import open_store
from lensbank.store.records import RECORD_FILE

# Small enough to be indexed in a test, in two segments.
SETTINGS = EngineSettings(index_from_kb=50, segment_rows=1500, batch_rows=500)
COUNT, DIM = 3000, 64


@pytest.fixture(scope="module")
def rows():
    return Rows(COUNT, DIM)


@pytest.fixture(scope="module")
def store(rows, tmp_path_factory):
    store = EmbeddedStore(tmp_path_factory.mktemp("store"), SETTINGS)
    for dtype, model in (("float32", "org/full"), ("float16", "org/half")):
        with store.writer(rows.identities(model=model, vector_dtype=dtype), "/model", expected_rows=COUNT) as writer:
            rows.put(writer, 0, 1700)
            rows.put(writer, 1700)
            writer.finish(CORPUS)
    return store


@pytest.fixture
def small(tmp_path):
    """A store of its own, for tests that change it."""
    rows = Rows(60, layers=(4,))
    store = EmbeddedStore.at(tmp_path / "store", create=True)
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.finish(CORPUS)
    return store, rows


def queries(count=40, dim=DIM, seed=9):
    return np.random.default_rng(seed).standard_normal((count, dim)) * 5


@pytest.mark.parametrize("layer", [4, 5])
def test_exact_search_is_brute_force(store, rows, layer):
    with store.open(rows.identities(model="org/full")[0].at_layer(layer)) as bank:
        assert_same_hits(bank.search(queries(), 10), rows.nearest(layer, queries(), 10))


def test_float16_costs_little(store, rows):
    with store.open(rows.identities(model="org/half")[0]) as bank:
        hits = bank.search(queries(), 10)
    best = rows.nearest(4, queries(), 10)
    overlap = np.mean([len({h.id for h in a} & {n for n, _ in b}) / 10 for a, b in zip(hits, best, strict=True)])
    assert overlap > 0.97
    assert hits[0][0].score == pytest.approx(best[0][0][1], abs=1e-3)


def test_approximate_search_uses_an_index_and_finds_nearly_all(store, rows):
    with store.open(rows.identities(model="org/full")[0]) as bank:
        assert bank.is_indexed()
        hits = bank.search(queries(), 10, exact=False)
    best = rows.nearest(4, queries(), 10)
    overlap = np.mean([len({h.id for h in a} & {n for n, _ in b}) / 10 for a, b in zip(hits, best, strict=True)])
    assert overlap >= 0.98
    # Candidates are scored with their own vectors, not the quantised ones.
    assert hits[0][0].score == pytest.approx(best[0][0][1], abs=2e-6)


def test_the_segments_are_as_many_as_the_cores_that_help(store, rows):
    with store.open(rows.identities(model="org/full")[0]) as bank:
        info = bank._shard.info()
    assert info.indexed_vectors_count == COUNT
    assert info.segments_count == SETTINGS.segments(COUNT) + 1


def test_a_graph_on_request(tmp_path):
    store, rows = EmbeddedStore(tmp_path, dataclasses.replace(SETTINGS, index_from_kb=20)), Rows(400, DIM, layers=(4,))
    with store.writer(rows.identities(), "/model", expected_rows=400) as writer:
        rows.put(writer)
        writer.finish(CORPUS, graph=True)
    config = [json.loads(p.read_bytes())["config"] for p in tmp_path.glob("*/shard/segments/*/segment.json")]
    assert '"m": 16' in json.dumps(config)
    assert "InRam" not in json.dumps(config)  # a large bank's vectors are not read whole to open it
    with store.open(rows.identities()[0]) as bank:
        hits = bank.search(queries(), 10, exact=False)
    best = rows.nearest(4, queries(), 10)
    assert np.mean([len({h.id for h in a} & {n for n, _ in b}) for a, b in zip(hits, best, strict=True)]) >= 9


def test_no_graph_by_default(store):
    config = [json.loads(p.read_bytes())["config"] for p in store.root.glob("*/shard/segments/*/segment.json")]
    assert config and '"m": 16' not in json.dumps(config)


def test_queries_of_any_norm_and_number(store, rows):
    few = queries(3)
    with store.open(rows.identities(model="org/full")[0]) as bank:
        plain = bank.search(few, 5)
        scaled = bank.search((few * 1e-3).astype(np.float32), 5)
        many = bank.search(np.concatenate([few] * 120), 5)
        assert bank.search(np.empty((0, DIM)), 5) == []
    assert_same_hits(scaled, [[(h.id, h.score) for h in found] for found in plain])
    assert len(many) == 360 and [h.id for h in many[357]] == [h.id for h in plain[0]]


def test_more_neighbours_than_rows(small):
    store, rows = small
    with store.open(rows.identities()[0]) as bank:
        assert not bank.is_indexed()  # too small to be worth it
        for exact in (True, False):
            hits = bank.search(queries(2, 16), 10**9, exact=exact)
            assert_same_hits(hits, rows.nearest(4, queries(2, 16), 60))
        assert bank.search(queries(2, 16), 0) == [[], []]


def test_payload_comes_with_the_norm_of_the_layer_or_not_at_all(store, rows):
    for layer in (4, 5):
        with store.open(rows.identities(model="org/full")[0].at_layer(layer)) as bank:
            hit = bank.search(rows.vectors[layer][7:8], 1)[0][0]
            bare = bank.search(rows.vectors[layer][7:8], 1, with_payload=False)[0][0]
        assert hit.id == rows.ids[7] and hit.score == pytest.approx(1, abs=1e-6)
        assert hit.payload == {**rows.payloads[7], "norm": pytest.approx(rows.norms[layer][7])}
        assert bare.id == hit.id and bare.payload == {}


def test_bad_queries_are_refused(store, rows):
    bad = queries(3)
    bad[1, 5] = np.nan
    with store.open(rows.identities(model="org/full")[0]) as bank:
        with pytest.raises(StateError, match="Query vector 1 of 3 is NaN"):
            bank.search(bad, 5)
        with pytest.raises(ValueError, match="expected"):
            bank.search(np.ones((2, DIM + 1)), 5)


def test_scroll_visits_every_row_once(store, rows):
    seen, offset = {}, None
    with store.open(rows.identities(model="org/full")[0]) as bank:
        while True:
            page, offset = bank.scroll(700, offset, with_vectors=True)
            seen.update({name: (vector, payload) for name, vector, payload in page})
            if offset is None:
                break
        assert all(vector is None for _, vector, _ in bank.scroll(3)[0])
    assert seen.keys() == set(rows.ids)
    for i in (0, 1500, 2999):
        vector, payload = seen[rows.ids[i]]
        np.testing.assert_allclose(vector, rows.vectors[4][i] / rows.norms[4][i], atol=1e-6)
        assert payload["sentence"] == rows.payloads[i]["sentence"]


def test_a_store_lists_its_banks_without_opening_them(store, rows):
    (tmp := store.root / "notes").mkdir()
    banks = store.list()
    tmp.rmdir()
    assert [b.name for b in banks] == sorted(
        i.name() for m in ("org/full", "org/half") for i in rows.identities(model=m)
    )
    for bank in banks:
        assert bank.rows == COUNT
        assert bank.record.state == "complete" and bank.record.source == "/model"
        assert bank.record.corpora == (dataclasses.replace(CORPUS, rows=COUNT),)
        # In memory, the engine's maps give every hole of its files a page.
        assert COUNT * DIM * 2 < store.disk_bytes(bank) < (120e6 if disk._in_memory(store.root) else 60e6)
    with store.open(banks[0].name) as bank:
        assert bank.disk_bytes() == store.disk_bytes(banks[0]) and bank.count() == COUNT


def test_listing_looks_at_no_bank_s_files(store, monkeypatch):
    monkeypatch.setattr(os, "walk", lambda *_: pytest.fail("a bank's files were measured"))
    assert len(store.list()) == 4


def test_readers_do_not_hinder_each_other(store, rows):
    name = rows.identities(model="org/full")[0].name()
    code = (
        "import sys, numpy as np; from lensbank.store.opening import open_store\n"
        "with open_store(sys.argv[1]).open(sys.argv[2]) as bank:\n"
        "    print(len(bank.search(np.ones((4, 64)), 3)[0]))"
    )
    with store.open(name) as one, store.open(name) as two:
        done = subprocess.run(
            [sys.executable, "-c", code, str(store.root), name], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "3"
        assert one.search(queries(2), 3) == two.search(queries(2), 3)


def test_a_reader_keeps_the_writer_out_and_lets_go(small):
    store, rows = small
    with store.open(rows.identities()[0]), pytest.raises(StoreLockedError, match="being read.* Close the queries"):
        store.writer(rows.identities(), "/model")
    assert store.list()[0].record.state == "complete", "a refused writer must change nothing"
    bank = store.open(rows.identities()[0])
    del bank  # never closed
    store.writer(rows.identities(), "/model").close()


def test_another_model_is_refused(small):
    store, rows = small
    other = rows.identities(revision="other")[0]
    store.open(other).close()  # the revision is for people
    # What its name does not say already.
    with pytest.raises(BankMismatchError, match="normalisation '.*' in the bank, 'other' now"):
        store.open(rows.identities(normalisation="other")[0])


def test_writing_with_other_settings_is_refused_and_changes_nothing(small):
    store, rows = small
    with pytest.raises(BankMismatchError, match="seed 0 in the bank, 3 now"):
        store.writer(rows.identities(seed=3), "/model")
    with store.open(rows.identities()[0]) as bank:
        assert bank.count() == 60


def test_no_such_bank_lists_those_there_are(small, tmp_path):
    store, rows = small
    for name in ("nowhere", "", "..", "../store", "/etc", "a\0b"):
        with pytest.raises(BankNotFoundError, match=rows.identities()[0].name()):
            store.open(name)
    for odd in (3, None, ["a"]):
        with pytest.raises(UsageError, match="a bank is"):
            store.open(odd)
    empty = open_store(tmp_path / "empty", create=True)
    assert empty.list() == []
    with pytest.raises(BankNotFoundError, match="no banks yet"):
        empty.open(IDENTITY)


def test_no_such_store(tmp_path):
    with pytest.raises(BankNotFoundError, match="no store at .*missing"):
        open_store(str(tmp_path / "missing"))
    assert not (tmp_path / "missing").exists()
    (tmp_path / "file").write_text("x")
    for create in (True, False):
        for path in (tmp_path / "file", tmp_path / "file" / "inside"):
            with pytest.raises(StoreError, match="folder|directory|no store"):
                open_store(path, create=create)


def test_an_unfinished_bank_is_refused(tmp_path):
    store, rows = EmbeddedStore(tmp_path), Rows(50, layers=(4,))
    with store.writer(rows.identities(), "/the/model") as writer:
        rows.put(writer)
    with pytest.raises(BankIncompleteError, match="same ingest command.*--model /the/model"):
        store.open(rows.identities()[0])
    with store.open(rows.identities()[0], allow_incomplete=True) as bank:
        assert bank.count() == 50 and bank.record.state == "building"


def test_adding_makes_a_bank_unfinished_until_it_is_finished_again(small):
    store, rows = small
    more = Rows(40, seed=1, layers=(4,), corpora=("more",))
    with store.writer(rows.identities(), "/model") as writer:
        more.put(writer)
        rows.put(writer, 0, 10)  # already there
        assert store.list()[0].record.state == "building"
        writer.finish([CORPUS, CorpusRecord("more", "f2", 1, 2, 40)])
    info = store.list()[0]
    assert info.rows == 100 and [c.name for c in info.record.corpora] == ["captions", "more"]
    with store.open(rows.identities()[0]) as bank:
        assert bank.count() == 100
        assert bank.search(more.vectors[4][:1], 1)[0][0].id == more.ids[0]


def test_dropping(small):
    store, rows = small
    name = rows.identities()[0].name()
    with store.open(name), pytest.raises(StoreLockedError, match="being read"):
        store.drop(name)
    store.drop(name)
    assert store.list() == [] and list(store.root.iterdir()) == []
    with pytest.raises(BankNotFoundError):
        store.drop(name)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": "x"}'])
def test_a_damaged_record_is_named_and_hinders_no_other_bank(rows, tmp_path, text):
    store = EmbeddedStore.at(tmp_path / "store", create=True)
    for model in ("org/one", "org/two"):
        with store.writer(rows.identities(model=model)[:1], "/model") as writer:
            rows.put_layer(writer, 4, 0, 50)
            writer.finish(CORPUS)
    one, two = (rows.identities(model=model)[0] for model in ("org/one", "org/two"))
    path = store.root / one.name() / RECORD_FILE
    path.write_text(text)
    assert [info.name for info in store.list()] == [two.name()]
    [damaged] = store.damaged()
    assert damaged.name == one.name() and f"{path} is not the record of a bank" in damaged.message
    with pytest.raises(StoreError, match=f"{path} is not the record of a bank"):
        store.open(one)
    with store.open(two) as bank:
        assert bank.count() == 50
    store.drop(one.name())
    assert store.damaged() == () and [info.name for info in store.list()] == [two.name()]


def test_a_bank_without_its_record_is_damaged_not_gone(small):
    store, rows = small
    name = rows.identities()[0].name()
    (store.root / name / RECORD_FILE).unlink()
    assert store.list() == [] and [bank.name for bank in store.damaged()] == [name]
    with pytest.raises(StoreError, match=f"{name} .* is damaged: its record lensbank.json is missing"):
        store.open(name)
    store.drop(name)
    assert store.damaged() == ()


@pytest.mark.parametrize("field", ["layer", "weights", "centred"])
def test_the_folders_name_is_compared_with_the_record(small, field):
    store, rows = small
    path = store.root / rows.identities()[0].name() / RECORD_FILE
    data = json.loads(path.read_bytes())
    data["identity"][field] = {"layer": 5, "weights": "others", "centred": True}[field]
    del data["checksums"]  # as of a record from before there were any
    path.write_text(json.dumps(data))
    with pytest.raises(StoreError, match="it has the record of another bank, some-model-L0"):
        store.open(path.parent.name)
    assert store.list() == [] and len(store.damaged()) == 1


def test_a_damaged_shard_is_named(small):
    """Also of a bank that was finished before there were lists of files."""
    store, rows = small
    record = store.root / rows.identities()[0].name() / RECORD_FILE
    data = json.loads(record.read_bytes())
    del data["manifest"], data["checksums"]
    record.write_text(json.dumps(data))
    with store.open(rows.identities()[0]) as bank:
        assert bank.count() == 60
    for path in store.root.glob("*/shard/segments/*/segment.json"):
        path.write_text("{")
    with pytest.raises(StoreError, match="embedded engine failed on .*L04"):
        store.open(rows.identities()[0])


def test_a_closed_bank_says_so(small):
    store, rows = small
    bank = store.open(rows.identities()[0])
    bank.close()
    bank.close()
    with pytest.raises(StoreError, match="is closed"):
        bank.search(queries(1, 16), 3)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError(28, "No space left on device"), StoreFullError, "No more data can be written to .*: No space left"),
        (OSError(30, "Read-only file system"), StoreFullError, "cannot be written: Read-only"),
        (PermissionError(13, "Permission denied"), StoreFullError, "cannot be written: Permission denied"),
        (Exception("Gridstore IO error: x (os error 28)\nbacktrace"), StoreFullError, "No space left"),
        (Exception("failed: Read-only file system (os error 30)"), StoreFullError, "Read-only"),
        (
            Exception("Not enough space available for optimization, needed: 9, available: 1"),
            StoreFullError,
            "cannot be indexed: Not enough space.*needed: 9, available: 1 Free some space",
        ),
        (Exception("failed to open WAL: Kind(WouldBlock)"), StoreLockedError, "in use"),
        (Exception("Wrong vector\nbacktrace"), StoreError, "embedded engine failed on .*: Wrong vector Run"),
        (OSError(5, "Input/output error"), StoreError, "cannot be used: Input/output error"),
    ],
)
def test_what_failed_is_told_by_number_or_message(tmp_path, error, kind, text):
    told = store_error(error, tmp_path)
    assert type(told) is kind
    with pytest.raises(kind, match=text):
        raise told
    assert "backtrace" not in str(told) and told.hint
