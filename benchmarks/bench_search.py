"""How fast a bank is searched, beside the official library's in-memory search and a NumPy product.

    python -m benchmarks.bench_search [--rows 20000,200000] [--dim 576] [--store STORE] [--repeat 3]

576 queries (a 24 x 24 image), top 5, one bank. Vectors are synthetic unless ``--store`` names a
store of real states (its banks are then searched with states of its own rows, disturbed): a
common mean, two outlier dimensions, clusters by token with a skewed frequency, as hidden states
have. Needs the official package for its own search: ``pip install --no-deps latentlens==0.1.0``.

Per size: build time, disk bytes per row, memory, time to open, and per search mode the seconds of
the first query batch after opening, the median of later ones, and recall@5 against exact search.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.collection import BankIdentity, CorpusRecord
from store.base import Store, open_store
from store.disk import disk_bytes

QUERIES, TOP = 576, 5
Floats = NDArray[np.float32]


def synthetic(rows: int, dim: int, seed: int) -> tuple[Floats, Floats]:
    """Bank and query vectors that are skewed, clustered and uncentred, as hidden states are."""
    draw = np.random.default_rng(seed)
    kinds = max(100, rows // 15)
    mean = draw.normal(0, 1, dim) * 0.8
    mean[dim // 3], mean[2 * dim // 3] = 25.0, -9.0
    centres = draw.normal(0, 1, (kinds, 64)) @ draw.normal(0, 1, (64, dim)) / 8
    which = np.minimum((kinds ** draw.random(rows)).astype(np.int64) - 1, kinds - 1)  # Zipf-like
    context = draw.normal(0, 1, (64, dim)) / 8
    bank = np.empty((rows, dim), np.float32)
    for start in range(0, rows, 50_000):
        part = which[start : start + 50_000]
        noise = draw.normal(0, 0.4, (len(part), dim)) + 0.7 * draw.normal(0, 1, (len(part), 64)) @ context
        bank[start : start + len(part)] = mean + centres[part] + noise
    picked = draw.integers(0, rows, (QUERIES, 2))
    queries = 0.6 * bank[picked[:, 0]] + 0.4 * bank[picked[:, 1]] + draw.normal(0, 0.3, (QUERIES, dim))
    return bank, queries.astype(np.float32)


def build(store: Store, bank: Floats, vector_dtype: str, graph: bool) -> tuple[str, float, float]:
    """A bank of these vectors; its name, seconds of writing and of indexing."""
    identity = BankIdentity(
        model=f"bench-{vector_dtype}-{'graph' if graph else 'flat'}", revision=None, weights=f"{vector_dtype}{graph}",
        tokenizer="t", layer=1, n_layers=1, dim=bank.shape[1], compute_dtype="float32", vector_dtype=vector_dtype,
        max_contexts=None, seed=0,
    )  # fmt: skip
    began = time.perf_counter()
    with store.writer([identity], "bench", expected_rows=len(bank)) as writer:
        for start in range(0, len(bank), 1000):
            part = bank[start : start + 1000]
            ids = [f"00000000-0000-0000-0000-{i:012x}" for i in range(start, start + len(part))]
            payloads = [_payload(i) for i in range(start, start + len(part))]
            writer.put(ids, payloads, {1: part}, {1: np.linalg.norm(part, axis=1).astype(np.float32)})
        writer.flush()
        written = time.perf_counter() - began
        writer.finish(CorpusRecord("bench", "f", len(bank), len(bank), len(bank)), graph=graph)
    return identity.name(), written, time.perf_counter() - began - written


def _payload(i: int) -> dict[str, Any]:
    return {
        "token": f"Ġtok{i % 9973}", "token_id": i % 9973, "word": f"tok{i % 9973}", 
        "sentence": f"a sentence with tok{i}",
        "position": i % 17, "char_start": 16, "char_end": 20, "norm": 0.0, "corpus": "bench",
        "document": f"bench:{i}", "is_word": True,
    }  # fmt: skip


def timed(work: Callable[[], Any], repeat: int) -> tuple[Any, float, float]:
    """Result, seconds of the first call, median of the others."""
    seconds = []
    result = None
    for _ in range(1 + repeat):
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
    return result, seconds[0], statistics.median(seconds[1:])


def recall(found: list[set[int]], truth: list[set[int]]) -> float:
    """Share of the true neighbours found."""
    return sum(len(a & b) for a, b in zip(found, truth, strict=True)) / sum(map(len, truth))


def numpy_search(bank: Floats, queries: Floats) -> list[set[int]]:
    """Unit bank, blocked matrix product."""
    best_scores = np.full((len(queries), TOP), -2.0, np.float32)
    best_rows = np.zeros((len(queries), TOP), np.int64)
    for start in range(0, len(bank), 20_000):
        scores = queries @ bank[start : start + 20_000].T
        top = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
        both = np.concatenate([best_scores, np.take_along_axis(scores, top, 1)], 1)
        rows = np.concatenate([best_rows, top + start], 1)
        order = np.argsort(-both, axis=1)[:, :TOP]
        best_scores, best_rows = np.take_along_axis(both, order, 1), np.take_along_axis(rows, order, 1)
    return [set(row) for row in best_rows.tolist()]


def official_search(bank: Floats) -> Callable[[Floats], list[set[int]]] | None:
    """The official library's index of the same unit vectors."""
    try:
        from latentlens.index import ContextualIndex
    except ImportError:
        return None
    import torch

    metadata = [{"token_str": "", "caption": "", "position": i, "token_id": i} for i in range(len(bank))]
    index = ContextualIndex({1: {"embeddings": torch.from_numpy(bank), "metadata": metadata}})
    return lambda queries: [{n.token_id for n in row} for row in index.search(torch.from_numpy(queries), top_k=TOP)]


