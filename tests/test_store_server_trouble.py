"""An ingest into a server that restarts, refuses, breaks connections off and answers slowly.

The server is the stand-in (the real engine with its write-ahead log, in a process that is really
killed), the network a proxy that misbehaves by a seed. The banks must end as those of an ingest
into a folder: the same ids, payloads and vectors, bit for bit.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from ingested import contents, sentences
from standins import HERE, Proxy, StandIn, moody

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import load_model
from lensbank.schemas.errors import StoreError
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store
from lensbank.store.server.options import ServerOptions

SETTINGS = {"layers": (1, 2), "max_contexts": 60, "batch_tokens": 15, "flush_seconds": 0.2}
pytestmark = pytest.mark.usefixtures("one_thread")


class Steps(Silent):
    """Calls something at chosen steps of the encoding, and takes its time."""

    def __init__(self, at):
        self.at, self.step, self.phase, self.notes = dict(at), 0, "", []

    def start(self, phase, total, unit):
        self.phase = phase

    def advance(self, count):
        if self.phase == "Encoding":
            self.step += 1
            self.at.pop(self.step, lambda: None)()
            time.sleep(0.004)

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def model(tiny_llm):
    return tiny_llm


@pytest.fixture(scope="module")
def loaded(model):
    return load_model(str(model), dtype="float32")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "house.txt"
    path.write_text("\n".join(sentences(300)))
    return path


@pytest.fixture(scope="module")
def expected(loaded, corpus, tmp_path_factory):
    with (
        read_corpora([corpus]) as texts,
        open_store(tmp_path_factory.mktemp("whole"), create=True) as store,
    ):
        whole = Steps({})
        summary = run(loaded, texts, store, IngestOptions(**SETTINGS), whole)
        banks = contents(store)
    assert summary.tokens > 60 * SETTINGS["batch_tokens"]
    assert all(len(rows) > 200 for rows in banks.values())
    return banks, whole.step


@pytest.fixture(params=["rest", "grpc"])
def troubled(request, monkeypatch, tmp_path):
    """A stand-in with a log, and a proxy in front of the port that the protocol uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rest = request.param == "rest"
    with StandIn(STANDIN_WAL="1") as server, Proxy(server.port if rest else server.grpc_port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}" if rest else server.url
        options = ServerOptions(
            protocol=request.param, grpc_port=proxy.port, patience=60, timeout=20, streams=3, batch_rows=40
        )
        yield server, proxy, url, options


def ingest(loaded, corpus, url, options, at=()):
    progress = Steps(at)
    with read_corpora([corpus]) as texts, open_store(url, server=options, notify=progress.note) as store:
        run(loaded, texts, store, IngestOptions(**SETTINGS), progress)
        return contents(store), progress


def later(seconds, work):
    threading.Timer(seconds, work).start()


def test_a_server_that_is_killed_and_comes_back(loaded, corpus, troubled, expected):
    server, _, url, options = troubled

    def crash():
        server.kill()
        later(0.7, server.start)

    banks, progress = ingest(loaded, corpus, url, options, {10: crash, 40: crash})
    assert progress.step > 40
    assert banks == expected[0]


def test_a_network_in_a_bad_mood(loaded, corpus, troubled, expected):
    _, proxy, url, options = troubled
    # Rows travel over few connections, which stay open; other requests of REST have one each.
    proxy.plan = moody(seed=3, share=1.0, most=150_000) if options.protocol == "grpc" else moody(seed=3, share=0.8)
    banks, _ = ingest(loaded, corpus, url, options)
    assert proxy.broken >= 2
    assert banks == expected[0]


def test_a_port_that_closes_and_opens(loaded, corpus, troubled, expected, monkeypatch):
    monkeypatch.setattr("lensbank.store.server.connection._NOTE_AFTER", 0.3)
    _, proxy, url, options = troubled

    def shut():
        proxy.refuse()
        later(1.5, proxy.accept_again)

    banks, progress = ingest(loaded, corpus, url, options, {8: shut, 30: shut})
    assert banks == expected[0]
    assert any("does not answer" in note and "Waiting up to" in note for note in progress.notes), progress.notes
    assert any("answers again" in note for note in progress.notes)


@pytest.mark.parametrize("troubled", ["rest"], indirect=True)
def test_refusals_of_every_kind(loaded, corpus, troubled, expected):
    server, _, url, options = troubled
    faults = [503, 429, 500, 503, 503, 429, 500]
    banks, _ = ingest(
        loaded,
        corpus,
        url,
        options,
        {5: lambda: server.order_faults(*faults), 25: lambda: server.order_faults(*faults)},
    )
    assert banks == expected[0]


@pytest.mark.parametrize("troubled", ["grpc"], indirect=True)
def test_a_server_that_stays_away_leaves_what_it_had(loaded, corpus, troubled, expected):
    """The run gives up with a sentence; the same command goes on when the server is back."""
    server, _, url, options = troubled
    short = ServerOptions(
        protocol=options.protocol, grpc_port=options.grpc_port, patience=0.5, streams=2, batch_rows=40
    )
    with pytest.raises(StoreError, match="continues where it stopped"):
        ingest(loaded, corpus, url, short, {120: server.kill})
    server.start()
    banks, progress = ingest(loaded, corpus, url, options)
    assert banks == expected[0]
    assert progress.step < expected[1], "what was stored is not encoded again"


SCRIPT = """
import sys
import torch
from test_store_server_trouble import *
model, corpus, url, port, protocol = sys.argv[1:]
torch.set_num_threads(1)
options = ServerOptions(protocol=protocol, grpc_port=int(port), streams=3, batch_rows=40)
print("started", flush=True)
ingest(load_model(model, dtype="float32"), corpus, url, options)
print("done", flush=True)
"""


@pytest.mark.parametrize("troubled", ["grpc"], indirect=True)
def test_a_run_that_is_killed_goes_on(model, loaded, corpus, troubled, expected, tmp_path):
    _, _, url, options = troubled
    rng, kills = random.Random(options.protocol), 0
    path = os.pathsep.join((str(HERE), str(HERE.parent)))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    for _ in range(2):
        command = [sys.executable, "-c", SCRIPT, model, corpus, url, str(options.grpc_port), options.protocol]
        process = subprocess.Popen(
            list(map(str, command)), env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout.readline() == "started\n"
        time.sleep(rng.uniform(0.4, 1.2))
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        kills += "done" not in out
    assert kills, "every run had ended before it was killed"
    banks, _ = ingest(loaded, corpus, url, options)
    assert banks == expected[0]
