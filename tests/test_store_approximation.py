"""An approximate search whose filter leaves few rows compares them all; and a bank that lost some is noticed."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from test_store_rows import CORPUS, Rows, assert_same_hits

from lensbank.query.filtering import filter_notes, plan_searches
from lensbank.schemas.errors import StoreError
from lensbank.schemas.filters import parse
from lensbank.store import approximation
from lensbank.store.embedded import engine
from lensbank.store.embedded.disk import store_error
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.opening import open_store

COUNT, DIM, LAYERS = 700, 32, (4, 5)
SETTINGS = EngineSettings(index_from_kb=20, segment_rows=300)
DOGS = parse(["word=dog"])


@pytest.fixture(scope="module")
def rows():
    return Rows(COUNT, DIM, layers=LAYERS)


@pytest.fixture(scope="module")
def store(rows, tmp_path_factory):
    """Two banks with a graph."""
    store = EmbeddedStore(tmp_path_factory.mktemp("store"), SETTINGS)
    with store.writer(rows.identities(), "/model", expected_rows=COUNT) as writer:
        rows.put(writer)
        writer.finish(CORPUS, graph=True)
    return store


@pytest.fixture
def banks(store, rows):
    opened = [store.open(one) for one in rows.identities()]
    yield opened
    for bank in opened:
        bank.close()


def queries(count=6):
    return np.random.default_rng(3).standard_normal((count, DIM))


def keep(rows, word="dog"):
    return np.array([p["word"] == word for p in rows.payloads])


def test_few_rows_are_all_compared(banks, rows, monkeypatch):
    asked = []
    real = engine.query
    monkeypatch.setattr(engine, "query", lambda *args: asked.append(args[4]) or real(*args))
    found = banks[0].search(queries(), 9, DOGS, exact=False)
    assert_same_hits(found, rows.nearest(4, queries(), 9, keep(rows)))
    banks[0].search(queries(), 9, exact=False)  # no filter: the graph, as asked for
    assert asked == [True, False]


def test_the_limit_is_the_number_of_rows_that_meet_the_filter(banks, rows, monkeypatch):
    dogs = int(keep(rows).sum())
    monkeypatch.setattr(approximation, "SMALL_SHARE", 0)
    monkeypatch.setattr(approximation, "FEW_ROWS", dogs)
    assert banks[0].compares_all(DOGS) and not banks[0].compares_all(parse(["word!=dog"]))
    monkeypatch.setattr(approximation, "FEW_ROWS", dogs - 1)
    assert not banks[1].compares_all(DOGS) and not banks[1].compares_all()


def test_or_their_share_of_the_bank(banks, rows, monkeypatch):
    monkeypatch.setattr(approximation, "FEW_ROWS", 0)
    assert (
        banks[0].compares_all(DOGS) and not banks[0].compares_all(parse(["word!=dog"])) and not banks[0].compares_all()
    )
    monkeypatch.setattr(approximation, "SMALL_SHARE", (keep(rows).sum() - 1) / COUNT)
    assert not banks[1].compares_all(DOGS)


def test_without_an_index_everything_is_compared(tmp_path):
    few = Rows(30, layers=(4,))
    store = EmbeddedStore(tmp_path)
    with store.writer(few.identities(), "/model") as writer:
        few.put(writer)
        writer.finish(CORPUS)
    with store.open(few.identities()[0]) as bank:
        assert bank.compares_all()
        plan = plan_searches([bank], (), exact=False)
        assert [(s.layer, s.rows, s.exact) for s in plan] == [(4, 30, True)]
        where = parse([f"document={few.payloads[7]['document']}"])
        assert filter_notes([bank], where, plan_searches([bank], where, False), False) == []


def test_a_reader_learns_where_the_search_was_exact(banks, rows, monkeypatch):
    dogs = int(keep(rows).sum())
    plan = plan_searches(banks, DOGS, exact=False)
    assert [(s.name, s.rows, s.exact) for s in plan] == [(bank.name, dogs, True) for bank in banks]
    assert filter_notes(banks, DOGS, plan, exact=False) == [
        f"Searched exactly: bank layer 4, 5, because the filter leaves only {dogs} rows."
    ]
    assert filter_notes(banks, DOGS, plan_searches(banks, DOGS, True), exact=True) == []
    monkeypatch.setattr(approximation, "FEW_ROWS", 0)
    monkeypatch.setattr(approximation, "SMALL_SHARE", 0)
    for bank in banks:
        bank._fallback = approximation.Fallback()
    assert not any(s.exact for s in plan_searches(banks, DOGS, exact=False))


def test_how_a_bank_is_searched_is_asked_once(banks, monkeypatch):
    counts = []
    monkeypatch.setattr(banks[0], "count", lambda where=(): counts.append(where) or 5)
    for _ in range(3):
        assert banks[0].compares_all(DOGS)
    assert counts == [DOGS]


def test_rows_that_lack_a_field_are_named(tmp_path):
    """As another program may have written them: `!=` keeps such rows, everything else drops them."""
    old = Rows(40, layers=(4,))
    for one in old.payloads:
        del one["position"]
    store = EmbeddedStore(tmp_path)
    with store.writer(old.identities(), "/model") as writer:
        old.put(writer)
        writer.finish(CORPUS)
    with store.open(old.identities()[0]) as bank:
        for text, left in (("position>=0", 0), ("position=1", 0), ("position!=1", 40)):
            where = parse([text])
            assert bank.count(where) == left == len(bank.search(np.ones((1, 16)), 50, where)[0])
            notes = filter_notes([bank], where, plan_searches([bank], where, True), True)
            assert notes[0] == (
                "Rows of bank layer 4 have no position. Such rows meet position!=... and no other filter on this field."
            )
            assert len(notes) == (1 if left else 2)


def change_record(folder, **changes):
    path = folder / "lensbank.json"
    data = json.loads(path.read_text())
    del data["checksums"]
    path.write_text(json.dumps({**data, **changes}))


def damaged(store, tmp_path, pattern, work):
    copy = tmp_path / "copy"
    shutil.copytree(store.root, copy)
    segments = copy.glob("*L04*/shard/segments/*/id_tracker.versions")
    fullest = max(segments, key=lambda path: path.stat().st_size).parent
    paths = sorted(fullest.glob(pattern))
    assert paths
    work(paths[0])
    # As of a bank that was finished before there were lists of files: those notice all of this themselves.
    change_record(fullest.parents[2], manifest=None)
    return open_store(copy)


def halve(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("pattern", "work", "said"),
    [
        (
            "id_tracker.i2e",
            lambda path: path.unlink(),
            r"is damaged: it holds \d+ of the 700 rows .*Copy the folder of the bank",
        ),
        (
            "id_tracker.e2i",
            lambda path: path.unlink(),
            r"is damaged: it holds \d+ of the 700 rows|embedded engine failed",
        ),
        ("id_tracker.i2e", halve, r"is damaged|embedded engine failed"),
        ("id_tracker.e2i", halve, r"is damaged|embedded engine failed"),
        ("version.info", lambda path: path.unlink(), r"is damaged: it holds \d+ of the 700 rows"),
        ("id_tracker.versions", halve, r"is damaged: it holds \d+ of the 700 rows|embedded engine failed"),
        (
            "vector_storage/matrix.dat",
            lambda path: path.unlink(),
            "is damaged: vectors are missing|embedded engine failed",
        ),
        ("payload_storage/tracker.dat", lambda path: path.unlink(), "embedded engine failed on"),
        ("payload_index/*/*/status.dat", halve, "embedded engine failed on .*delete that bank's folder"),
        ("vector_index/graph.bin", lambda path: path.unlink(), "embedded engine failed on"),
    ],
)
def test_a_bank_that_lost_files_is_refused(store, rows, tmp_path, pattern, work, said):
    """The engine itself loads some of these without a word, and panics over others."""
    copy = damaged(store, tmp_path, pattern, work)
    with pytest.raises(StoreError, match=said):
        copy.open(rows.identities()[0])
    with copy.open(rows.identities()[1]) as other:
        assert other.count() == COUNT


def test_a_shard_of_another_width_is_refused(store, rows, tmp_path):
    narrow = Rows(40, 16, layers=(4,))
    other = EmbeddedStore(tmp_path / "narrow")
    other.root.mkdir()
    with other.writer(narrow.identities(), "/model") as writer:
        narrow.put(writer)
        writer.finish(CORPUS)
    copy = tmp_path / "copy"
    shutil.copytree(store.root, copy)
    shard = copy / rows.identities()[0].name() / "shard"
    shutil.rmtree(shard)
    shutil.copytree(other.root / narrow.identities()[0].name() / "shard", shard)
    change_record(shard.parent, rows=40, manifest=None)
    with pytest.raises(StoreError, match="its record says 32 dimensions, and its vectors have another number"):
        open_store(copy).open(rows.identities()[0])


def test_interrupts_are_not_taken_for_failures(banks):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        banks[0]._call(interrupted)
    assert dataclasses.is_dataclass(banks[0].record) and store_error(ValueError("x"), banks[0]._folder).hint
