"""Nodes of a Ray cluster that are removed, and others that join: real ones on one machine, each with its workers.

The banks must end as those of a single process: the same ids, payloads and vectors, bit for bit. `make test-ray` runs
this file; without Ray it is reported as not run.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from ingested import contents, sentences
from ray_fixtures import ARGUMENTS, Steps
from standins import StandIn
from test_cluster_work import OPTIONS, rows_of, whole

from lensbank.cluster import waiting
from lensbank.cluster.connecting import Workers
from lensbank.cluster.facts import Loading
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import run
from lensbank.store.opening import open_store

ray = pytest.importorskip("ray", reason="NOT RUN: Ray is not installed (make test-ray)", exc_type=ImportError)

from ray.cluster_utils import Cluster  # noqa: E402

from lensbank.cluster.running import in_a_task  # noqa: E402
from lensbank.cluster.work import OnCluster  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Ray's own are many
    pytest.mark.usefixtures("one_thread"),
]
SMALL = replace(OPTIONS, batch_tokens=40)
# The command, which says soon what it waits for.
COMMAND = "from lensbank.cluster import waiting; waiting.SILENT_SECONDS = 1.0; from lensbank.cli import main; main()"
SECONDS = 600  # for what must happen, on any machine
TRIES = 5  # an ingest that is quicker than the removal of its nodes proves nothing


class Nodes:
    """A cluster whose driver's node gives no CPU, and other nodes of two CPUs."""

    def __init__(self):
        soon = {"health_check_period_ms": 500, "health_check_initial_delay_ms": 500}
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address, self.there = self._cluster.address, []

    def add(self):
        self.there.append(self._cluster.add_node(num_cpus=2))

    def remove(self, node):
        self.there.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def remove_all(self):
        for node in list(self.there):
            self.remove(node)

    def remove_a_busy_one(self):
        """One that runs a worker, unless all are done."""
        busy = [node for node in self.there if any("MapWorker" in line for line in _lines(node))]
        self.remove([*busy, *self.there][0])

    def at_least(self, count):
        while len(self.there) < count:
            self.add()

    def close(self):
        self._cluster.shutdown()


def _lines(node):
    """The command lines of the processes of a node."""
    (raylet,) = node.all_processes["raylet"]
    for process in psutil.Process(raylet.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            yield " ".join(process.cmdline())


@pytest.fixture(scope="module")
def nodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", str(SECONDS))
        nodes = Nodes()
        nodes.at_least(2)
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
        yield nodes
        ray.shutdown()
        nodes.close()


@pytest.fixture(scope="module")
def model(tiny_llm):
    return tiny_llm


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """In files, each of which is read by one task."""
    lines, folder = sentences(400), tmp_path_factory.mktemp("corpora") / "house"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text("\n".join(lines[number::4]))
    return folder


@pytest.fixture(scope="module")
def expected(model, corpus, tmp_path_factory):
    return whole(model, [corpus], tmp_path_factory.mktemp("expected"), SMALL)


class Moments(Steps):
    """Calls something at chosen steps of several phases: (phase, step) → it."""

    def __init__(self, at):
        super().__init__()
        self.moments = at

    def start(self, phase, total, unit):
        super().start(phase, total, unit)
        self.of, self.step = phase, 0

    def advance(self, count):
        super().advance(count)
        self.moments.pop((self.phase, self.step), lambda: None)()


def ingest(work, corpus, server, progress):
    with read_corpora([corpus]) as texts, open_store(server.url) as store:
        run(work, texts, store, SMALL, progress)
        return contents(store)


def work_on(nodes, model, note):
    nodes.at_least(1)
    return OnCluster.of(Loading.of(str(model), ARGUMENTS), Workers(2, 1, 0), 4, note)


def test_nodes_that_are_removed_while_it_reads_and_encodes_and_one_that_joins(nodes, model, corpus, expected):
    nodes.at_least(2)
    first = nodes.there[0]
    moments = {
        ("Reading", 1): lambda: (nodes.add(), nodes.remove(first)),
        ("Encoding", 5): nodes.remove_a_busy_one,
    }
    progress = Moments(moments)
    with StandIn(STANDIN_WAL="1") as server:
        banks = ingest(work_on(nodes, model, progress.note), corpus, server, progress)
    assert banks == expected
    assert not moments and len(nodes.there) == 1


def test_a_task_whose_node_is_removed_is_done_on_another(nodes, tmp_path):
    def waiting_there(folder):  # in here, it goes to the worker as it is
        name = ray.get_runtime_context().get_node_id()
        (folder / name).touch()
        while not (folder / "go").exists():
            time.sleep(0.02)
        return name

    nodes.at_least(2)
    finish = in_a_task(lambda text: None, waiting_there, tmp_path)
    until(lambda: list(tmp_path.iterdir()))
    (ran,) = tmp_path.iterdir()
    nodes.remove(next(node for node in nodes.there if node.node_id == ran.name))
    until(lambda: len(list(tmp_path.iterdir())) == 2)  # its process may live on for a moment, and would answer
    (tmp_path / "go").touch()
    assert finish() in {node.node_id for node in nodes.there}


def until(seen):
    deadline = time.monotonic() + SECONDS
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def interrupted(nodes, command, log):
    """The exit code of a command whose nodes are removed when rows have come, and that is interrupted when it waits."""
    nodes.at_least(1)
    with StandIn(STANDIN_WAL="1") as server, log.open("w") as out:
        arguments = list(map(str, [*command, "--store", server.url]))
        driver = subprocess.Popen(
            arguments, stdout=out, stderr=out, env={**os.environ, "LENSBANK_PROGRESS_SECONDS": "0"}
        )
        try:
            until(lambda: rows_of(server) or driver.poll() is not None)
            nodes.remove_all()
            until(lambda: "No node of the cluster has room" in log.read_text() or driver.poll() is not None)
            driver.send_signal(signal.SIGINT)
            return driver.wait(SECONDS)
        finally:
            driver.kill()
            driver.wait()


def test_a_command_without_nodes_says_so_and_can_be_interrupted(nodes, model, corpus, tmp_path):
    command = [sys.executable, "-c", COMMAND, "ingest", "--model", model, "--layer", "1,2", "--dtype", "float32"]
    command += ["--max-contexts", "60", "--batch-tokens", "20", "--ray", nodes.address, "--ray-actors", "2", corpus]
    log = tmp_path / "log"
    codes = (interrupted(nodes, command, log) for _ in range(TRIES))
    assert next((code for code in codes if code), 0) == 130, log.read_text()
    said = log.read_text()
    assert "No node of the cluster has room for a worker with 1 CPU" in said
    assert "The same command continues from there." in said
    assert "Connecting to existing Ray cluster" not in said  # what still waits does not come back to life at the end


def test_where_no_node_is_left_it_goes_on_when_one_joins(nodes, model, corpus, expected, monkeypatch):
    monkeypatch.setattr(waiting, "SILENT_SECONDS", 1.0)
    waited = []

    def note(text):
        if "No node of the cluster has room for a worker with 1 CPU" in text and not nodes.there:
            waited.append(text)
            nodes.add()

    for _ in range(TRIES):
        progress = Moments({("Encoding", 3): nodes.remove_all})
        with StandIn(STANDIN_WAL="1") as server:
            assert ingest(work_on(nodes, model, note), corpus, server, progress) == expected
        if waited:
            return
    pytest.fail("each ingest was quicker than the removal of its nodes")
