"""Several writing processes: how many, who writes what, and that all of them or none have done a thing."""

import os
import threading
from pathlib import Path

import pytest
from test_store_rows import CORPUS, Rows

from lensbank.schemas.errors import StoreError, StoreLockedError, UsageError
from lensbank.store.embedded import crew, resources
from lensbank.store.embedded.child import Child
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.locks import BankLock
from lensbank.store.embedded.resources import indexed_at_once, writing_processes
from lensbank.store.embedded.store import EmbeddedStore

LAYERS = (1, 2, 3)


@pytest.fixture
def rows():
    return Rows(300, layers=LAYERS)


@pytest.fixture
def store(tmp_path):
    return EmbeddedStore(tmp_path, EngineSettings(batch_rows=50, writers=3))


@pytest.mark.parametrize(
    ("cores", "banks", "expected"), [(1, 8, 1), (2, 8, 1), (4, 8, 3), (4, 2, 2), (64, 8, 8), (9, 8, 8), (8, 1, 1)]
)
def test_a_process_for_each_bank_while_the_encoder_keeps_a_core(monkeypatch, cores, banks, expected):
    monkeypatch.delenv("LENSBANK_WRITERS", raising=False)
    monkeypatch.setattr(resources, "cores", lambda: cores)
    assert writing_processes(banks) == expected


def test_the_number_of_processes_can_be_said(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "cores", lambda: 2)
    monkeypatch.setenv("LENSBANK_WRITERS", " 3 ")
    assert [writing_processes(banks) for banks in (1, 3, 8)] == [1, 3, 3]
    for wrong in ("two", "0", "-1", "1.5"):
        monkeypatch.setenv("LENSBANK_WRITERS", wrong)
        with pytest.raises(UsageError, match=f"LENSBANK_WRITERS is '{wrong}'"):
            writing_processes(8)
        with pytest.raises(UsageError, match="a number of processes, 1 or more"):
            EmbeddedStore.at(tmp_path / "store", create=True)
    assert not (tmp_path / "store").exists()


def test_each_bank_is_open_in_one_process(store, rows):
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.flush()
        names = [{i.name() for i in rows.identities() if f"/{i.name()}/" in files(pid)} for pid in writer.pids]
        writer.finish(CORPUS)
    assert names == [{identity.name()} for identity in rows.identities()]
    for identity in rows.identities():
        with store.open(identity) as bank:
            found = bank.search(rows.vectors[identity.layer], 1)
        assert [hits[0].id for hits in found] == rows.ids  # of its own layer's vectors
        assert found[0][0].payload == {**rows.payloads[0], "norm": pytest.approx(rows.norms[identity.layer][0])}


