"""A bank's vectors as the engine keeps them: mapped, or refused with a reason; and what a product finds in them."""

import json

import numpy as np
import pytest
import qdrant_edge as edge
import torch
from test_store_rows import CORPUS, Rows

from lensbank.query import bank_product, distinct_rows, product
from lensbank.query.bank_product import BankProduct, product_of
from lensbank.query.filtering import plan_searches
from lensbank.query.options import QueryOptions
from lensbank.schemas.errors import UsageError
from lensbank.schemas.filters import parse
from lensbank.store.bank import Bank
from lensbank.store.embedded import vectors as mapping
from lensbank.store.embedded.engine import EngineSettings, count_rows, load_shard
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.embedded.vectors import map_vectors
from lensbank.store.records import SHARD_DIR
from lensbank.store.vectors import BankVectors, NoVectors, id_string

COUNT, CPU = 3000, torch.device("cpu")
# Segments are finished from a kilobyte on, so that few rows make several.
SETTINGS = EngineSettings(index_from_kb=1, segment_rows=1000, graph_from_rows=10**9)
QUERIES = np.random.default_rng(1).standard_normal((6, 16)).astype(np.float32)
WHERE = ([], ["word=dog"], ["word!=dog"], ["position>=2", "is_word=true"], ["word=zebra"], ["token_id<3"])


def made(folder, rows, vector_dtype="float32", graph=False, parts=1):
    """A finished bank, written in one or several sessions."""
    identity = rows.identities(vector_dtype=vector_dtype)
    with EmbeddedStore(folder, SETTINGS) as store:
        step = -(-len(rows.ids) // parts)
        for start in range(0, len(rows.ids), step):
            with store.writer(identity, "/model", expected_rows=len(rows.ids)) as writer:
                rows.put(writer, start, start + step)
                writer.finish(CORPUS, graph=graph)
    return identity[0]


def changed(folder, identity, rows):
    """Points deleted, and others stored again with other vectors, as another program may do it; and what is left."""
    again = Rows(200, seed=9, layers=(4,)).vectors[4]
    again /= np.linalg.norm(again, axis=1, keepdims=True)
    shard = load_shard(folder / identity.name() / SHARD_DIR)
    points = [
        edge.Point(rows.ids[500 + i], again[i].tolist(), {**rows.payloads[500 + i], "norm": 1.0}) for i in range(200)
    ]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.update(edge.UpdateOperation.delete_points([*rows.ids[:100], *rows.ids[600:650]]))
    shard.flush()
    shard.close()
    rows.vectors[4][500:700] = again
    gone = {*range(100), *range(600, 650)}
    return np.array([i not in gone for i in range(len(rows.ids))])


def without_list(bank_folder, rows):
    """Have the bank's list of files forget what another program has changed."""
    record = bank_folder / "lensbank.json"
    data = json.loads(record.read_text())
    data.pop("manifest", None)
    data.pop("checksums")
    data["rows"] = rows
    record.write_text(json.dumps(data))
    (bank_folder / "manifest.json").unlink(missing_ok=True)


@pytest.fixture(scope="module", params=["float32", "float16", "graph", "grown", "changed"])
def case(request, tmp_path_factory):
    """An open bank, its rows, and which of them are left."""
    folder = tmp_path_factory.mktemp("store")
    rows = Rows(COUNT, layers=(4,))
    dtype = "float16" if request.param == "float16" else "float32"
    identity = made(folder, rows, dtype, request.param == "graph", 3 if request.param == "grown" else 1)
    left = np.ones(COUNT, np.bool_)
    if request.param == "changed":
        left = changed(folder, identity, rows)
        without_list(folder / identity.name(), int(left.sum()))
    with EmbeddedStore(folder) as store, store.open(identity.name()) as bank:
        yield bank, rows, left


def test_every_row_is_there_once_with_its_own_vector(case):
    bank, rows, left = case
    found = bank.vectors()
    assert isinstance(found, BankVectors), found
    assert any(isinstance(part.rows, np.memmap) for part in found.parts)
    by_id = {}
    for part in found.parts:
        live = np.ones(len(part.rows), np.bool_) if part.live is None else part.live
        for row, (low, high) in zip(part.rows[live], part.ids[live].tolist(), strict=True):
            assert by_id.setdefault(id_string(low, high), row) is row
    assert set(by_id) == {name for name, kept in zip(rows.ids, left, strict=True) if kept}
    offset = None
    while True:
        page, offset = bank.scroll(1000, offset, with_vectors=True)
        for name, vector, _ in page:
            np.testing.assert_array_equal(np.asarray(by_id[name], np.float32), vector)
        if offset is None:
            break
    assert not any(part.rows.flags.writeable for part in found.parts if isinstance(part.rows, np.memmap))


@pytest.mark.parametrize(("k", "distinct"), [(1, False), (60, False), (4, True), (60, True)])
@pytest.mark.parametrize("where", WHERE)
def test_a_product_finds_what_the_engine_finds(case, where, k, distinct, monkeypatch):
    bank, _, _ = case
    monkeypatch.setattr(product, "BLOCK_ROWS", 512)
    monkeypatch.setattr(distinct_rows, "_DEEPEST", 20)
    conditions = parse(where)
    engines = bank.search(QUERIES, COUNT, conditions)
    products = product_of(bank, CPU)
    assert isinstance(products, BankProduct)
    for found, expected in zip(products.search(QUERIES, k, conditions, distinct), engines, strict=True):
        if distinct:
            seen = {}
            for hit in expected:
                seen.setdefault(hit.payload["word"].casefold(), hit)
            expected = list(seen.values())
            assert [hit.payload["word"] for hit in found] == [hit.payload["word"] for hit in expected[:k]]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected[:k]], abs=2e-6)
        true = {hit.id: hit.score for hit in expected}
        assert [hit.score for hit in found] == pytest.approx([true[hit.id] for hit in found], abs=2e-6)
        assert len({hit.id for hit in found}) == len(found)


