"""What an ingest on a Ray cluster costs beside the single process, and whether it survives its workers.

    python -m benchmarks.bench_ray --model MODEL --corpus FILE [--layers 4] [--workers 1,2]
    python -m benchmarks.bench_ray --simulated 1,2,4,8 [--batches 200]
    python -m benchmarks.bench_ray --model MODEL --corpus FILE --kills 20

Everything runs on this machine: Ray's real worker processes, and the tests' stand-in as the server.

* The first form ingests a corpus by the single process and by so many workers, interleaved, and prints rows a second
  of the encoding (storing is part of it) with and without what it takes to start the workers.
* ``--simulated``: workers that compute nothing and put ready rows, to find where Ray, the driver or the server's one
  process is the limit.
* ``--kills`` kills a worker, drawn by ``--seed``, again and again with ``kill -9`` until there were so many kills, and
  compares every bank with one of a single process into a folder: ids, payloads, vectors, bit for bit.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.options import IngestOptions
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.payload import TokenPayload
from lensbank.schemas.plans import PlanRecord
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store
from lensbank.store.writing import Permit, Sender

ROWS, DIM = 256, 576
#: Seconds within which batches belong to one answer of a worker.
TOGETHER = 0.05
PAYLOAD = TokenPayload(
    token="Ġdog",
    token_id=1,
    word="dog",
    sentence="A dog barks at the old tree.",
    position=1,
    char_start=2,
    char_end=5,
    norm=0.0,
    corpus=("c",),
    document="c.txt:1",
    is_word=True,
).to_dict()


@contextmanager
def server() -> Iterator[str]:
    """The tests' stand-in."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    with import_module("standins").StandIn() as stand_in:
        yield stand_in.url


@contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """Ray on this machine, which is told that it has so many CPUs."""
    import ray

    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


