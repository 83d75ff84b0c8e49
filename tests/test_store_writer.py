"""The writing process: what survives which death, and what a user is told."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import numpy as np
import pytest
from test_store_rows import CORPUS, Rows

from lensbank.schemas.errors import (
    BankMismatchError,
    StateError,
    StoreError,
    StoreFullError,
    StoreLockedError,
)
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.locks import BankLock
from lensbank.store.embedded.store import EmbeddedStore

SETTINGS = EngineSettings(batch_rows=100, writers=2)  # each of the two banks has a process of its own


@pytest.fixture
def store(tmp_path):
    return EmbeddedStore(tmp_path, SETTINGS)


@pytest.fixture(scope="module")
def rows():
    return Rows(600)


def stored(store, rows, layer=4):
    """Ids in an unfinished or finished bank; every row is compared with what was put."""
    index = {name: i for i, name in enumerate(rows.ids)}
    with store.open(rows.identities()[0].at_layer(layer), allow_incomplete=True) as bank:
        page, _ = bank.scroll(10_000, with_vectors=True)
    for name, vector, payload in page:
        i = index[name]
        np.testing.assert_allclose(vector, rows.vectors[layer][i] / rows.norms[layer][i], atol=1e-6)
        assert payload["sentence"] == rows.payloads[i]["sentence"]
    return {name for name, _, _ in page}


def gone(pid, seconds=20):
    """Whether a process ends in time, with all its threads: the last one lets go of its files."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                zombie = file.read().rpartition(")")[2].split()[0] == "Z"
            if zombie and len(os.listdir(f"/proc/{pid}/task")) == 1:
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


@contextmanager
def script(tmp_path, body, *, preexec=None):
    """A program that writes, with no main guard, as a user's script may be; it does not outlive a test that fails."""
    head = """
        import sys, time, signal, os
        sys.path.insert(0, TESTS)
        from pathlib import Path
        from test_store_rows import Rows, CORPUS
        from lensbank.store.embedded.store import EmbeddedStore
        from lensbank.store.embedded.engine import EngineSettings
        rows = Rows(600)
        store = EmbeddedStore(Path(sys.argv[1]), EngineSettings(batch_rows=100, writers=2))
        def say(*words): print(*words, flush=True)
    """
    path = tmp_path / "program.py"
    head = textwrap.dedent(head).replace("TESTS", repr(os.path.dirname(__file__)))
    path.write_text(head + textwrap.dedent(body))
    (tmp_path / "store").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(path), str(tmp_path / "store")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=os.path.dirname(os.path.dirname(__file__)),
        start_new_session=True,
        preexec_fn=preexec,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_what_was_flushed_survives_the_death_of_both(tmp_path, rows):
    body = """
        writer = store.writer(rows.identities(), "/model")
        rows.put(writer, 0, 250)
        writer.flush()
        rows.put(writer, 250, 500)  # never acknowledged
        say(*writer.pids)
        time.sleep(60)
    """
    with script(tmp_path, body) as parent:
        children = list(map(int, parent.stdout.readline().split()))
        for child in children:
            os.kill(child, signal.SIGKILL)
        parent.kill()
    assert len(children) == 2 and all(map(gone, children))
    store = EmbeddedStore(tmp_path / "store", SETTINGS)
    for layer in (4, 5):
        found = stored(store, rows, layer)
        assert set(rows.ids[:250]) <= found <= set(rows.ids[:500])
    assert [b.rows for b in store.list()] == [250, 250]
    # The same work again brings it to its end.
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer, 250)
        writer.finish(CORPUS)
    assert stored(store, rows) == set(rows.ids)


def test_the_children_end_with_their_parent(tmp_path, rows):
    body = """
        writer = store.writer(rows.identities(), "/model")
        rows.put(writer, 0, 300)
        writer.flush()
        say(*writer.pids)
        time.sleep(60)
    """
    with script(tmp_path, body) as parent:
        children = list(map(int, parent.stdout.readline().split()))
        parent.kill()
    assert len(children) == 2 and all(map(gone, children))
    store = EmbeddedStore(tmp_path / "store", SETTINGS)
    assert stored(store, rows) == set(rows.ids[:300])  # and nothing is locked any more


def test_ctrl_c_reaches_the_parent_only(tmp_path, rows):
    body = """
        with store.writer(rows.identities(), "/model") as writer:
            done = 0
            try:
                say("go")
                while True:
                    rows.put(writer, done % 600, done % 600 + 30)
                    done += 30
            except KeyboardInterrupt:
                writer.flush()
                say(done)
    """
    with script(tmp_path, body) as parent:
        assert parent.stdout.readline() == "go\n"
        time.sleep(0.3)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
        out, err = parent.communicate(timeout=60)
    assert parent.returncode == 0 and err == ""
    found = stored(EmbeddedStore(tmp_path / "store", SETTINGS), rows)
    assert set(rows.ids[: int(out)]) <= found


