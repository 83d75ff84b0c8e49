"""What `bench_search` compares: vectors, banks of them, and the ways to search them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.corpora import CorpusRecord
from lensbank.store.store import Store

QUERIES, TOP = 576, 5
#: What may differ from the defaults of a bank in a kind's name; the rest is about its search.
FIELDS = {"bits": "quantized_bits", "m": "graph_links", "ef": "graph_effort"}
SEARCHES = ("product", "unrounded")
Floats = NDArray[np.float32]
Search = Callable[[Floats], list[list[int]]]


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
        elif name not in ("graph", *SEARCHES):
            settings = replace(settings, **{FIELDS[name]: int(value)})
    folder.mkdir(parents=True)
    with EmbeddedStore(folder, settings) as store:
        began = time.perf_counter()
        seconds: list[float] = []
        fill(store, vectors, dtype, "bench", "graph" in more, lambda: seconds.append(time.perf_counter() - began))
        return {"written": seconds[0], "indexed": time.perf_counter() - began - seconds[0]}


def fill(
    store: Store,
    vectors: Floats,
    dtype: str,
    model: str,
    graph: bool = False,
    written: Callable[[], None] | None = None,
) -> str:
    """A bank of these vectors in a store; returns its name. ``written`` is called before it is indexed."""
    identity = BankIdentity(
        model=model, revision=None, weights="w", tokenizer="t", layer=1, n_layers=1, dim=vectors.shape[1],
        compute_dtype="float32", vector_dtype=dtype, max_contexts=None, seed=0,
    )  # fmt: skip
    with store.writer([identity], model, expected_rows=len(vectors)) as writer:
        for start in range(0, len(vectors), 1000):
            part = vectors[start : start + 1000]
            ids = [f"00000000-0000-0000-0000-{i:012x}" for i in range(start, start + len(part))]
            norms = np.linalg.norm(part, axis=1).astype(np.float32)
            writer.put(ids, [_payload(i) for i in range(start, start + len(part))], {1: part}, {1: norms})
        writer.flush()
        if written is not None:
            written()
        writer.finish(CorpusRecord("bench", "f", len(vectors), len(vectors), len(vectors)), graph=graph)
    return identity.name()


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


def of_bank(kind: str) -> str:
    """The kind of bank that a kind searches: several are searched in more than one way."""
    return "+".join(part for part in kind.split("+") if part not in SEARCHES)


def is_product(kind: str) -> bool:
    """Whether every row is compared by a matrix product."""
    return kind in ("numpy", "official") or "product" in kind


def prepare(kind: str) -> None:
    """Import what a kind needs, before its memory is counted."""
    if kind == "official":
        import torch  # noqa: F401
    elif kind != "numpy":
        import lensbank.store.embedded.store  # noqa: F401

        if "product" in kind:
            import lensbank.query.bank_product  # noqa: F401


def searcher(folder: Path, kind: str, candidates: list[int]) -> dict[str, Search]:
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

    store = open_store(folder / of_bank(kind))
    bank = store.open(store.list()[0].name)
    if "product" in kind:
        return {"product": _product(bank, "unrounded" not in kind)}

    def search(queries: Floats, exact: bool) -> list[list[int]]:
        return [[int(hit.id[-12:], 16) for hit in row] for row in bank.search(queries, TOP, exact=exact)]

    def looking_at(count: int) -> Search:
        def search_so(queries: Floats) -> list[list[int]]:
            setattr(engine, "GRAPH_CANDIDATES", count)  # noqa: B010 - what it searches with is its own affair
            return search(queries, False)

        return search_so

    more = {f"{count} candidates": looking_at(count) for count in candidates if "graph" in kind}
    return {"approximate": lambda q: search(q, False), "exact": lambda q: search(q, True), **more}


def _product(bank: Any, rounded_rows: bool) -> Search:
    """As a query searches exactly by default: the mapped vectors times the states, on the CPU."""
    import torch

    from lensbank.query import rounded
    from lensbank.query.bank_product import BankProduct, product_of

    if not rounded_rows:
        rounded.LEAST_VECTORS = 1 << 62
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
