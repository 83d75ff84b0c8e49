"""What an encoder and the processes that write its rows take from each other on few cores, by setting.

    python -m benchmarks.bench_share [--model MODEL] [--settings default,nice=10,threads=1,tokens=8192] [--repeat 3]

Settings are joined with +: ``nice=N`` lowers the priority of the processes that write, ``threads=N`` is torch's number
in the process that encodes, ``tokens=N`` the tokens of a batch; what ``default`` has is printed. A measurement is a
process of its own; settings take turns, and ratios are to the first one in the same round. With a model, it is a whole
ingest of sentences of the demo's corpus, until rows are durable; without one, a matrix product takes the place of the
model's blocks. *CPU* is the processor time of all its processes, *clock* also says what else the machine did.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.bench_write import CORPUS, words
from benchmarks.figures import shown
from benchmarks.search_table import machine

_WIDTH, _BANKS, _ROWS, _BATCH_TOKENS, _BLOCKS = 576, 4, 2000, 500, 12


def default(model: bool) -> dict[str, int]:
    """What the setting ``default`` has, so that a setting that says the same is not taken for another."""
    import torch

    from lensbank.models.encoding import default_batch_tokens

    tokens = default_batch_tokens(torch.device("cpu")) if model else _BATCH_TOKENS
    return {"nice": os.getpriority(os.PRIO_PROCESS, 0), "threads": torch.get_num_threads(), "tokens": tokens}


def simulated(tokens: int) -> float:
    """Seconds until rows are durable, with products in place of a model; multiplied as often per row at any size."""
    import torch

    from lensbank.schemas.collection import BankIdentity
    from lensbank.schemas.corpora import CorpusRecord
    from lensbank.store.embedded.store import EmbeddedStore

    ids, payloads = words(CORPUS, _ROWS)
    weights = torch.randn(_WIDTH, 4 * _WIDTH)
    identities = [
        BankIdentity("simulated", None, "w", "t", layer, _BANKS, _WIDTH, "float32", "float32", None, 0)
        for layer in range(_BANKS)
    ]
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        store = EmbeddedStore(Path(folder))
        with store.writer(identities, "simulated", expected_rows=_ROWS) as writer:
            began = time.perf_counter()
            for first in range(0, _ROWS, tokens):
                size = min(tokens, _ROWS - first)
                states = torch.randn(size, _WIDTH)
                for _ in range(_BLOCKS):
                    states = (states @ weights) @ weights.T
                    states /= states.norm(dim=1, keepdim=True)
                part, rows = slice(first, first + size), states.numpy()
                norms = torch.ones(size).numpy()
                writer.put(
                    ids[part], payloads[part], dict.fromkeys(range(_BANKS), rows), dict.fromkeys(range(_BANKS), norms)
                )
            writer.flush()
            seconds = time.perf_counter() - began
            writer.finish(CorpusRecord("corpus", "simulated", _ROWS, _ROWS, _ROWS))
    return seconds


def real(model: str, tokens: int | None, count: int) -> float:
    """Seconds of an ingest until rows are durable."""
    from lensbank.ingest import pipeline
    from lensbank.ingest.corpus import read_corpora
    from lensbank.models.loading import load_model
    from lensbank.store.opening import open_store

    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        texts = [line.strip() for line in lines]
    loaded = load_model(model, device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sentences.txt"
        path.write_text("\n".join(texts[:: max(1, len(texts) // count)][:count]) + "\n", encoding="utf-8")
        options = pipeline.IngestOptions(layers=(4, 8, 16, 24), max_contexts=50, batch_tokens=tokens)
        with read_corpora([path]) as corpus, open_store(str(Path(folder) / "store"), create=True) as store:
            began = time.perf_counter()
            summary = pipeline.run(loaded, corpus, store, options)
            return time.perf_counter() - began - summary.seconds["index"]


def one(setting: str, model: str | None, count: int) -> dict[str, float]:
    """One measurement, in this process."""
    import torch

    from lensbank.store.embedded.writer import EmbeddedWriter

    said = dict(part.split("=") for part in setting.split("+") if "=" in part)
    if "threads" in said:
        torch.set_num_threads(int(said["threads"]))
    put = EmbeddedWriter.put

    def lowered(self: EmbeddedWriter, *arguments: Any, **options: Any) -> None:
        for pid in self.pids:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), int(said["nice"]))
        put(self, *arguments, **options)

    if "nice" in said:
        EmbeddedWriter.put = lowered  # type: ignore[method-assign]
    tokens = int(said["tokens"]) if "tokens" in said else None
    seconds = simulated(tokens or _BATCH_TOKENS) if model is None else real(model, tokens, count)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {"clock": seconds, "cpu": sum(usage.ru_utime + usage.ru_stime for usage in used)}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="default: products in place of one")
    parser.add_argument("--settings", default="default,nice=5,nice=19,threads=1,tokens=8192")
    parser.add_argument("--sentences", type=int, default=100, help="of an ingest with a model")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(one(options.one, options.model, options.sentences)))
        return 0
    settings, on = options.settings.split(","), machine()
    said = ["--sentences", str(options.sentences), *(["--model", options.model] if options.model else [])]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as the command has it
    runs: dict[str, list[dict[str, float]]] = {setting: [] for setting in settings}
    for _ in range(options.repeat):
        for setting, found in runs.items():
            command = [sys.executable, "-m", "benchmarks.bench_share", *said, "--one", setting]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    sharing = []
    for setting, found in runs.items():
        row: dict[str, Any] = {"setting": setting}
        for name in ("cpu", "clock"):
            row[name] = statistics.median(run[name] for run in found)
            ratios = [run[name] / first[name] for run, first in zip(found, runs[settings[0]], strict=True)]
            row[f"{name}_ratio"] = [statistics.median(ratios), min(ratios), max(ratios)]
        sharing.append(row)
    result = {
        "command": "python -m benchmarks.bench_share"
        + f"{' --model MODEL' if options.model else ''} --settings {options.settings} --repeat {options.repeat}"
        + (f" --sentences {options.sentences}" if options.model else ""),
        "machine": on,
        "model": options.model is not None,
        "repeat": options.repeat,
        "default": default(options.model is not None),
        "sharing": sharing,
    }
    shown(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
