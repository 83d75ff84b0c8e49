"""How much memory an ingest takes, whatever the size of the corpus.

    python -m benchmarks.bench_memory --model MODEL [--sentences 10000,100000,1000000] [--layer 1] [--json FILE]
    python -m benchmarks.bench_memory --phrases 3000000 [--vocabulary 150000]

The first form makes corpora of distinct sentences (beginnings and ends of real ones, joined at random with a
fixed seed), ingests each into a new store in a process of its own, and looks every 50 ms at the memory of that
process and of the one that writes. A low layer keeps the forward passes short; memory of the two passes over the
corpus does not depend on the layer. *Anonymous* memory must be had; *mapped* are pages of files (model weights, the
bank being written), which the kernel takes back when something else needs room.

The second form chooses contexts in a synthetic corpus of short phrases (3 to 12 tokens, frequencies as in text) over
a large vocabulary, with no model: what the choice itself holds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import shown
from benchmarks.search_table import machine

PAUSE = 0.05


def memory(pid: int) -> tuple[int, int]:
    """Anonymous (with shared) and mapped bytes of a process; zeros when it is gone."""
    found = {"RssAnon": 0, "RssFile": 0, "RssShmem": 0}
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) * 1024
    except OSError:
        pass
    return found["RssAnon"] + found["RssShmem"], found["RssFile"]


class Watch:
    """Peaks of this process and of those it has started, while in the block."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.peaks = {"own": 0, "own mapped": 0, "writer": 0, "writer mapped": 0}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        import multiprocessing
        import os

        while not self._stop.wait(PAUSE):
            self._note("own", *memory(os.getpid()))
            writers = [memory(child.pid or 0) for child in multiprocessing.active_children()]
            self._note("writer", *(sum(values) for values in zip((0, 0), *writers, strict=True)))

    def _note(self, who: str, anonymous: int, mapped: int) -> None:
        for name, value in ((who, anonymous), (f"{who} mapped", mapped)):
            self.peaks[name] = max(self.peaks[name], value)

    def __enter__(self) -> dict[str, int]:
        """Start; the peaks grow meanwhile."""
        self._thread.start()
        return self.peaks

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()


def write_corpus(path: Path, count: int, seed: int = 0) -> None:
    """``count`` distinct sentences, each the beginning of a real one and the end of another."""
    try:
        import latentlens

        source = Path(latentlens.__file__).parent / "data" / "concepts.txt"
        lines = source.read_text(encoding="utf-8").splitlines()
    except ImportError:
        import gzip

        bundled = Path(__file__).resolve().parent.parent / "demo" / "data" / "corpus.txt.gz"
        lines = gzip.decompress(bundled.read_bytes()).decode().splitlines()
    words = [line.split() for line in dict.fromkeys(lines) if line.strip()]
    draw = np.random.default_rng(seed)
    seen: set[int] = set()
    with path.open("w", encoding="utf-8") as file:
        while len(seen) < count:
            for first, second in draw.integers(0, len(words), (100_000, 2)).tolist():
                a, b = words[first], words[second]
                text = " ".join(a[: (len(a) + 1) // 2] + b[len(b) // 2 :])
                key = hash(text)
                if key not in seen and len(seen) < count:
                    seen.add(key)
                    file.write(text + "\n")


def ingest(model: str, sentences: int, layer: int, contexts: int) -> dict[str, Any]:
    """One ingest in this process."""
    import os

    from lensbank.ingest import pipeline as pipeline
    from lensbank.ingest.corpus import read_corpora
    from lensbank.models.loading import load_model
    from lensbank.store.opening import open_store

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.txt"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.bench_memory", "--write", str(path), "--sentences", str(sentences)],
            check=True,
        )
        size = path.stat().st_size
        loaded = load_model(model, device="cpu")
        before = memory(os.getpid())
        with (
            read_corpora([path]) as corpus,
            open_store(Path(folder) / "store", create=True) as store,
            Watch() as peaks,
        ):
            began = time.perf_counter()
            options = pipeline.IngestOptions(layers=(layer,), max_contexts=contexts)
            summary = pipeline.run(loaded, corpus, store, options)
            seconds = time.perf_counter() - began
    plan = summary.plan
    assert plan is not None
    return {
        "sentences": sentences,
        "corpus": size,
        "read": plan.tokens,
        "rows": summary.rows,
        "seconds": seconds,
        "model": before[0],
        "model mapped": before[1],
        **peaks,
    }


def choose(phrases: int, vocabulary: int, contexts: int) -> dict[str, Any]:
    """The choice of contexts alone, in this process."""
    import os

    from lensbank.ingest.selection import Occurrences, Selector, prefix_hashes

    draw = np.random.default_rng(0)
    weights = 1 / np.arange(1, vocabulary + 1)
    bounds = np.cumsum(weights / weights.sum())
    before = memory(os.getpid())[0]
    largest = 0
    with Watch() as peaks:
        selector = Selector(vocabulary, contexts)
        began = time.perf_counter()
        for start in range(0, phrases, 4096):
            count = min(4096, phrases - start)
            lengths = draw.integers(3, 13, count)
            ids = np.minimum(np.searchsorted(bounds, draw.random(int(lengths.sum()))), vocabulary - 1).astype(np.int32)
            prefix, index = prefix_hashes(ids, np.cumsum(lengths) - lengths, lengths)
            hashes = draw.integers(0, 2**64, count, np.uint64)
            selector.add(Occurrences(ids, np.repeat(hashes, lengths), index, prefix))
            largest = max(largest, selector.nbytes)
        kept = len(selector.kept())
        seconds = time.perf_counter() - began
    return {"kept": kept, "held": largest, "peak": peaks["own"] - before, "seconds": seconds}


def _run(arguments: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.bench_memory", *arguments, "--one"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--sentences", default="10000,100000,1000000")
    parser.add_argument("--layer", type=int, default=1)
    parser.add_argument("--contexts", type=int, default=20)
    parser.add_argument("--phrases", type=int, help="choose in so many phrases, and do nothing else")
    parser.add_argument("--vocabulary", type=int, default=150_000)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_corpus(options.write, int(options.sentences))
    elif options.phrases:
        if options.one:
            print(json.dumps(choose(options.phrases, options.vocabulary, options.contexts)))
            return
        found = _run(sys.argv[1:])
        print(
            f"{options.phrases:,} phrases, vocabulary of {options.vocabulary:,}, {options.contexts} contexts: "
            f"{found['kept']:,} kept; holds {found['held'] / 1e6:,.0f} MB, {found['peak'] / 1e6:,.0f} MB at the most "
            f"while merging; {found['seconds']:.0f} s"
        )
    elif options.one:
        print(json.dumps(ingest(options.model, int(options.sentences), options.layer, options.contexts)))
    else:
        if options.model is None:
            parser.error("give --model, or --phrases")
        on = machine()
        one = ["--model", options.model, "--layer", str(options.layer), "--contexts", str(options.contexts)]
        every = [_run([*one, "--sentences", count]) for count in options.sentences.split(",")]
        command = f"python -m benchmarks.bench_memory --model MODEL --sentences {options.sentences}"
        shown({"command": command, "machine": on, "ingests": every}, options.json)


if __name__ == "__main__":
    main()
