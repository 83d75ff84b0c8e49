"""A shard's files are read in long stretches before the engine asks for them page by page."""

import gc
import json
import shutil
import subprocess
import sys
import weakref

import pytest
from test_store_rows import CORPUS, Rows

from lensbank.schemas.errors import StoreError
from lensbank.schemas.filters import Condition
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.embedded.warming import at_hand, read_ahead

OPENINGS = """
import json, os, resource, sys
from pathlib import Path
import qdrant_edge
from lensbank.store.embedded import engine

def waits(load):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    load().close()
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before

folder = Path(sys.argv[1])
for path in folder.rglob("*"):  # what is not on the disk yet is not forgotten
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
plain = [waits(lambda: qdrant_edge.EdgeShard.load(str(folder))) for _ in range(2)]
print(json.dumps([plain[-1], waits(lambda: engine.load_shard(folder))]))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rows = Rows(3000, 64)
    store = EmbeddedStore(tmp_path_factory.mktemp("warm"), EngineSettings(index_from_kb=50, segment_rows=1500))
    with store.writer(rows.identities(), "/model", expected_rows=3000) as writer:
        rows.put(writer)
        writer.finish(CORPUS)
    return store


def test_opening_waits_for_few_pages(store, on_disk):
    """The engine alone waits for each page of its flags, thousands a bank."""
    shard = on_disk / "shard"  # a copy, as nobody has mapped it
    shutil.copytree(store.root / store.list()[0].name / "shard", shard)
    done = subprocess.run([sys.executable, "-c", OPENINGS, str(shard)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    plain, ours = json.loads(done.stdout)
    if plain < 1000:
        pytest.skip("a file system in memory: nothing is ever read")
    assert ours < plain / 10


def test_banks_that_are_expected_are_read_up_to_a_bound(store, monkeypatch):
    read = []
    monkeypatch.setattr("lensbank.store.embedded.store.read_ahead", lambda shard: read.append(shard.parent.name))
    infos = store.list()
    store.expect(infos)
    assert read == [info.name for info in infos]
    monkeypatch.setattr("lensbank.store.embedded.store._READ_AHEAD", 1000)
    store.expect(infos)
    assert len(read) == len(infos)


def test_nothing_to_read_is_no_error(tmp_path):
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "flags_a.dat").touch()
    (tmp_path / "segments" / "quantized.data").symlink_to("nowhere")
    for shard in (tmp_path, tmp_path / "nowhere"):
        read_ahead(shard)
        with at_hand(shard):
            pass


class Shard:
    closed = False

    def close(self):
        self.closed = True


def test_a_bank_that_is_left_open_is_free_all_the_same(store, tmp_path):
    """The engine would have the system forget its files; the next process would read them again."""
    copy = EmbeddedStore(shutil.copytree(store.root, tmp_path / "copy"))
    closed, left = Shard(), Shard()
    bank = copy.open(name := copy.list()[0].name)
    bank._shard.close()
    bank._shard = closed
    bank.close()
    copy.leave_open()
    bank = copy.open(name)
    bank._shard.close()
    bank._shard = left
    gone = weakref.ref(left)
    gc.disable()
    try:
        bank.close()
        with pytest.raises(StoreError, match="is closed"):
            bank.count([Condition("word", "=", ("a",))])
        assert closed.closed and not left.closed
        del left
        assert gone() is not None  # not closed by the last reference to it, either
        copy.drop(name)  # nobody reads it any more
    finally:
        gc.enable()
    gc.collect()
    assert gone() is None  # a longer process closes it when it next looks for garbage