def test_ctrl_c_while_starting_leaves_no_child(tmp_path):
    body = """
        try:
            say("go")
            while True:
                store.writer(rows.identities(), "/model").close()
        except KeyboardInterrupt:
            say("interrupted")
    """
    with script(tmp_path, body) as parent:
        assert parent.stdout.readline() == "go\n"
        time.sleep(0.45)
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=60)
    assert out == "interrupted\n" and err == ""
    assert parent.returncode == 0


def test_a_script_needs_no_main_guard_and_its_imports_stay_its_own(tmp_path):
    body = """
        say("main runs as", __name__)
        with store.writer(rows.identities(), "/model") as writer:
            rows.put(writer)
            maps = Path(f"/proc/{writer.pids[0]}/maps").read_text()
            say("numpy" in Path("/proc/self/maps").read_text(), "numpy" in maps, "torch" in maps)
            writer.finish(CORPUS)
        say(store.list()[0].rows)
    """
    with script(tmp_path, body) as parent:
        out, err = parent.communicate(timeout=60)
    assert out == "main runs as __main__\nTrue False False\n600\n" and err == ""


def test_a_program_that_forgets_the_writer_can_end(tmp_path):
    with script(tmp_path, "writer = store.writer(rows.identities(), '/model'); rows.put(writer, 0, 5)") as parent:
        out, err = parent.communicate(timeout=30)
    assert parent.returncode == 0 and err == ""


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (signal.SIGKILL, StoreError, "was killed by SIGKILL .often a lack of memory.. Run the same command again"),
        (signal.SIGBUS, StoreFullError, "disk became full"),
    ],
)
def test_a_dead_child_is_an_error_everywhere(store, rows, number, kind, text, which):
    writer = store.writer(rows.identities(), "/model")
    rows.put(writer, 0, 100)
    writer.flush()
    os.kill(writer.pids[which], number)
    name = rows.identities()[which].name()  # the bank that it wrote
    with pytest.raises(kind, match=f"{name} in .*{text}|{text} .*{name}"):
        for _ in range(50):
            rows.put(writer)
    for work in (writer.flush, lambda: writer.finish(CORPUS), lambda: rows.put(writer)):
        with pytest.raises(kind):
            work()
    writer.close()
    writer.abort()
    assert all(map(gone, writer.pids))
    assert [info.record.state for info in store.list()] == ["building"] * 2
    for layer in (4, 5):
        assert set(rows.ids[:100]) <= stored(store, rows, layer)
    with store.writer(rows.identities(), "/model") as again:
        rows.put(again)
        again.finish(CORPUS)
    assert stored(store, rows, 4) == stored(store, rows, 5) == set(rows.ids)


def test_two_writers_are_refused_with_the_first_ones_process(store, rows):
    with store.writer(rows.identities(), "/model"):
        with pytest.raises(StoreLockedError, match=f"being written by process {os.getpid()}"):
            store.writer(rows.identities()[1:], "/model")
        with pytest.raises(StoreLockedError, match=f"being written by process {os.getpid()}"):
            store.open(rows.identities()[0], allow_incomplete=True)
        with pytest.raises(StoreLockedError, match="being written"):
            store.drop(rows.identities()[0].name())
        other = [i.at_layer(7) for i in rows.identities()[:1]]
        store.writer(other, "/model").close()  # another bank of the same store


def test_a_refused_writer_leaves_no_trace_of_its_other_banks(store, rows):
    with store.writer(rows.identities()[:1], "/model") as first:
        rows_of_4 = Rows(600, layers=(4,))
        rows_of_4.put(first)
        first.finish(CORPUS)
    with pytest.raises(BankMismatchError, match="max_contexts 20 in the bank, 5 now"):
        store.writer(rows.identities(max_contexts=5)[::-1], "/model")
    assert [(b.name, b.record.state) for b in store.list()] == [(rows.identities()[0].name(), "complete")]


def test_a_foreign_folder_of_the_banks_name_is_left_alone(store, rows):
    folder = store.root / rows.identities()[0].name()
    folder.mkdir()
    (folder / "diary.txt").write_text("dear")
    with pytest.raises(StoreError, match="exists, but it is not a bank"):
        store.writer(rows.identities(), "/model")
    assert (folder / "diary.txt").read_text() == "dear"