class Clock(Silent):
    """When what was encoded came in."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.phase = ""
        self.came: list[tuple[float, int]] = []

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """A phase begins."""
        self.phase = phase

    def advance(self, count: int) -> None:
        """Tokens were encoded."""
        if self.phase == "Encoding":
            self.came.append((time.monotonic(), count))

    def share_and_seconds(self) -> tuple[float, float]:
        """The share of the tokens that came after the first answer, when workers had started, and what it took."""
        first = self.came[0][0]
        later = sum(count for at, count in self.came if at > first + TOGETHER)
        return later / sum(count for _, count in self.came), self.came[-1][0] - first


def contents(url: str | Path) -> dict[str, dict[str, Any]]:
    """All rows of all banks."""
    found = {}
    with open_store(url) as store:
        for info in store.list():
            assert info.record.state == "complete", info
            with store.open(info.name) as bank:
                rows, _ = bank.scroll(1_000_000, with_vectors=True)
            found[info.name] = {
                name: (payload, vector.tobytes()) for name, vector, payload in rows if vector is not None
            }
    return found


def ingest(work: Any, corpus: str, url: str | Path, options: IngestOptions, progress: Clock) -> Any:
    """One ingest; returns its summary."""
    from lensbank.ingest.pipeline import run

    with read_corpora([corpus]) as texts, open_store(url, create=True) as store:
        return run(work, texts, store, options, progress)


def compare(arguments: argparse.Namespace) -> None:
    """The single process and so many workers."""
    import torch

    from lensbank.cluster.connecting import Workers
    from lensbank.cluster.facts import Loading
    from lensbank.cluster.work import OnCluster
    from lensbank.models.loading import load_model

    torch.set_num_threads(1)
    options = options_of(arguments)
    model, counts = {"dtype": "float32", "device": "cpu"}, [int(one) for one in arguments.workers.split(",")]
    loaded = load_model(arguments.model, **model)  # type: ignore[arg-type]
    print(f"{'':12}{'rows':>8}{'encode s':>10}{'rows/s':>8}{'once running':>14}")
    with cluster(max(counts)):
        work = OnCluster.of(Loading.of(arguments.model, model), Workers(1, 1, 0.0), max(counts))
        for count in (0, *counts):
            clock = Clock()
            with server() as url:
                how = OnCluster(work.model, work.loading, Workers(count, 1, 0.0), work.cpus) if count else loaded
                summary = ingest(how, arguments.corpus, url, options, clock)
            took = summary.seconds["encode"]
            share, running = clock.share_and_seconds()
            rate = summary.rows * share / running
            name = f"{count} worker{'s' if count > 1 else ''}" if count else "one process"
            print(f"{name:12}{summary.rows:8,}{took:10.1f}{summary.rows / took:8,.0f}{rate:14,.0f}", flush=True)


def kills(arguments: argparse.Namespace) -> None:
    """Workers that are killed again and again."""
    import psutil
    import torch

    from lensbank.cluster.connecting import Workers
    from lensbank.cluster.facts import Loading
    from lensbank.cluster.work import OnCluster
    from lensbank.models.loading import load_model

    torch.set_num_threads(1)
    options, model = options_of(arguments), {"dtype": "float32", "device": "cpu"}
    choose, killed, stop = random.Random(arguments.seed), list[int](), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        ingest(load_model(arguments.model, **model), arguments.corpus, folder, options, Clock())  # type: ignore[arg-type]
        expected = contents(folder)

    def hunt(clock: Clock) -> None:
        while not stop.wait(choose.uniform(0.2, 2.0)):
            found = [one for one in psutil.Process().children(recursive=True) if is_worker(one)]
            if found and clock.phase == "Encoding" and len(killed) < arguments.kills:
                victim = choose.choice(found)
                victim.send_signal(signal.SIGKILL)
                killed.append(victim.pid)

    ingests = 0
    with cluster(2):
        work = OnCluster.of(Loading.of(arguments.model, model), Workers(2, 1, 0.0), 2)
        while len(killed) < arguments.kills:
            clock = Clock()
            stop.clear()
            hunter = threading.Thread(target=hunt, args=(clock,), daemon=True)
            with server() as url:
                hunter.start()
                ingest(work, arguments.corpus, url, options, clock)
                stop.set()
                hunter.join()
                found, ingests = contents(url), ingests + 1
            same = found == expected
            print(f"ingest {ingests}: {len(killed)} workers killed so far, equal: {same}", flush=True)
            assert same
    print(f"{len(killed)} kills in {ingests} ingests; every bank equals that of the single process")


def is_worker(process: Any) -> bool:
    """Whether it is an actor of Ray Data."""
    import psutil

    try:
        return "MapWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def options_of(arguments: argparse.Namespace) -> IngestOptions:
    """Of the ingests that are compared."""
    layers = tuple(int(one) for one in arguments.layers.split(","))
    return IngestOptions(layers, max_contexts=arguments.contexts, batch_tokens=arguments.batch_tokens, index=False)


class Simulated:
    """A worker that computes nothing: it puts ready rows."""

    permit: Permit

    def __init__(self) -> None:
        """Nothing is open yet."""
        self._sender: Sender | None = None

    def __call__(self, table: Any) -> Any:
        """As Ray Data calls it: a number of a batch gives a number of rows."""
        import pyarrow

        self._sender = self._sender or self.permit.open()
        (number,) = table.column("number").to_pylist()
        generator = np.random.default_rng(number)
        states = generator.standard_normal((ROWS, DIM), np.float32)
        ids = [f"{number:08x}-0000-4000-8000-{row:012x}" for row in range(ROWS)]
        self._sender.put(ids, [PAYLOAD] * ROWS, {1: states}, {1: np.linalg.norm(states, axis=1)})
        self._sender.drain()
        return pyarrow.table({"rows": [ROWS]})


def simulate(arguments: argparse.Namespace) -> None:
    """Where Ray and the server's one process are the limit."""
    import pyarrow
    import ray

    identity = BankIdentity("m", None, "w" * 64, "t" * 64, 1, 2, DIM, "float32", "float32", None, 0)
    counts = [int(one) for one in arguments.simulated.split(",")]
    print(f"{'encoders':>8}{'rows':>10}{'rows/s':>10}")
    with cluster(max(counts)):
        for count in counts:
            with server() as url, open_store(url) as store:
                plan = PlanRecord("ingest", "k", {"c": "f"}, total=1)
                with store.writer([identity], "m", plan=plan) as writer:
                    encoder = type("Simulated", (Simulated,), {"permit": writer.permit()})
                    tables = [pyarrow.table({"number": [n]}) for n in range(max(64, arguments.batches))]
                    done = ray.data.from_arrow(tables).map_batches(
                        encoder,
                        batch_size=None,
                        batch_format="pyarrow",
                        compute=ray.data.ActorPoolStrategy(size=count),
                        num_cpus=1,
                    )
                    times = []
                    for _ in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                        times.append(time.monotonic())
                    steady = times[len(times) // 4 :]  # once all have started
                    rate = ROWS * (len(steady) - 1) / (steady[-1] - steady[0])
                    print(f"{count:8}{ROWS * len(times):10,}{rate:10,.0f}", flush=True)
                    writer.abort()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--corpus")
    parser.add_argument("--layers", default="4")
    parser.add_argument("--contexts", type=int, default=20)
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--simulated")
    parser.add_argument("--batches", type=int, default=200)
    arguments = parser.parse_args()
    if arguments.simulated:
        simulate(arguments)
    elif not arguments.model or not arguments.corpus:
        parser.error("--model and --corpus are needed, or --simulated")
    elif arguments.kills:
        kills(arguments)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
