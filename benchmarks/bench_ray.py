"""What an ingest on a Ray cluster costs beside the single process, and whether it survives its workers.

    python -m benchmarks.bench_ray --corpus FILE [--model MODEL] [--forward 0.4] [--workers 1,2] [--rounds 2]
    python -m benchmarks.bench_ray --corpus FILE [--model MODEL] --kills 20

Everything runs on this machine: Ray's real worker processes, and the tests' stand-in as the server. Without a model, it
is a made one of width 576 and two blocks.

* The first form ingests a corpus by the single process and by so many workers, one after the other, so many rounds. It
  prints rows a second of the encoding (storing is part of it), once with and once without the workers' start, and
  processor time, which says more than the clock where a machine has other work. ``--forward`` makes every forward pass
  so many seconds longer, asleep: as a GPU would keep this process waiting.
* ``--kills`` kills a worker, drawn by ``--seed``, again and again with ``kill -9`` until there were so many kills, and
  compares every bank with one of a single process into a folder: ids, payloads, vectors, bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ray_machine import Spent, cluster, is_worker, of_the_tests, server
from lensbank.cluster.connecting import Workers
from lensbank.cluster.facts import Loading
from lensbank.cluster.work import OnCluster
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.options import IngestOptions
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store

if TYPE_CHECKING:
    from lensbank.models.loading import LoadedModel

#: Seconds within which batches belong to one answer of a worker.
TOGETHER = 0.05


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


@dataclass(frozen=True, slots=True)
class Slow(Loading):
    """A model whose forward pass takes so much longer, as on a device that leaves this machine's cores alone.

    Attributes:
        forward: seconds.
    """

    forward: float = 0.0

    def load(self) -> LoadedModel:
        """See :meth:`cluster.facts.Loading.load`."""
        loaded = Loading.load(self)
        if self.forward:
            loaded.lm.module.register_forward_pre_hook(lambda *_: time.sleep(self.forward))
        return loaded


@dataclass(frozen=True, slots=True)
class Ingest:
    """What one ingest took.

    Attributes:
        rows: of each bank.
        encoding: seconds, the workers' start included.
        later: rows a second once the first answer was there.
        cpu: seconds of the processor: ``driver``, ``workers``, ``ray``, ``server``.
    """

    rows: int
    encoding: float
    later: float
    cpu: Mapping[str, float]

    @property
    def ours(self) -> float:
        """Processor seconds of all but the server."""
        return sum(seconds for name, seconds in self.cpu.items() if name != "server")


def compare(arguments: argparse.Namespace) -> None:
    """The single process and so many workers, one after the other, so many rounds."""
    import torch

    torch.set_num_threads(1)
    options, counts = options_of(arguments), [int(one) for one in arguments.workers.split(",")]
    loading = Slow(arguments.model, {"dtype": "float32", "device": "cpu"}, 1, arguments.forward)
    found: dict[int, list[Ingest]] = {count: [] for count in (0, *counts)}
    print(f"{'':12}{'rows':>8}{'encode s':>10}{'rows/s':>8}{'later':>8}{'CPU s':>8}  driver/workers/ray/server")
    for _ in range(arguments.rounds):
        for count in found:
            one = measured(arguments, loading, options, count)
            found[count].append(one)
            parts = "/".join(f"{one.cpu.get(name, 0.0):.0f}" for name in ("driver", "workers", "ray", "server"))
            print(
                f"{named(count):12}{one.rows:8,}{one.encoding:10.1f}{one.rows / one.encoding:8,.0f}{one.later:8,.0f}"
                f"{one.ours:8.1f}  {parts}",
                flush=True,
            )
    alone = found.pop(0)
    for count, those in found.items():
        ratios = [statistics.median(a.encoding / b.encoding for a, b in zip(those, alone, strict=True))]
        ratios += [statistics.median(b.later / a.later for a, b in zip(those, alone, strict=True))]
        ratios += [statistics.median(a.ours / b.ours for a, b in zip(those, alone, strict=True))]
        print(f"{named(count)}: {ratios[0]:.3f} x the time ({ratios[1]:.3f} x once running), {ratios[2]:.2f} x the CPU")


def named(count: int) -> str:
    """Who encodes."""
    return f"{count} worker{'s' if count > 1 else ''}" if count else "one process"


def measured(arguments: argparse.Namespace, loading: Slow, options: IngestOptions, count: int) -> Ingest:
    """One ingest, by so many workers; by this process where there are none."""
    clock, work = Clock(), contextlib.ExitStack()
    with work, server() as url:
        if count:
            work.enter_context(cluster(count))
            how: Any = OnCluster.of(loading, Workers(count, 1, 0.0), count)
        else:
            how = loading.load()
        with Spent() as spent:
            summary = ingest(how, arguments.corpus, url, options, clock)
    share, running = clock.share_and_seconds()
    return Ingest(summary.rows, summary.seconds["encode"], summary.rows * share / running, spent.seconds)


def kills(arguments: argparse.Namespace) -> None:
    """Workers that are killed again and again."""
    import psutil
    import torch

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


def options_of(arguments: argparse.Namespace) -> IngestOptions:
    """Of the ingests that are compared."""
    layers = tuple(int(one) for one in arguments.layers.split(","))
    return IngestOptions(layers, max_contexts=arguments.contexts, batch_tokens=arguments.batch_tokens, index=False)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--layers", default="1")
    parser.add_argument("--contexts", type=int, default=20)
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forward", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.model:
            made = of_the_tests("tiny_models").save_text_model(Path(folder), hidden_size=576, intermediate_size=576)
            arguments.model = str(made)
        (kills if arguments.kills else compare)(arguments)


if __name__ == "__main__":
    main()