def test_an_exception_in_the_block_stops_at_once_and_keeps_what_was_flushed(store, rows):
    with pytest.raises(RuntimeError, match="mine"), store.writer(rows.identities(), "/model") as writer:
        rows.put(writer, 0, 130)
        writer.flush()
        rows.put(writer, 130)
        raise RuntimeError("mine")
    assert all(map(gone, writer.pids))
    assert set(rows.ids[:130]) <= stored(store, rows)


def test_putting_in_any_portions_gives_the_same_bank(store, rows):
    rng = np.random.default_rng(1)
    with store.writer(rows.identities(), "/model") as writer:
        start = 0
        while start < 600:
            stop = start + int(rng.integers(0, 250))
            rows.put(writer, start, stop)
            start = min(stop, 600)
        writer.finish(CORPUS)
    assert stored(store, rows, 4) == stored(store, rows, 5) == set(rows.ids)


def test_a_bank_written_in_many_segments_ends_in_few(tmp_path):
    many = Rows(6000, dim=64)
    small = EngineSettings(
        batch_rows=500, index_from_kb=20, segment_rows=3000, growing_rows=1000, merged_rows=4000, writing_segments=8
    )
    store = EmbeddedStore(tmp_path, small)
    growing = 0
    with store.writer(many.identities(), "/model", expected_rows=6000) as writer:
        for start in range(0, 6000, 1000):
            many.put(writer, start, start + 1000)
            writer.flush()
            growing = max(growing, *(folders(tmp_path / i.name()) for i in many.identities()))
        writer.finish(CORPUS)
    assert stored(store, many, 4) == stored(store, many, 5) == set(many.ids)
    assert growing > 3
    for identity in many.identities():  # two of at most 4,000 rows, and the one that takes new rows
        assert folders(tmp_path / identity.name()) <= 3


def folders(bank):
    """Segments on the disk."""
    return sum(path.is_dir() for path in (bank / "shard" / "segments").iterdir())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_segments_are_merged_up_to_so_many_rows_in_either_datatype(tmp_path, dtype):
    many = Rows(6000, dim=64, layers=(4,))
    bounded = EngineSettings(index_from_kb=20, segment_rows=6000, growing_rows=1000, merged_rows=3500)
    store = EmbeddedStore(tmp_path, bounded)
    identities = many.identities(vector_dtype=dtype)
    with store.writer(identities, "/model", expected_rows=6000) as writer:
        for start in range(0, 6000, 1000):
            many.put(writer, start, start + 1000)
        writer.finish(CORPUS)
    assert folders(tmp_path / identities[0].name()) >= 3
    assert [info.rows for info in store.list()] == [6000]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one core a bank has one segment")
def test_a_few_rows_more_leave_a_large_bank_its_segments(tmp_path):
    many = Rows(6500, dim=64, layers=(4,))
    bank = tmp_path / many.identities()[0].name()
    store = EmbeddedStore(tmp_path, EngineSettings(index_from_kb=20, segment_rows=3000))
    with store.writer(many.identities(), "/model", expected_rows=6000) as writer:
        for start in range(0, 6000, 1000):
            many.put(writer, start, start + 1000)
        writer.finish(CORPUS)
    before = folders(bank)
    with store.writer(many.identities(), "/model", expected_rows=500) as writer:
        many.put(writer, 6000)
        writer.finish(CORPUS)
    assert folders(bank) == before == 3  # two, and the one that takes new rows
    assert stored(store, many) == set(many.ids)


def test_a_large_corpus_added_to_a_bank_is_indexed_as_it_comes(tmp_path):
    many = Rows(9000, dim=64, layers=(4,))
    bank = tmp_path / many.identities()[0].name()
    store = EmbeddedStore(tmp_path, EngineSettings(index_from_kb=20, segment_rows=9000, growing_rows=1000))
    with store.writer(many.identities(), "/model", expected_rows=5000) as writer:
        many.put(writer, 0, 5000)
        writer.finish(CORPUS)
    growing = before = folders(bank)
    with store.writer(many.identities(), "/model", expected_rows=4000) as writer:
        for start in range(5000, 9000, 500):
            many.put(writer, start, start + 500)
            writer.flush()
            growing = max(growing, folders(bank))
        writer.finish(CORPUS)
    assert growing > before
    assert stored(store, many) == set(many.ids)


