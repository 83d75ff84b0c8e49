"""Kill an ingest again and again, in every phase, and compare what it ends with.

    python -m benchmarks.kill_ingest --model MODEL --corpus FILE [--kills 200] [--layers 1,2] [--writers 2]

The same ingest runs until it has been killed so many times (``kill -9``), at random moments of a
phase drawn at random: the process alone, one of the processes that write for it, or all at once.
Every completed bank is compared with one that was never interrupted: ids, payloads, vectors, bit
for bit. The moments and victims are drawn from ``--seed``; what they hit depends on the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PHASES = ("Reading", "Collecting", "Writer", "Encoding", "Flush", "Indexing")
VICTIMS = ("process", "writer", "all")
# One process loads the model and forks a fresh one for every attempt: no import, no load, no waiting.
# It never opens a shard itself.
SERVER = """
import os, sys, time
import torch
torch.set_num_threads(1)
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.schemas.progress import Silent
from lensbank.models.loading import load_model
from lensbank.schemas.errors import LensbankError
from lensbank.store.opening import open_store
from lensbank.store.embedded.writer import EmbeddedWriter

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Told(Silent):
    def start(self, phase, total, unit):
        say("phase", phase)

begin, flush = EmbeddedWriter.__init__, EmbeddedWriter.flush
def opened(self, *args, **options):
    say("phase", "Writer")
    begin(self, *args, **options)
    say("writers", *self.pids)
def flushed(self, plan=None):
    say("phase", "Flush")
    flush(self, plan)
EmbeddedWriter.__init__, EmbeddedWriter.flush = opened, flushed

model, corpus, layers, dtype, contexts, batch = sys.argv[1:]
loaded = load_model(model, dtype=dtype)
options = IngestOptions(layers=tuple(map(int, layers.split(","))), max_contexts=int(contexts), batch_tokens=int(batch),
                        flush_seconds=0.1)
say("ready")
for folder in sys.stdin:
    child = os.fork()
    if not child:
        say("pid", os.getpid())
        try:
            with read_corpora([corpus]) as texts, open_store(folder.strip(), create=True) as store:
                summary = run(loaded, texts, store, options, Told())
            say("complete", summary.tokens)
            os._exit(0)
        except LensbankError as error:
            say("failed", type(error).__name__, error)
            os._exit(1)
    say("ended", os.waitpid(child, 0)[1])
"""


@dataclass
class Attempt:
    """One run of the ingest.

    Attributes:
        phase: where it was killed; ``None`` where it ended by itself.
        victim: what was killed.
        complete: whether it reached its end.
        tokens: tokens it encoded, where it reached its end.
        failed: what it said when it gave up.
    """

    phase: str | None = None
    victim: str | None = None
    complete: bool = False
    tokens: int = 0
    failed: str = ""


@dataclass
class Ingester:
    """An ingest that can be started and killed quickly.

    Attributes:
        model: model directory.
        corpus: the corpus file.
        layers: layers to ingest, as ``1,2``.
        dtype: of the forward pass.
        contexts: contexts per token.
        batch: tokens per batch; small ones make many moments.
        writers: processes that write.
    """

    model: Path
    corpus: Path
    layers: str = "1,2"
    dtype: str = "float32"
    contexts: int = 60
    batch: int = 15
    writers: int = 2
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _said: bytes = field(default=b"", repr=False)

    def __enter__(self) -> Ingester:
        """Load the model."""
        words = [self.model, self.corpus, self.layers, self.dtype, self.contexts, self.batch]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        env["LENSBANK_WRITERS"] = str(self.writers)
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *map(str, words)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        if next(self._lines(120)) != ["ready"]:
            raise RuntimeError("the ingest does not start")
        return self

    def __exit__(self, *_: object) -> None:
        """End the loader."""
        if self._process and self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            self._process.wait(60)
            self._process.stdout.close()

    def run(
        self,
        folder: Path,
        phase: str | None = None,
        delay: float = 0.0,
        victim: str = "process",
        which: float = 0.0,
    ) -> Attempt:
        """One attempt; killed ``delay`` seconds after ``phase`` was reached, unless it ends before.

        Args:
            folder: of the store.
            phase: when to kill.
            delay: seconds after that.
            victim: what to kill.
            which: of several processes that write, 0 to 1.

        Raises:
            RuntimeError: it hangs.
        """
        assert self._process and self._process.stdin
        self._process.stdin.write(f"{folder}\n")
        attempt, pid, armed = Attempt(), 0, False
        writers: list[int] = []
        for kind, *rest in self._lines(120):
            if kind == "pid":
                pid = int(rest[0])
            elif kind == "writers":
                writers = [int(one) for one in rest]
            elif kind == "complete":
                attempt.complete, attempt.tokens = True, int(rest[0])
            elif kind == "failed":
                attempt.failed = " ".join(rest)
            elif kind == "ended":
                break
            if kind == "phase" and rest[0] == phase and not armed:
                armed = True
                time.sleep(delay)
                if self._kill(pid, writers, victim, which):
                    attempt.phase, attempt.victim = phase, victim
        for writer in writers:
            _wait_until_gone(writer)
        return attempt

    @staticmethod
    def _kill(pid: int, writers: list[int], victim: str, which: float) -> bool:
        one = [writers[int(which * len(writers))]] if writers else [pid]
        chosen = {"process": [pid], "writer": one, "all": [pid, *writers]}[victim]
        killed = False
        for number in chosen:
            try:
                os.kill(number, signal.SIGKILL)
                killed = True
            except ProcessLookupError:
                pass
        return killed

    def _lines(self, patience: float) -> Iterator[list[str]]:
        """What the loader and its children say, a line's words at a time."""
        assert self._process and self._process.stdout
        pipe = self._process.stdout.fileno()
        while True:
            while b"\n" not in self._said:
                ready, _, _ = select.select([pipe], [], [], patience)
                data = os.read(pipe, 65536) if ready else b""
                if not data:
                    raise RuntimeError("the ingest hangs or is gone")
                self._said += data
            line, _, self._said = self._said.partition(b"\n")
            yield line.decode().split()


