"""How fast a bank is searched, beside the official library's in-memory search and a NumPy product.

    python -m benchmarks.bench_search [--rows 20000,200000] [--dim 576] [--kinds ...] [--repeat 3] [--keep FOLDER]
                                      [--candidates 128,256,512]
    python -m benchmarks.bench_search --store STORE [--bank NAME ...]

576 queries (a 24 x 24 image), top 5, one bank. Vectors are synthetic unless ``--store`` names a store of real
states, whose banks are then searched with states of its own rows, two and two mixed. Synthetic ones have what hidden
states have: a common mean, two outlier dimensions, clusters by token with a skewed frequency.

A kind is ``numpy`` (blocked product of unit vectors), ``official`` (the official library's search;
``pip install --no-deps latentlens==0.1.0``), or a bank: its vector datatype, then what differs from the defaults:
``float32``, ``float32+product`` (as a query searches by default), ``float16``, ``float32+graph``, ``float32+bits8``,
``float32+segments4``, ``float32+graph+m24+ef200``.
``--candidates`` searches graphs with other numbers of candidates than the default, too.

Every kind is opened and searched in a process of its own, one after the other, so that its memory is its own:
*anonymous* memory must be had; *mapped* pages of files the kernel takes back when something else needs room.
*Open* and *first* are cold: none of the files is in the page cache when it is opened, and then asked its first batch;
the disk decides. *Then* is warm, the median of the following batches. Recall@5 is against the NumPy product.
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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_memory import memory
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.corpora import CorpusRecord

QUERIES, TOP = 576, 5
KINDS = "numpy,official,float32+product,float32,float16,float32+graph"
#: What may differ from the defaults in a kind's name.
FIELDS = {"bits": "quantized_bits", "m": "graph_links", "ef": "graph_effort"}
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


def real(target: str, names: list[str], seed: int) -> list[tuple[str, Floats, Floats]]:
    """Name, vectors and queries of banks of a store."""
    from lensbank.store.opening import open_store

    found, draw = [], np.random.default_rng(seed)
    with open_store(target) as store:
        for info in store.list():
            if names and info.name not in names:
                continue
            with store.open(info.name) as bank:
                vectors: list[Any] = []
                offset = None
                while True:
                    page, offset = bank.scroll(5000, offset, with_vectors=True)
                    vectors += [vector for _, vector, _ in page]
                    if offset is None:
                        break
            states = np.stack(vectors)
            picked = draw.integers(0, len(states), (QUERIES, 2))
            queries = (0.6 * states[picked[:, 0]] + 0.4 * states[picked[:, 1]]).astype(np.float32)
            found.append((info.name, states, queries))
    return found


def build(folder: Path, vectors: Floats, kind: str) -> dict[str, float]:
    """A bank of these vectors in a store of its own; seconds of writing and indexing."""
    from lensbank.store.embedded.engine import EngineSettings
    from lensbank.store.embedded.store import EmbeddedStore

    dtype, *more = kind.split("+")
    settings = EngineSettings()
    for option in more:
        name, value = option.rstrip("0123456789"), option[len(option.rstrip("0123456789")) :]
        if name == "segments":
            settings = replace(settings, segment_rows=max(1, len(vectors) // int(value)))
        elif name not in ("graph", "product"):
            settings = replace(settings, **{FIELDS[name]: int(value)})
    identity = BankIdentity(
        model="bench", revision=None, weights="w", tokenizer="t", layer=1, n_layers=1, dim=vectors.shape[1],
        compute_dtype="float32", vector_dtype=dtype, max_contexts=None, seed=0,
    )  # fmt: skip
    folder.mkdir(parents=True)
    with EmbeddedStore(folder, settings) as store:
        began = time.perf_counter()
        with store.writer([identity], "bench", expected_rows=len(vectors)) as writer:
            for start in range(0, len(vectors), 1000):
                part = vectors[start : start + 1000]
                ids = [f"00000000-0000-0000-0000-{i:012x}" for i in range(start, start + len(part))]
                norms = np.linalg.norm(part, axis=1).astype(np.float32)
                writer.put(ids, [_payload(i) for i in range(start, start + len(part))], {1: part}, {1: norms})
            writer.flush()
            written = time.perf_counter() - began
            writer.finish(CorpusRecord("bench", "f", len(vectors), len(vectors), len(vectors)), graph="graph" in more)
        return {"written": written, "indexed": time.perf_counter() - began - written}


def _payload(i: int) -> dict[str, Any]:
    return {
        "token": f"Ġtok{i % 9973}", "token_id": i % 9973, "word": f"tok{i % 9973}",
        "sentence": f"a sentence with tok{i}", "position": i % 17, "char_start": 16, "char_end": 20, "norm": 0.0,
        "corpus": "bench", "document": f"bench:{i}", "is_word": True,
    }  # fmt: skip


def numpy_search(bank: Floats, queries: Floats) -> list[list[int]]:
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
    found: list[list[int]] = best_rows.tolist()
    return found


def searcher(folder: Path, kind: str, candidates: list[int]) -> dict[str, Callable[[Floats], list[list[int]]]]:
    """Ways to search what is in ``folder``, by mode."""
    if kind in ("numpy", "official"):
        units = np.load(folder / "units.npy")
        if kind == "numpy":
            return {"exact": lambda queries: numpy_search(units, queries)}
        import torch
        from latentlens.index import ContextualIndex

        metadata = [{"token_str": "", "caption": "", "position": i, "token_id": i} for i in range(len(units))]
        index = ContextualIndex({1: {"embeddings": torch.from_numpy(units), "metadata": metadata}})
        return {"exact": lambda q: [[n.token_id for n in r] for r in index.search(torch.from_numpy(q), top_k=TOP)]}
    from lensbank.store.embedded import engine
    from lensbank.store.opening import open_store

    store = open_store(folder / kind)
    bank = store.open(store.list()[0].name)

    def search(queries: Floats, exact: bool) -> list[list[int]]:
        return [[int(hit.id[-12:], 16) for hit in row] for row in bank.search(queries, TOP, exact=exact)]

    def looking_at(count: int) -> Callable[[Floats], list[list[int]]]:
        def search_so(queries: Floats) -> list[list[int]]:
            setattr(engine, "GRAPH_CANDIDATES", count)  # noqa: B010 - what it searches with is its own affair
            return search(queries, False)

        return search_so

    more = {f"{count} candidates": looking_at(count) for count in candidates if "graph" in kind}
    if "product" in kind:
        return {"product": _product(bank)}
    return {"approximate": lambda q: search(q, False), "exact": lambda q: search(q, True), **more}


def _product(bank: Any) -> Callable[[Floats], list[list[int]]]:
    """As a query searches exactly by default: the mapped vectors times the states, on the CPU."""
    import torch

    from lensbank.query.bank_product import BankProduct, product_of

    product = product_of(bank, torch.device("cpu"))
    if not isinstance(product, BankProduct):
        raise SystemExit(f"no product: {product.reason}")
    return lambda queries: [
        [int(hit.id[-12:], 16) for hit in row[:TOP]] for row in product.search(queries, TOP, (), False)
    ]


def evict(path: Path) -> None:
    """Have the kernel forget what it keeps of a file, or of all files of a folder."""
    os.sync()  # only what is on the disk can be forgotten
    for file in [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]:
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(folder: Path, kind: str, repeat: int, candidates: list[int]) -> dict[str, Any]:
    """One kind, in this process."""
    queries = np.load(folder / "queries.npy")
    evict(folder / kind if (folder / kind).is_dir() else folder / "units.npy")
    began = time.perf_counter()
    modes = searcher(folder, kind, candidates)
    result: dict[str, Any] = {"opened": time.perf_counter() - began, "modes": {}}
    for mode, search in modes.items():
        seconds = []
        for _ in range(1 + repeat):
            began = time.perf_counter()
            found = search(queries)
            seconds.append(time.perf_counter() - began)
        anonymous, mapped = memory(os.getpid())
        result["modes"][mode] = {
            "first": seconds[0] if mode == next(iter(modes)) else None,  # later ones find what it has read
            "then": statistics.median(seconds[1:]),
            "found": found,
            "anonymous": anonymous,
            "mapped": mapped,
        }
    return result


def compare(folder: Path, vectors: Floats, queries: Floats, kinds: list[str], repeat: int, candidates: str) -> None:
    """Everything about one set of vectors, as a Markdown table."""
    from lensbank.store.embedded.disk import disk_bytes

    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "units.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    np.save(folder / "queries.npy", queries / np.linalg.norm(queries, axis=1, keepdims=True))
    truth: list[list[int]] = []
    print(f"\n{len(vectors):,} rows x {vectors.shape[1]} dimensions ({vectors.nbytes / 1e6:,.0f} MB as float32)\n")
    print("| kind | mode | open | first | then | recall@5 | memory: anonymous, mapped | rows/s | index | disk/row |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind in kinds:
        built = ""
        if kind not in ("numpy", "official"):
            times = {} if (folder / kind).exists() else build(folder / kind, vectors, kind)
            cost = f"{len(vectors) / times['written']:,.0f} | {times['indexed']:.1f} s" if times else "kept | kept"
            built = f"{cost} | {disk_bytes(folder / kind) / len(vectors):,.0f} B"
        command = [sys.executable, "-m", "benchmarks.bench_search", "--one", kind, "--keep", str(folder)]
        command += ["--repeat", str(repeat), "--candidates", candidates]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"| {kind} | not run | | | | | | | | |")
            continue
        result = json.loads(done.stdout.splitlines()[-1])
        for mode, seen in result["modes"].items():
            truth = truth or seen["found"]
            hits = sum(len(set(a) & set(b)) for a, b in zip(seen["found"], truth, strict=True))
            recall = hits / sum(map(len, truth))
            cold = "| |" if seen["first"] is None else f"{result['opened']:.2f} s | {seen['first']:.2f} s |"
            print(
                f"| {kind} | {mode} | {cold} {seen['then']:.2f} s | {recall:.4f} | "
                f"{seen['anonymous'] / 1e6:,.0f} MB, {seen['mapped'] / 1e6:,.0f} MB | {built or ' | | '} |",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="20000,200000", help="sizes of synthetic banks")
    parser.add_argument("--dim", type=int, default=576)
    parser.add_argument("--store", help="a store of real states, instead")
    parser.add_argument("--bank", action="append", default=[], help="with --store: only this bank; repeatable")
    parser.add_argument("--kinds", default=KINDS, help="see above; the first one is what recall is measured against")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", default="", help="of searches in graphs, beside the default; e.g. 128,512")
    parser.add_argument("--keep", type=Path, help="folder for the banks, which are used again; default: temporary")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    candidates = [int(count) for count in options.candidates.split(",") if count]
    if options.one:
        print(json.dumps(measure(options.keep, options.one, options.repeat, candidates)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if options.store:
            sets = real(options.store, options.bank, options.seed)
        else:
            sizes = map(int, options.rows.split(","))
            sets = ((f"{rows}x{options.dim}", *synthetic(rows, options.dim, options.seed)) for rows in sizes)  # type: ignore[assignment]
        for name, vectors, queries in sets:
            compare(folder / name, vectors, queries, options.kinds.split(","), options.repeat, options.candidates)


if __name__ == "__main__":
    main()
