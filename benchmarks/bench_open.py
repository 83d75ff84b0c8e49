"""Opening the banks of a folder, by the engine alone and with its files read ahead, in turn, each in a new process.

    python -m benchmarks.bench_open .cache/demo-store [--rounds 3] [--json FILE]

The engine forgets a bank's files when it closes it, so each opening reads the disk.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import shown
from benchmarks.search_table import machine


def _open(way: str, shards: list[Path]) -> list[float]:
    """Seconds and waits for pages of opening and holding every shard."""
    import qdrant_edge

    from lensbank.store.embedded import engine

    held, before, start = [], resource.getrusage(resource.RUSAGE_SELF).ru_majflt, time.perf_counter()
    for shard in shards:
        held.append(qdrant_edge.EdgeShard.load(str(shard)) if way == "engine" else engine.load_shard(shard))
    return [time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shards = sorted(options.store.glob("*/shard"))
    if options.way:
        print(json.dumps(_open(options.way, shards)))
        return
    on = machine()
    found: dict[str, list[list[float]]] = {"engine": [], "read ahead": []}
    for _ in range(options.rounds):
        for way, runs in found.items():
            process = [sys.executable, "-m", "benchmarks.bench_open", str(options.store), "--way", way]
            runs.append(json.loads(subprocess.run(process, check=True, capture_output=True, text=True).stdout))
    command = f"python -m benchmarks.bench_open STORE --rounds {options.rounds}"
    result = {"command": command, "machine": on, "banks": len(shards), "rounds": options.rounds, "opening": found}
    shown(result, options.json)


if __name__ == "__main__":
    main()