def _wait_until_gone(pid: int) -> None:
    """A writer whose parent was killed notices within two seconds, and holds its banks until then."""
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.01)


def contents(folder: Path) -> dict[str, Any]:
    """Everything that the banks of a store hold, and their records' corpora."""
    from lensbank.store.opening import open_store

    found: dict[str, Any] = {}
    with open_store(folder) as store:
        for info in store.list():
            if info.record.state != "complete":
                raise RuntimeError(f"{info.name} is {info.record.state} after its ingest")
            with store.open(info.name) as bank:
                rows, _ = bank.scroll(10_000_000, with_vectors=True)
                found[info.name] = (
                    info.record.corpora,
                    {i: (p, v.tobytes() if v is not None else b"") for i, v, p in rows},
                )
    return found


def torture(ingester: Ingester, folder: Path, kills: int, seed: int) -> Iterator[tuple[Attempt, Path]]:
    """Attempts until so many were killed; after a completed one, a fresh store is begun."""
    choose, number, done = random.Random(seed), 0, 0
    while done < kills:
        phase, victim = choose.choice(PHASES), choose.choice(VICTIMS)
        delay = choose.random() ** 2 * (1.0 if phase == "Encoding" else 0.15)
        store = folder / f"store-{number}"
        attempt = ingester.run(store, phase, delay, victim, choose.random())
        done += attempt.phase is not None
        yield attempt, store
        number += attempt.complete
    final = ingester.run(folder / f"store-{number}")
    yield final, folder / f"store-{number}"


def main() -> int:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--layers", default="1,2")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--contexts", type=int, default=60)
    parser.add_argument("--batch-tokens", type=int, default=15)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    hits: Counter[str] = Counter()
    completed = different = 0
    settings = (options.layers, options.dtype, options.contexts, options.batch_tokens, options.writers)
    with tempfile.TemporaryDirectory() as name, Ingester(options.model, options.corpus, *settings) as ingester:
        folder = Path(name)
        ingester.run(folder / "whole")
        expected = contents(folder / "whole")
        for attempt, store in torture(ingester, folder, options.kills, options.seed):
            if attempt.phase:
                hits[f"{attempt.phase} ({attempt.victim})"] += 1
            if attempt.complete:
                completed += 1
                different += contents(store) != expected
    for what, count in sorted(hits.items()):
        print(f"{count:4}  {what}")
    rows = sum(len(bank[1]) for bank in expected.values())
    print(f"{sum(hits.values())} kills, {completed} ingests of {rows:,} rows completed, {different} of them different")
    return 1 if different or not completed else 0


if __name__ == "__main__":
    sys.exit(main())