def test_the_arrays_may_be_reused_after_put(store, rows):
    buffer = {layer: np.empty((50, 16), np.float16) for layer in (4, 5)}
    halves = {layer: v.astype(np.float16) for layer, v in rows.vectors.items()}
    with store.writer(rows.identities(), "/model") as writer:
        for start in range(0, 600, 50):
            part = slice(start, start + 50)
            for layer in buffer:
                buffer[layer][:] = halves[layer][part]
            norms = {layer: n[part] for layer, n in rows.norms.items()}
            writer.put(rows.ids[part], rows.payloads[part], buffer, norms)
        for layer in buffer:
            buffer[layer][:] = np.nan
        writer.finish(CORPUS)
    with store.open(rows.identities()[1]) as bank:
        found = bank.search(rows.vectors[5], 1)
    assert [f[0].id for f in found] == rows.ids


def test_odd_texts_are_kept_or_made_sayable(store, rows):
    odd = "nul \x00, lone \ud800, bell \x07, rtl \u202e, combining e\u0301, astral 𝔘, newline \n"
    payload = {**rows.payloads[0], "sentence": odd, "token": "\udc80"}
    with store.writer(rows.identities(), "/model") as writer:
        one = {layer: v[:1] for layer, v in rows.vectors.items()}
        writer.put(rows.ids[:1], [payload], one, {layer: n[:1] for layer, n in rows.norms.items()})
        writer.finish(CORPUS)
    with store.open(rows.identities()[0]) as bank:
        found = bank.search(rows.vectors[4][:1], 1)[0][0].payload
    assert found["sentence"] == odd.replace("\ud800", "\ufffd") and found["token"] == "\ufffd"


def test_sentences_longer_than_a_slot_still_pass(store, rows):
    long = [{**p, "sentence": f"{i} " + "word " * 4000} for i, p in enumerate(rows.payloads)]
    with store.writer(rows.identities(), "/model") as writer:
        writer.put(rows.ids, long, rows.vectors, rows.norms)
        writer.finish(CORPUS)
    with store.open(rows.identities()[0]) as bank:
        assert bank.search(rows.vectors[4][9:10], 1)[0][0].payload["sentence"] == long[9]["sentence"]


def test_a_bad_state_is_refused_with_its_sentence_and_its_whole_portion(store, rows):
    bad = {layer: v[:20].copy() for layer, v in rows.vectors.items()}
    bad[5][7, 3] = np.inf
    norms = {layer: n[:20] for layer, n in rows.norms.items()}
    with store.writer(rows.identities(), "/model") as writer:
        with pytest.raises(StateError, match="at layer 5 is infinite") as caught:
            writer.put(rows.ids[:20], rows.payloads[:20], bad, norms)
        assert rows.payloads[7]["sentence"] in str(caught.value)
        with pytest.raises(StateError, match="has norm nan"):
            writer.put(
                rows.ids[:1],
                rows.payloads[:1],
                {k: v[:1] for k, v in bad.items()},
                dict.fromkeys((4, 5), np.array([np.nan])),
            )
        rows.put(writer, 100, 200)
        writer.finish(CORPUS)
    assert stored(store, rows) == set(rows.ids[100:200])


def test_arguments_that_do_not_fit_are_refused(store, rows):
    with store.writer(rows.identities(), "/model") as writer:
        with pytest.raises(ValueError, match="3 ids, but 2 payloads"):
            writer.put(rows.ids[:3], rows.payloads[:2], rows.vectors, rows.norms)
        with pytest.raises(ValueError, match=r"vectors of layers \[4\], expected \[4, 5\]"):
            writer.put(rows.ids, rows.payloads, {4: rows.vectors[4]}, rows.norms)
        with pytest.raises(ValueError, match=r"expected \[599, 16\]"):
            writer.put(rows.ids[1:], rows.payloads[1:], rows.vectors, rows.norms)
    with pytest.raises(StoreError, match="writer is closed"):
        rows.put(writer)
    for wrong in ([], rows.identities()[:1] * 2, [rows.identities()[0], rows.identities(dim=8)[1]]):
        with pytest.raises(ValueError, match="bank"):
            store.writer(wrong, "/model")


def test_progress_of_the_index_ends_at_the_whole(store, rows):
    seen = []
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.finish(CORPUS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 1200), (600, 1200), (1200, 1200)]


@pytest.mark.parametrize("which", [0, 1])
def test_put_waits_where_storing_is_behind(store, rows, which):
    with store.writer(rows.identities(), "/model") as writer:
        os.kill(writer.pids[which], signal.SIGSTOP)
        try:
            # Slots for 4 x 100 rows, and nobody empties them.
            rows.put(writer, 0, 400)
            signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError()))
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(TimeoutError):
                rows.put(writer, 400, 600)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            os.kill(writer.pids[which], signal.SIGCONT)
        rows.put(writer, 400, 600)
        writer.finish(CORPUS)
    assert stored(store, rows, 4) == stored(store, rows, 5) == set(rows.ids)