def measure(bank: Floats, queries: Floats, kinds: list[tuple[str, bool]], repeat: int) -> None:
    """Everything about one bank of vectors."""
    units = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    asked = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    truth, _, product = timed(lambda: numpy_search(units, asked), repeat)
    print(f"\n{len(bank):,} rows x {bank.shape[1]} dimensions ({bank.nbytes / 1e6:,.0f} MB as float32)")
    print(f"  numpy, blocked product        {product:7.2f} s")
    official = official_search(units)
    if official is None:
        print("  official library              not installed, not run")
    else:
        found, _, seconds = timed(lambda: official(asked), repeat)
        print(f"  official library, in memory   {seconds:7.2f} s   recall {recall(found, truth):.4f}")
    for dtype, graph in kinds:
        with tempfile.TemporaryDirectory() as folder, open_store(Path(folder)) as store:
            name, written, indexed = build(store, bank, dtype, graph)
            size = disk_bytes(Path(folder)) / len(bank)
            before = _rss()
            began = time.perf_counter()
            with store.open(name) as opened:
                loaded = time.perf_counter() - began
                what = f"{dtype}{' + graph' if graph else ''}"
                print(
                    f"  {what}: written at {len(bank) / written:,.0f} rows/s, indexed in {indexed:.1f} s, {size:,.0f} "
                    f"bytes a row on disk, opened in {loaded:.2f} s"
                )
                for exact in (False, True) if graph else (True, False):
                    mode = "exact" if exact else "approximate"

                    def search(exact: bool = exact) -> list[set[int]]:
                        hits = opened.search(queries, TOP, exact=exact)  # noqa: B023 - called within the loop
                        return [{int(hit.id[-12:], 16) for hit in row} for row in hits]

                    found, cold, warm = timed(search, repeat)
                    print(
                        f"    {mode:12} first {cold:6.2f} s, then {warm:6.2f} s   recall {recall(found, truth):.4f}   "
                        f"memory +{(_rss() - before) / 1e6:,.0f} MB"
                    )
        sys.stdout.flush()


def _rss() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def real(target: str) -> list[tuple[str, Floats]]:
    """The vectors of every bank of a store."""
    found = []
    with open_store(target) as store:
        for info in store.list():
            with store.open(info.name) as bank:
                vectors: list[Any] = []
                offset = None
                while True:
                    page, offset = bank.scroll(5000, offset, with_vectors=True)
                    vectors += [vector for _, vector, _ in page]
                    if offset is None:
                        break
            found.append((info.name, np.stack(vectors)))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="20000,200000", help="sizes of synthetic banks")
    parser.add_argument("--dim", type=int, default=576)
    parser.add_argument("--store", help="a store of real states, instead")
    parser.add_argument("--kinds", default="float32,float16,float32+graph", help="vector datatypes; +graph adds HNSW")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds = [(kind.removesuffix("+graph"), kind.endswith("+graph")) for kind in options.kinds.split(",")]
    if options.store:
        draw = np.random.default_rng(options.seed)
        for name, bank in real(options.store):
            print(f"\n{name}", end="")
            picked = draw.integers(0, len(bank), (QUERIES, 2))
            queries = (0.6 * bank[picked[:, 0]] + 0.4 * bank[picked[:, 1]]).astype(np.float32)
            measure(bank, queries, kinds, options.repeat)
        return
    for rows in map(int, options.rows.split(",")):
        bank, queries = synthetic(rows, options.dim, options.seed)
        measure(bank, queries, kinds, options.repeat)


if __name__ == "__main__":
    main()
