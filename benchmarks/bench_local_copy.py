"""From how many images on a local copy of a server's bank pays.

    python -m benchmarks.bench_local_copy [--rows 50000] [--dim 576] [--server http://host:6333] [--json FILE]

A bank of synthetic vectors (as in bench_search) goes to the server, 576 queries (a 24 x 24 image) are asked of it
exactly, the bank is copied as ``query --local-copy`` does, and the same queries are asked of the copy. Without
``--server`` the server is the tests' stand-in, a Python process in front of the embedded engine: its search is the
engine's, but it may hand out rows more slowly than a real one. ``--server-seconds`` puts what a real server takes for
the same search in its place. The bank is dropped at the end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import shown
from benchmarks.search_kinds import TOP, Floats, fill, synthetic
from benchmarks.search_table import machine
from lensbank.banks.local_copies import with_local_copies
from lensbank.query.bank_product import BankProduct, product_of
from lensbank.schemas.progress import Silent
from lensbank.store.bank import Bank
from lensbank.store.opening import open_store
from lensbank.store.store import Store

NAME = "bench-copy"


@contextmanager
def server_of(url: str | None) -> Iterator[str]:
    """The server's URL; a stand-in for as long as it is needed, where none was named."""
    if url is not None:
        yield url
        return
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    with import_module("standins").StandIn() as stand_in:
        yield stand_in.url


def seconds_of(bank: Bank, queries: Floats, repeat: int) -> tuple[float, list[list[str]]]:
    """Median seconds of an exact search, and the ids found."""
    import torch

    product = product_of(bank, torch.device("cpu"))
    taken, found = [], list[list[str]]()
    for _ in range(repeat):
        began = time.perf_counter()
        if isinstance(product, BankProduct):
            hits = product.search(queries, TOP)
        else:
            hits = bank.search(queries, TOP, with_payload=False)
        taken.append(time.perf_counter() - began)
        found = [[hit.id for hit in row] for row in hits]
    return statistics.median(taken), found


def measure(store: Store, cache: Path, vectors: Floats, queries: Floats, repeat: int) -> dict[str, Any]:
    """One bank, on the server and here."""
    name = fill(store, vectors, "float32", NAME)
    try:
        with store.open(name) as bank:
            asked, there = seconds_of(bank, queries, repeat)
        began = time.perf_counter()
        copies = with_local_copies(store, Silent(), True, cache)
        copies.open(name).close()
        copying, began = time.perf_counter() - began, time.perf_counter()
        with copies.open(name) as bank:
            checking = time.perf_counter() - began
            multiplied, here = seconds_of(bank, queries, repeat)
            disk = bank.disk_bytes()
    finally:
        store.drop(name)
    same = sum(len(set(a) & set(b)) for a, b in zip(here, there, strict=True)) / sum(map(len, here))
    return {
        "rows": len(vectors), "dim": vectors.shape[1], "server": asked, "copy": multiplied, "copying": copying,
        "checking": checking, "disk": disk, "same": same,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=576)
    parser.add_argument("--server", help="URL of a Qdrant server; default: the tests' stand-in")
    parser.add_argument("--server-seconds", type=float, help="of one image, at these rows, measured elsewhere")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    vectors, queries = synthetic(options.rows, options.dim, 0)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with server_of(options.server) as url, tempfile.TemporaryDirectory() as cache, open_store(url) as store:
        found = measure(store, Path(cache), vectors, queries, options.repeat)
    command = f"python -m benchmarks.bench_local_copy --rows {options.rows} --dim {options.dim}"
    if options.server_seconds is not None:
        found["elsewhere"] = options.server_seconds
        command += f" --server-seconds {options.server_seconds:g}"
    result = {"command": command, "machine": machine(), "stand_in": options.server is None, **found}
    shown(result, options.json)


if __name__ == "__main__":
    main()
