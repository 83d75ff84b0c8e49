"""How fast a bank is searched, beside the official library's in-memory search and a NumPy product.

    python -m benchmarks.bench_search [--rows 20000,200000] [--dim 576] [--kinds ...] [--repeat 3] [--images 9]
                                      [--keep FOLDER] [--candidates 128,256,512] [--json FILE] [--recall-only]
    python -m benchmarks.bench_search --store STORE [--bank NAME ...]

576 queries (a 24 x 24 image), top 5, one bank. Vectors are synthetic unless ``--store`` names a store of real
states, whose banks are then searched with states of its own rows, two and two mixed. Synthetic ones have what hidden
states have: a common mean, two outlier dimensions, clusters by token with a skewed frequency.

A kind is ``numpy`` (blocked product of unit vectors), ``official`` (the official library's search;
``pip install --no-deps latentlens==0.1.0``), or a bank: its vector datatype, then what differs from the defaults:
``float32``, ``float32+product`` (as a query searches by default), ``float32+product+unrounded`` (without candidates
of eight bits), ``float16``, ``float32+graph``, ``float32+bits8``, ``float32+segments4``, ``float32+graph+m24+ef200``.
``--candidates`` searches graphs with other numbers of candidates than the default, too.

Every kind is opened and searched in a process of its own, so that its memory is its own: *anonymous* memory must be
had, beyond what its imports take; *mapped* pages of files the kernel takes back when something else needs room.
*Open* and *first* are cold: none of the files is in the page cache when it is opened, and then asked its first batch;
the disk decides. *Then* is warm: all kinds are asked in turn, again and again, and the median is shown, and the median
of its ratio to the official library's in the same round: on a machine that has other work, believe the ratio.
``--images`` asks products so many images at once, as a query of several layers does; seconds are for one of them.
Recall@5 is against the first kind; ``--recall-only`` shows that alone, and disk space, which other work on the machine
does not change. ``--json`` keeps the figures; ``docs/make_storage.py`` puts them into
docs/storage.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_memory import memory
from benchmarks.figures import keep
from benchmarks.search_kinds import QUERIES, Floats, build, evict, is_product, of_bank, prepare, searcher, synthetic
from benchmarks.search_table import machine, table

KINDS = "numpy,official,float32+product,float32+product+unrounded,float32,float16,float32+graph"


def real(target: str, names: list[str], seed: int) -> list[tuple[str, Floats, Floats]]:
    """Name, vectors and queries of banks of a store."""
    from lensbank.store.opening import open_store

    found, draw = [], np.random.default_rng(seed)
    with open_store(target) as store:
        for info in store.list():
            if names and info.name not in names:
                continue
            with store.open(info.name) as bank:
                vectors: list[Any] = [vector for page in bank.pages(with_vectors=True) for _, vector, _ in page]
            states = np.stack(vectors)
            picked = draw.integers(0, len(states), (QUERIES, 2))
            queries = (0.6 * states[picked[:, 0]] + 0.4 * states[picked[:, 1]]).astype(np.float32)
            found.append((info.name, states, queries))
    return found


def serve(folder: Path, kind: str, candidates: list[int]) -> None:
    """One kind, in this process: opened, then asked as the lines of standard input say."""
    queries = np.load(folder / "queries.npy")
    prepare(kind)
    imported, _ = memory(os.getpid())
    evict(folder / of_bank(kind) if (folder / of_bank(kind)).is_dir() else folder / "units.npy")
    began = time.perf_counter()
    modes = searcher(folder, kind, candidates)
    _say({"opened": time.perf_counter() - began, "modes": list(modes), "imported": imported})
    for line in sys.stdin:
        mode, images = json.loads(line)
        asked = _images(queries, images)
        began = time.perf_counter()
        found = modes[mode](asked)
        seconds = time.perf_counter() - began
        anonymous, mapped = memory(os.getpid())
        _say({"seconds": seconds, "found": found[:QUERIES], "anonymous": anonymous, "mapped": mapped})


def _images(queries: Floats, images: int) -> Floats:
    """So many images' queries, alike and not the same; the first are as they were given."""
    draw = np.random.default_rng(images)
    near = [queries + draw.normal(0, 0.1 / np.sqrt(queries.shape[1]), queries.shape) for _ in range(images - 1)]
    stacked = np.concatenate([queries, *near]).astype(np.float32)
    unit: Floats = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    return unit


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