def test_too_little_space_is_found_before_anything_is_written(tmp_path, rows):
    greedy = EmbeddedStore(tmp_path, EngineSettings(reserve_bytes=1 << 60))
    with pytest.raises(StoreFullError, match="of free space; .* are needed"):
        greedy.writer(rows.identities(), "/model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("limit", "state"), [(24 << 20, []), (40 << 20, ["building"])])
def test_files_that_cannot_grow(tmp_path, limit, state):
    """A limit on file sizes fails like a full disk does, on any machine: at the start, and at the index."""
    import resource

    body = """
        import numpy as np
        from lensbank.schemas.errors import StoreFullError
        wide = Rows(600, dim=1024, layers=(4,))
        try:
            with store.writer(wide.identities(), "/model") as writer:
                for n in range(20):
                    wide.ids = Rows(600, dim=1, seed=n).ids
                    wide.put(writer)
                writer.finish(CORPUS)
        except StoreFullError as error:
            say(error.message)
        say([b.record.state for b in store.list()])
    """
    with script(tmp_path, body, preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) as parent:
        out, err = parent.communicate(timeout=120)
    assert ": File too large.\n" in out and "No more data can be written to" in out, (out, err)
    assert out.splitlines()[-1] == str(state) and err == ""


def test_a_full_disk_stops_before_the_engine_breaks(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here (needs root); test_files_that_cannot_grow runs everywhere")
    try:
        store = EmbeddedStore(disk, EngineSettings(reserve_bytes=1 << 20))
        rows = Rows(1000, dim=512, layers=(4,))
        first = list(rows.ids)
        with pytest.raises(StoreFullError, match="of free space"), store.writer(rows.identities(), "/m") as writer:
            for n in range(40):
                if n:
                    rows.ids = Rows(1000, dim=1, seed=n).ids
                rows.put(writer)
                if n == 0:
                    writer.flush()
        assert store.list()[0].record.state == "building"
        # The user frees some space, and goes on.
        subprocess.run(["mount", "-o", "remount,size=2g", str(disk)], check=True)
        with store.writer(rows.identities(), "/m") as writer:
            rows.put(writer)
            writer.finish(CORPUS)
        with store.open(rows.identities()[0]) as bank:
            assert bank.count() >= 2000
            assert bank.search(rows.vectors[4][:3], 1)[0][0].score == pytest.approx(1, abs=1e-6)
            assert {name for name, _, _ in bank.scroll(100_000)[0]} >= {*first, *rows.ids}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_written(tmp_path, rows):
    disk = tmp_path / "disk"
    disk.mkdir()
    store = EmbeddedStore(disk, SETTINGS)
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.finish(CORPUS)
    mounted = subprocess.run(["mount", "--bind", str(disk), str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a read-only folder cannot be mounted here (needs root)")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True, capture_output=True)
        with pytest.raises(StoreFullError, match="cannot be written: Read-only file system"):
            store.writer(rows.identities(), "/model")
        with pytest.raises(StoreFullError, match="cannot be written: Read-only file system"):
            store.drop(rows.identities()[0].name())
        with pytest.raises(StoreFullError, match="Read-only file system.* even to read a bank.* Copy the store"):
            store.open(rows.identities()[0])
        assert [b.rows for b in store.list()] == [600, 600]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_locks_of_one_bank(tmp_path):
    readers = [BankLock(tmp_path, exclusive=False) for _ in range(2)]
    with pytest.raises(StoreLockedError, match="being read"):
        BankLock(tmp_path, exclusive=True)
    for reader in readers:
        reader.release()
        reader.release()
    for owner, said in (
        (os.getpid(), f"written by process {os.getpid()}"),
        (123456789, "process 123456789.* has ended"),
    ):
        writer = BankLock(tmp_path, exclusive=True, owner=owner)
        for exclusive in (True, False):
            with pytest.raises(StoreLockedError, match=said):
                BankLock(tmp_path, exclusive=exclusive)
        writer.release()
    BankLock(tmp_path, exclusive=False).release()


def test_the_record_is_json_for_people(store, rows):
    with store.writer(rows.identities(), "/model") as writer:
        rows.put(writer)
        writer.finish(CORPUS)
    data = json.loads((store.root / rows.identities()[0].name() / "lensbank.json").read_text())
    assert data["identity"]["layer"] == 4 and data["state"] == "complete" and data["rows"] == 600
    assert data["tool"].startswith("lensbank ") and data["created"].endswith("+00:00")
