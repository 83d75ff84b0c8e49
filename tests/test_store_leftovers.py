"""What fails leaves nothing behind that was not there; what is interrupted in its last flush ends there."""

import os
import signal
import subprocess
import sys

import pytest
from standins import StandIn

from lensbank.banks.interrupts import Interruption
from lensbank.banks.transfer import Transfer
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import load_model
from lensbank.schemas.progress import Silent
from lensbank.store.embedded.writer import EmbeddedWriter
from lensbank.store.opening import open_store
from lensbank.store.server.writer import ServerWriter

OPTIONS = IngestOptions(layers=(1, 2), max_contexts=None, flush_seconds=1000)


@pytest.fixture(scope="module")
def loaded(tiny_llm):
    return load_model(str(tiny_llm), device="cpu", dtype="float32")


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"the {word} sleeps by the old house" for word in ("dog", "cat", "tree", "truck")))
    return path


def ingest(loaded, lines, store):
    with read_corpora([lines]) as corpus:
        return run(loaded, corpus, store, OPTIONS)


@pytest.mark.parametrize(
    "arguments", [["--layer", "99"], ["--layer", "1", "--dtype", "float16", "--device", "nothing"]]
)
def test_an_ingest_that_is_refused_leaves_no_folder(tiny_llm, lines, tmp_path, arguments):
    target = tmp_path / "new" / "deep" / "store"
    command = [sys.executable, "-m", "lensbank", "ingest", str(lines), "--model", str(tiny_llm), "--store", str(target)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode in (1, 2) and done.stderr.count("Error: ") == 1
    assert not (tmp_path / "new").exists()


def test_a_store_that_fails_later_leaves_no_folder_either(loaded, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    with (
        pytest.raises(Exception, match="no sentence|no text|empty"),
        open_store(str(tmp_path / "store"), create=True) as store,
    ):
        ingest(loaded, empty, store)
    assert not (tmp_path / "store").exists()


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    open_store(str(tmp_path / "mine"), create=True).close()
    assert (tmp_path / "mine").is_dir()


def test_what_came_in_stays(loaded, lines, tmp_path):
    with open_store(str(tmp_path / "a" / "store"), create=True) as store:
        ingest(loaded, lines, store)
    assert len(list((tmp_path / "a" / "store").iterdir())) == 2


@pytest.fixture(params=["embedded", "server"])
def engine(request, tmp_path):
    """Makes a store, and the class that writes into it."""
    if request.param == "embedded":
        yield lambda: open_store(str(tmp_path / "target"), create=True), EmbeddedWriter
        return
    with StandIn() as server:
        yield lambda: open_store(server.url), ServerWriter


@pytest.fixture
def last_flush(engine, monkeypatch):
    """A signal comes while rows are flushed for the last time: every flush of these short works is the last."""

    def arm(number):
        plain = engine[1].flush

        def flush(self, plan=None):
            os.kill(os.getpid(), number)
            plain(self, plan)

        monkeypatch.setattr(engine[1], "flush", flush)

    yield arm
    monkeypatch.undo()


class Notes(Silent):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ingest_ends_after_its_last_flush(loaded, lines, engine, last_flush, monkeypatch, number):
    make, _ = engine
    last_flush(number)
    notes = Notes()
    with pytest.raises(KeyboardInterrupt), make() as store, read_corpora([lines]) as corpus:
        run(loaded, corpus, store, OPTIONS, notes)
    assert [line for line in notes.said if line.startswith("Interrupted: every row is stored")]
    monkeypatch.undo()
    with make() as store:
        states = {info.record.state for info in store.list()}
        assert states == {"building"}
        assert ingest(loaded, lines, store).tokens == 0  # nothing is encoded again
        assert {info.record.state for info in store.list()} == {"complete"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_copy_ends_after_its_last_flush(loaded, lines, engine, last_flush, monkeypatch, number, tmp_path):
    make, _ = engine
    with open_store(str(tmp_path / "source"), create=True) as source:
        ingest(loaded, lines, source)
    last_flush(number)
    with (
        pytest.raises(KeyboardInterrupt),
        open_store(str(tmp_path / "source")) as source,
        make() as target,
        Interruption() as stopping,
    ):
        Transfer(source, target, Silent(), stopping).run(source.list())
    monkeypatch.undo()
    with open_store(str(tmp_path / "source")) as source, make() as target:
        assert all(info.record.state == "building" for info in target.list())
        Transfer(source, target, Silent()).run(source.list())
        assert [info.record.state for info in target.list()] == ["complete"] * 2