def files(pid):
    """Paths of everything that a process has open or mapped."""
    opened = [os.path.realpath(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return "\n".join([Path(f"/proc/{pid}/maps").read_text(), *opened])


def test_fewer_processes_than_banks_share_them(tmp_path, rows):
    store = EmbeddedStore(tmp_path, EngineSettings(batch_rows=50, writers=2))
    seen = []
    with store.writer(rows.identities(), "/model") as writer:
        assert len(writer.pids) == 2
        rows.put(writer)
        assert writer.missing([*rows.ids[:5], "00000000-0000-0000-0000-000000000001"]) == 1
        writer.finish(CORPUS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 900), (300, 900), (600, 900), (900, 900)]
    assert [(info.rows, info.record.state) for info in store.list()] == [(300, "complete")] * 3


@pytest.mark.parametrize(("request_", "told"), [("seal", 3), ("complete", 3)])
def test_records_are_written_when_all_are_ready(store, rows, monkeypatch, request_, told):
    """A process that dies late in finish() leaves no bank complete beside one that is not."""
    tell = Child.tell
    sent = []

    def kill_first(child, *message):
        if message[0] == request_:
            sent.append(message[0])
            if len(sent) == told:
                child.process.kill()
                child.process.join()
        return tell(child, *message)

    writer = store.writer(rows.identities(), "/model")
    rows.put(writer)
    monkeypatch.setattr(Child, "tell", kill_first)
    with pytest.raises(StoreError, match="was killed by SIGKILL"):
        writer.finish(CORPUS)
    writer.abort()
    states = [info.record.state for info in store.list()]
    # One that had sealed its files before can still be completed; nobody is told to before all have.
    assert states == ["building"] * 3 if request_ == "seal" else states[2] == "building"
    monkeypatch.undo()
    with store.writer(rows.identities(), "/model") as again:
        rows.put(again)
        again.finish(CORPUS)
    assert [info.record.state for info in store.list()] == ["complete"] * 3


def test_the_second_process_locks_after_the_first(store, rows, monkeypatch):
    """Of two writers that begin at once, one gets all banks: both take them in the same order."""
    told = []
    tell = Child.tell
    monkeypatch.setattr(Child, "tell", lambda child, *m: (told.append((child.task.places, m[0])), tell(child, *m))[1])
    folder = store.root / rows.identities()[1].name()
    folder.mkdir()
    held = BankLock(folder, exclusive=True, owner=os.getpid())
    with pytest.raises(StoreLockedError, match="being written by process"):
        store.writer(rows.identities(), "/model")
    held.release()
    assert [one for one in told if one[1] == "lock"] == [((0,), "lock"), ((1,), "lock")]
    assert [path.name for path in store.root.iterdir()] == [folder.name]  # no trace of the others


def test_of_two_writers_that_begin_together_one_is_refused(store, rows):
    got, refused = [], []

    def begin():
        try:
            got.append(store.writer(rows.identities(), "/model"))
        except StoreLockedError:
            refused.append(True)

    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(refused) == 1
    rows.put(got[0])
    got[0].finish(CORPUS)


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (8, 3)])
def test_as_many_banks_are_indexed_side_by_side_as_memory_allows(store, rows, monkeypatch, at_once, most):
    under_way, seen = set(), []
    tell, receive = Child.tell, Child.receive

    def told(child, *message):
        if message[0] == "index":
            under_way.add((child, message[1]))
            seen.append(len(under_way))
        return tell(child, *message)

    def received(child):
        kind, *rest = receive(child)
        if kind == "done":
            under_way.discard((child, rest[0]))
        return (kind, *rest)

    monkeypatch.setattr(Child, "tell", told)
    monkeypatch.setattr(Child, "receive", received)
    monkeypatch.setattr(crew, "indexed_at_once", lambda processes, rows, dim: min(processes, at_once))
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.finish(CORPUS)
    assert max(seen) == most and len(seen) == 3


@pytest.mark.parametrize(
    ("free", "processes", "indexed", "dim", "expected"),
    [
        (0, 8, 250_000, 576, 1),  # a bank can always be indexed
        (16 << 30, 8, 250_000, 576, 4),  # a quarter of it for merges of 0.9 GB each
        (16 << 30, 8, 250_000, 4096, 2),
        (512 << 30, 8, 250_000, 4096, 8),
        (1 << 30, 8, 10_000, 576, 8),
    ],
)
def test_indexing_side_by_side_takes_a_share_of_the_free_memory(monkeypatch, free, processes, indexed, dim, expected):
    monkeypatch.setattr(resources, "free_memory", lambda: free)
    assert indexed_at_once(processes, indexed, dim) == expected


def test_merges_while_writing_are_smaller_where_several_processes_may_merge_at_once(tmp_path):
    """Memory is bounded over all of them; in the end the bank is as if one had written it."""
    many = Rows(2500)
    settings = EngineSettings(
        batch_rows=500, index_from_kb=5, segment_rows=2500, growing_rows=1000, merged_rows=2000, writing_segments=2,
        writers=2,
    )  # fmt: skip
    store = EmbeddedStore(tmp_path, settings)
    folders = [tmp_path / identity.name() / "shard" / "segments" for identity in many.identities()]
    with store.writer(many.identities(), "/model", expected_rows=2500) as writer:
        for start in range(0, 2500, 500):
            many.put(writer, start, start + 500)
        writer.flush()
        growing = [len(list(folder.iterdir())) for folder in folders]
        writer.finish(CORPUS)
    ended = [len(list(folder.iterdir())) for folder in folders]
    assert [info.rows for info in store.list()] == [2500, 2500]
    assert min(growing) > 3  # of 1,000 rows at most ...
    assert ended == [3, 3]  # ... then of 2,000; and the one that takes new rows
