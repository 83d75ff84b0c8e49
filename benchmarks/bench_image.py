"""How long a whole image takes against large banks: every visual token, every lens.

    python -m benchmarks.bench_image --model MODEL --store STORE [--rows 300000] [--keep FOLDER] [--json FILE]
        IMAGE

STORE has real banks of the model; each is replaced by one of so many rows, mixtures of two real rows with some
noise. The rows are written and indexed once, as an ingest would (so many rows get a graph), as a bank of the middle
layer, and copied for the other layers: what is found means nothing, what it costs is what it would. The image is then
read at the layers of the store, layer 0 and a layer between its last ones, in a process of its own for each kind of
search, with no file of the banks in the page cache. Printed: seconds to open the banks, for the reading, and for the
same again (warm); the model's loading apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_memory import memory
from benchmarks.figures import shown
from benchmarks.search_kinds import evict
from benchmarks.search_table import machine

LENSES = ("latent", "logit", "embedding")


def enlarge(source: str, target: Path, rows: int) -> dict[str, float]:
    """Banks of ``rows`` rows for every layer of a store; seconds of writing and indexing one."""
    from lensbank.schemas.corpora import CorpusRecord
    from lensbank.store.opening import open_store
    from lensbank.store.records import read_sidecar, write_sidecar

    draw = np.random.default_rng(0)
    with open_store(source) as store:
        infos = sorted(store.list(), key=lambda info: info.record.identity.layer)
        chosen = infos[len(infos) // 2]
        with store.open(chosen.name) as bank:
            page, _ = bank.scroll(bank.count(), with_vectors=True)
    states = np.stack([vector for _, vector, _ in page if vector is not None])
    identity = chosen.record.identity
    with open_store(target, create=True) as store:
        began = time.perf_counter()
        with store.writer([identity], chosen.record.source, expected_rows=rows) as writer:
            for start in range(0, rows, 1000):
                first, second = draw.integers(0, len(states), (2, min(1000, rows - start)))
                part = 0.7 * states[first] + 0.3 * states[second] + draw.normal(0, 0.01, states[first].shape)
                vectors, norms = part.astype(np.float32), np.ones(len(part), np.float32)
                ids = [str(uuid.UUID(bytes=draw.bytes(16))) for _ in first]
                payloads = [{**page[i][2], "corpus": ["bench"]} for i in first]
                writer.put(ids, payloads, {identity.layer: vectors}, {identity.layer: norms})
            writer.flush()
            written = time.perf_counter() - began
            writer.finish(CorpusRecord("bench", "f", rows, rows, rows))
        indexed = time.perf_counter() - began - written
    sidecar = read_sidecar(target / chosen.name)
    assert sidecar is not None
    for info in infos:
        if info is not chosen:
            folder = target / info.name
            shutil.copytree(target / chosen.name, folder)
            record = dataclasses.replace(sidecar.record, identity=info.record.identity)
            write_sidecar(folder, dataclasses.replace(sidecar, record=record))
    return {"written": written, "indexed": indexed}


def read(model: str, target: Path, image: str, exact: bool) -> dict[str, Any]:
    """One image in this process."""
    from lensbank.models.loading import load_model
    from lensbank.query.options import QueryOptions
    from lensbank.query.pipeline import QuerySession
    from lensbank.store.opening import open_store

    loaded = load_model(model, device="cpu", need_vision=True)
    with open_store(target) as store:
        layers = sorted({0, *(info.record.identity.layer for info in store.list())})
        layers = sorted({*layers, (layers[-2] + layers[-1]) // 2})
        evict(target)
        began = time.perf_counter()
        session = QuerySession(store, loaded, QueryOptions(layers=tuple(layers), lenses=LENSES, exact=exact))
        opened = time.perf_counter() - began
        seconds = []
        with session:
            for _ in range(2):
                began = time.perf_counter()
                reading = session.image(image)
                seconds.append(time.perf_counter() - began)
    tokens = len(reading.layers[0].tokens)
    anonymous, mapped = memory(os.getpid())
    recall = [search.recall for search in reading.search.banks if search.recall is not None]
    return {
        "tokens": tokens, "layers": len(layers), "banks": len(session.bank_facts), "opened": opened,
        "cold": seconds[0], "warm": seconds[1], "anonymous": anonymous, "mapped": mapped,
        "recall": min(recall) if recall else None,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--keep", type=Path, help="folder for the banks, which are used again; default: temporary")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--one", choices=["exact", "approximate"], help=argparse.SUPPRESS)
    parser.add_argument("image")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(read(options.model, options.keep, options.image, options.one == "exact")))
        return
    on, made, seen = machine(), None, {}
    with tempfile.TemporaryDirectory() as temporary:
        target = options.keep or Path(temporary) / "store"
        if not target.exists():
            made = enlarge(options.store, target, options.rows)
        for mode in ("approximate", "exact"):
            one = ["--model", options.model, "--store", options.store, "--keep", str(target), "--one", mode]
            process = [sys.executable, "-m", "benchmarks.bench_image", *one, options.image]
            done = subprocess.run(process, check=True, stdout=subprocess.PIPE, text=True)
            seen[mode] = json.loads(done.stdout.splitlines()[-1])
    command = f"python -m benchmarks.bench_image --model MODEL --store STORE --rows {options.rows} IMAGE"
    shown({"command": command, "machine": on, "rows": options.rows, "made": made, "reading": seen}, options.json)


if __name__ == "__main__":
    main()
