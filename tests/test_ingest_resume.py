"""Real processes, really killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ingested import contents, sentences

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import load_model
from lensbank.schemas.errors import StoreLockedError
from lensbank.store.opening import open_store

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {"layers": (1, 2), "max_contexts": 60, "batch_tokens": 15, "flush_seconds": 0.05}
# Slowed down, so that there is something to interrupt; says where it is on stdout.
SCRIPT = f"""
import sys, time
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.schemas.progress import Silent
from lensbank.models.loading import load_model
from lensbank.store.opening import open_store

class Slow(Silent):
    def start(self, phase, total, unit):
        print(phase, flush=True)
    def advance(self, count):
        print("+", flush=True)
        time.sleep(0.04)
    def note(self, text):
        print("note:", text, flush=True)

model, corpus, folder = sys.argv[1:]
loaded = load_model(model, dtype="float32")
with read_corpora([corpus]) as texts, open_store(folder, create=True) as store:
    run(loaded, texts, store, IngestOptions(**{SETTINGS!r}), Slow())
print("done", flush=True)
"""
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tiny_llm):
    return tiny_llm


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "house.txt"
    path.write_text("\n".join(sentences(400)))
    return path


@pytest.fixture(scope="module")
def uninterrupted(model, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return finish(model, corpus, folder), stored(folder)


def finish(model, corpus, folder):
    loaded = load_model(str(model), dtype="float32")
    with read_corpora([corpus]) as texts, open_store(folder, create=True) as store:
        return run(loaded, texts, store, IngestOptions(**SETTINGS))


def stored(folder):
    with open_store(folder) as store:
        return contents(store)


def test_the_runs_compared_have_something_to_compare(uninterrupted):
    summary, banks = uninterrupted
    assert summary.tokens > 30 * SETTINGS["batch_tokens"]  # enough batches to be killed between
    for rows in banks.values():
        assert len({vector for _, vector in rows.values()}) == len(rows) > 300


def start(model, corpus, folder):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(model), str(corpus), str(folder)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read_until(process, phase, steps):
    """Wait until a phase has advanced so many times."""
    seen = False
    for line in process.stdout:
        seen = seen or line.strip() == phase
        steps -= seen and line.strip() == "+"
        if seen and steps <= 0:
            return
    raise AssertionError(f"ended before {phase} had {steps} more steps: {ended(process)}")


def ended(process):
    """Everything it still says, and its exit code."""
    killer = threading.Timer(60, process.kill)
    killer.start()
    try:
        out, err = process.communicate()
    finally:
        killer.cancel()
    return out, err, process.returncode


def finish_when_unlocked(model, corpus, folder):
    """The writing child of a killed process holds the banks until it has noticed."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return finish(model, corpus, folder)
        except StoreLockedError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_killed_ingest_ends_as_if_it_had_not_been(model, corpus, uninterrupted, tmp_path):
    whole, expected = uninterrupted
    at = random.Random().randint(4, 25)
    process = start(model, corpus, tmp_path)
    read_until(process, "Encoding", at)
    os.kill(process.pid, signal.SIGKILL)  # its child notices by itself
    assert ended(process)[2] == -signal.SIGKILL
    summary = finish_when_unlocked(model, corpus, tmp_path)
    assert 0 < summary.tokens < whole.tokens, f"killed after {at} batches"
    assert stored(tmp_path) == expected, f"killed after {at} batches"


def test_ctrl_c_in_a_terminal_leaves_a_bank_that_says_it_is_building(model, corpus, uninterrupted, tmp_path):
    process = start(model, corpus, tmp_path)
    read_until(process, "Encoding", 4)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells the whole group: the writing process, too
    out, err, code = ended(process)
    assert code == -signal.SIGINT and "KeyboardInterrupt" in err, err
    assert "same command continues" in out and "done" not in out
    with open_store(tmp_path) as store:
        assert {info.record.state for info in store.list()} == {"building"}
        assert all(info.rows > 0 for info in store.list())
    summary = finish(model, corpus, tmp_path)
    assert 0 < summary.tokens < uninterrupted[0].tokens
    assert stored(tmp_path) == uninterrupted[1]