@pytest.mark.parametrize("count", [1, 300, 10 * COUNT])
def test_the_first_rows_by_id_are_those_that_the_engine_lists_first(case, count):
    bank = case[0]
    listed, _ = bank.scroll(count, with_vectors=True)
    assert np.array_equal(product_of(bank, CPU).first(count), np.stack([vector for _, vector, _ in listed]))


def test_rows_that_tie_come_in_order_of_their_ids_however_many(tmp_path, monkeypatch):
    """As layer 0 has them: the same state for every context of a token."""
    rows = Rows(COUNT, layers=(4,))
    rows.vectors[4][:] = rows.vectors[4][:3].repeat(COUNT // 3, 0)
    identity = made(tmp_path, rows)
    monkeypatch.setattr(product, "BLOCK_ROWS", 256)
    with EmbeddedStore(tmp_path) as store, store.open(identity.name()) as bank:
        for k in (5, 1500):
            found = product_of(bank, CPU).search(rows.vectors[4][:1], k)[0]
            assert [hit.id for hit in found][:1000] == sorted(rows.ids[:1000])[:k]


@pytest.fixture
def shard_folder(tmp_path):
    identity = made(tmp_path, Rows(COUNT, layers=(4,)))
    return tmp_path / identity.name() / SHARD_DIR


def seen(folder, dim=16, dtype="float32"):
    shard = load_shard(folder)
    try:
        return map_vectors(folder, shard, dim, dtype)
    finally:
        shard.close()


def finished(folder):
    return next(folder.glob("segments/*/vector_storage/matrix.dat")).parent.parent


def replaced(path, change):
    """Another file in its place: the engine keeps the one that it has mapped."""
    other = path.with_name("other")
    other.write_bytes(change(path.read_bytes()))
    other.replace(path)


CHANGES = {
    "version.info": (lambda data: b"0.7.0", "has another version"),
    "segment.json": (lambda data: data.replace(b"InRamMmap", b"Turbo"), "stored as Turbo"),
    "id_tracker.is_uuid": (lambda data: data[:32] + b";" + data[33:], "some ids are not UUIDs"),
    "id_tracker.deleted": (lambda data: b"", "id_tracker.deleted is too short"),
    "id_tracker.i2e": (lambda data: b"x" + data[1:], "a table of ids has another format"),
    "id_tracker.versions": (lambda data: data + bytes(8), "id_tracker.versions has"),
    "vector_storage/deleted.dat": (lambda data: b"x" + data[1:], "a file of flags has another format"),
    "vector_storage/matrix.dat": (
        lambda data: data[:4] + data[68:] + data[4:68],
        "differ from the rows that the engine returns",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_understood_is_not_used(shard_folder, name):
    assert isinstance(seen(shard_folder), BankVectors)
    change, reason = CHANGES[name]
    shard = load_shard(shard_folder)  # has read them before they are changed: it is ours that is tried
    replaced(finished(shard_folder) / name, change)
    found = map_vectors(shard_folder, shard, 16, "float32")
    shard.close()
    assert isinstance(found, NoVectors) and reason in found.reason


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("vector_storage/matrix.dat", lambda data: data[:-1], "matrix.dat has"),
        ("vector_storage/matrix.dat", lambda data: b"x" + data[1:], "a file of vectors has another format"),
        ("id_tracker.deleted", lambda data: bytes([data[0] ^ 1]) + data[1:], "but the engine counts"),
    ],
)
def test_lengths_marks_and_counts_are_compared(shard_folder, name, change, reason):
    shard = load_shard(shard_folder)
    replaced(finished(shard_folder) / name, change)
    found = map_vectors(shard_folder, shard, 16, "float32")
    (finished(shard_folder) / "id_tracker.versions").unlink()
    gone = map_vectors(shard_folder, shard, 16, "float32")
    shard.close()
    assert isinstance(found, NoVectors) and reason in found.reason
    assert isinstance(gone, NoVectors)


def test_another_engine_or_another_bank_is_not_understood(shard_folder, monkeypatch):
    assert "a segment's vectors are" in seen(shard_folder, dim=17).reason
    assert "a segment's vectors are" in seen(shard_folder, dtype="float16").reason
    monkeypatch.setattr(mapping, "_engine_version", lambda: "1.0.0")
    assert seen(shard_folder).reason == "the engine is qdrant-edge-py 1.0.0, not 0.9"


def test_many_rows_that_no_finished_segment_has_are_left_to_the_engine(tmp_path, monkeypatch):
    rows = Rows(500, layers=(4,))
    with EmbeddedStore(tmp_path) as store:  # half a thousand narrow rows make no segment
        with store.writer(rows.identities(), "/model") as writer:
            rows.put(writer)
            writer.finish(CORPUS)
        for most, usable in ((500, True), (499, False)):
            monkeypatch.setattr(mapping, "LOOSE_BYTES", most * 4 * 16)
            with store.open(rows.identities()[0].name()) as bank:
                found = bank.vectors()
                assert isinstance(found, BankVectors) == usable
        assert found.reason == "more than 499 of its rows are not in a finished segment"


def test_the_newest_of_two_copies_counts():
    """As after a power cut between the copy of a row and the mark that the older one is deleted."""
    ids = np.array([[1, 0], [2, 0], [3, 0]], np.uint64)

    def segment(versions):
        return mapping._Segment(np.eye(3, dtype=np.float32), ids, np.ones(3, np.bool_), np.array(versions, np.uint64))

    older, newer = segment([5, 9, 1]), segment([6, 2, 8])
    nothing = mapping.VectorPart(np.empty((0, 3), np.float32), np.empty((0, 2), np.uint64))
    mapping._leave_newest([older, newer], nothing, 3)
    assert older.live.tolist() == [False, True, False] and newer.live.tolist() == [True, False, True]
    # A row that the engine gives is newer than any.
    older, newer = segment([5, 9, 1]), segment([6, 2, 8])
    mapping._leave_newest([older, newer], mapping.VectorPart(np.ones((1, 3), np.float32), ids[:1]), 3)
    assert not older.live[0] and not newer.live[0]


def test_a_bank_on_a_server_has_no_vectors_to_map():
    assert Bank.vectors(None) == NoVectors("the vectors of a server cannot be mapped")


def test_the_bound_holds_for_the_worst_rounding():
    """Products summed in float32 in the worst order stay within what the second look allows for."""
    draw = np.random.default_rng(3)
    for dim in (16, 576, 4096):
        one = draw.standard_normal((50, dim))
        one = (one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32)
        exact = (one.astype(np.float64) ** 2).sum(1)
        running = np.zeros(50, np.float32)
        for column in range(dim):
            running = running + one[:, column] * one[:, column]
        assert np.abs(running - exact).max() < product.error_bound(dim)


def test_a_mask_asks_for_the_fewer(case, monkeypatch):
    """What a filter keeps, or what it takes away; and each filter once, however many images ask."""
    bank, _, _ = case
    asked = []
    whole = type(bank).matching
    monkeypatch.setattr(type(bank), "matching", lambda self, where: asked.append(whole(self, where)) or asked[-1])
    products = bank_product.product_of(bank, CPU)
    for _ in range(3):
        products.search(QUERIES, 3, parse(["word!=dog"]))
    assert len(asked) == 1
    ids, met = asked[0]
    assert not met and len(ids) == bank.count(parse(["word=dog"])) < bank.count() / 2


def test_opening_for_a_product_writes_nothing(shard_folder):
    before = {p: p.stat().st_mtime_ns for p in shard_folder.rglob("matrix.dat")}
    found = seen(shard_folder)
    with pytest.raises(ValueError, match="read-only"):
        found.parts[0].rows[0, 0] = 1
    assert {p: p.stat().st_mtime_ns for p in shard_folder.rglob("matrix.dat")} == before
    shard = load_shard(shard_folder)
    assert count_rows(shard) == COUNT
    shard.close()


def test_a_product_is_no_approximate_search():
    with pytest.raises(UsageError, match="method of exact search"):
        QueryOptions(search="product", exact=False)
    with pytest.raises(UsageError, match="'graph' is unknown"):
        QueryOptions(search="graph")


def test_who_compares_is_on_record(case):
    bank, _, _ = case
    assert [s.way for s in plan_searches([bank], (), True, [True])] == ["product"]
    assert [s.way for s in plan_searches([bank], (), True, [False])] == ["engine"]
    assert [s.way for s in plan_searches([bank], (), True)] == ["engine"]