class _Kind:
    """A process that serves one kind."""

    def __init__(self, folder: Path, kind: str, candidates: str) -> None:
        self.kind = kind
        command = [sys.executable, "-m", "benchmarks.bench_search", "--one", kind, "--keep", str(folder)]
        command += ["--candidates", candidates]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.opened = self._hear()
        self.modes: list[str] = self.opened["modes"] if self.opened else []

    def ask(self, mode: str, images: int = 1) -> dict[str, Any]:
        """Search once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([mode, images]) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        heard: dict[str, Any] = json.loads(line) if line else {}
        return heard

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()


def compare(folder: Path, vectors: Floats, queries: Floats, kinds: list[str], options: Any) -> dict[str, Any]:
    """Everything about one set of vectors."""
    from lensbank.store.embedded.disk import disk_bytes

    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "units.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    np.save(folder / "queries.npy", queries / np.linalg.norm(queries, axis=1, keepdims=True))
    costs: dict[str, dict[str, float]] = {}
    for bank in dict.fromkeys(of_bank(kind) for kind in kinds if kind not in ("numpy", "official")):
        costs[bank] = {} if (folder / bank).exists() else build(folder / bank, vectors, bank)
        costs[bank]["disk"] = disk_bytes(folder / bank) / len(vectors)
    opened, rows = list[_Kind](), list[dict[str, Any]]()
    for kind in kinds:
        one = _Kind(folder, kind, options.candidates)
        if not one.opened:
            rows.append({"kind": kind, "mode": "not run"})
            continue
        opened.append(one)
        for number, mode in enumerate(_compared(one.modes, options.recall_only)):
            cold = one.ask(mode)  # later modes find what the first has read
            row: dict[str, Any] = {
                "kind": kind,
                "mode": mode,
                "imported": one.opened["imported"],
                **costs.get(of_bank(kind), {}),
            }
            row |= {"opened": one.opened["opened"], "first": cold["seconds"]} if not number else {}
            rows.append({**row, "found": cold["found"]})
    for images in dict.fromkeys((1, options.images)) if not options.recall_only else ():
        _in_turn(opened, rows, images, options.repeat)
    truth = next(row["found"] for row in rows if "found" in row)
    for one in opened:
        one.close()
    for row in rows:
        if found := row.pop("found", None):
            hits = sum(len(set(a) & set(b)) for a, b in zip(found, truth, strict=True))
            row["recall"] = hits / sum(map(len, truth))
    if options.recall_only:
        rows = [{name: row[name] for name in ("kind", "mode", "recall", "disk") if name in row} for row in rows]
    return {"name": folder.name, "rows": len(vectors), "dim": vectors.shape[1], "images": options.images, "kinds": rows}


def _compared(modes: list[str], recall_only: bool) -> list[str]:
    """Exact search beside another has nothing to show but its time."""
    return [mode for mode in modes if mode != "exact"] if recall_only and len(modes) > 1 else modes


def _in_turn(opened: list[_Kind], rows: list[dict[str, Any]], images: int, repeat: int) -> None:
    """Ask all kinds, one after the other, in rounds; medians go into their rows."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeat):
        for one in opened if images == 1 else [one for one in opened if is_product(one.kind)]:
            for mode in one.modes:
                answer = one.ask(mode, images)
                seconds.setdefault((one.kind, mode), []).append(answer["seconds"] / images)
                for row in rows:
                    if images == 1 and (row["kind"], row["mode"]) == (one.kind, mode):
                        row |= {"anonymous": answer["anonymous"], "mapped": answer["mapped"]}
    official = seconds.get(("official", "exact"))
    for row in rows:
        taken = seconds.get((row["kind"], row["mode"]))
        if taken:
            column = "then" if images == 1 else "many"
            row[column] = statistics.median(taken)
            if official:
                row[f"{column}_ratio"] = statistics.median(a / b for a, b in zip(taken, official, strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="20000,200000", help="sizes of synthetic banks")
    parser.add_argument("--dim", type=int, default=576)
    parser.add_argument("--store", help="a store of real states, instead")
    parser.add_argument("--bank", action="append", default=[], help="with --store: only this bank; repeatable")
    parser.add_argument("--kinds", default=KINDS, help="see above; the first one is what recall is measured against")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--images", type=int, default=9, help="asked at once, beside one alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", default="", help="of searches in graphs, beside the default; e.g. 128,512")
    parser.add_argument("--recall-only", action="store_true", help="leave out times and memory")
    parser.add_argument("--keep", type=Path, help="folder for the banks, which are used again; default: temporary")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        serve(options.keep, options.one, [int(count) for count in options.candidates.split(",") if count])
        return
    shown = [word for word in sys.argv[1:] if str(options.keep) not in word and word != "--keep"]
    if options.json is not None:
        shown = [word for word in shown if word not in ("--json", str(options.json))]
    began_on = machine()
    command, measured = "python -m benchmarks.bench_search " + " ".join(shown), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if options.store:
            sets = real(options.store, options.bank, options.seed)
        else:
            sizes = map(int, options.rows.split(","))
            sets = ((f"{rows}x{options.dim}", *synthetic(rows, options.dim, options.seed)) for rows in sizes)  # type: ignore[assignment]
        for name, vectors, queries in sets:
            of_set = compare(folder / name, vectors, queries, options.kinds.split(","), options)
            measured.append(of_set)
            print(f"\n{table(of_set)}", flush=True)
            keep({"command": command, "machine": began_on, "sets": measured}, options.json)


if __name__ == "__main__":
    main()
