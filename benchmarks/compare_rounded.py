"""Exact search with candidates of eight bits beside the float32 product, on real states.

    python -m benchmarks.compare_rounded --model MODEL --store STORE [--layers 0,8] [--together 4,8] IMAGE...

Visual tokens of the images are searched in the rows of all the model's banks together, which makes one large bank of
real states; every answer is compared. All ways in turn, the least of three times each: of the processor, all threads
together, as the clock says what else the machine did. Beside them, where it is installed, the official library's
search in memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.figures import shown
from benchmarks.search_table import machine
from lensbank.models.loading import load_model
from lensbank.query import product, rounded
from lensbank.query.asking import ask_image
from lensbank.query.bank_product import BankProduct, product_of
from lensbank.query.images import open_image
from lensbank.query.options import QueryOptions
from lensbank.store.opening import open_store

TOP, ROUNDS = 5, 3


class Rows:
    """Rows in memory as a :class:`query.comparing.Source`."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """Rows ``[n, dim]``."""
        self.rows, (self.count, self.dim) = rows, rows.shape

    def blocks(self, device: torch.device, size: int) -> Iterator[tuple[int, Tensor]]:
        """See there."""
        for start in range(0, self.count, size):
            yield start, torch.from_numpy(self.rows[start : start + size]).to(device)

    def take(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """See there."""
        taken: NDArray[np.float32] = self.rows[places]
        return taken

    def keys(self, places: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """See there: by number."""
        return (places,)


def rows_of(target: str) -> NDArray[np.float32]:
    """The rows of all banks of a store."""
    found = []
    with open_store(target) as store:
        for info in store.list():
            with store.open(info.name) as bank:
                of = product_of(bank, torch.device("cpu"))
                if not isinstance(of, BankProduct):
                    raise SystemExit(f"{info.name}: {of.reason}")
                vectors = bank.vectors()
                found += [np.asarray(part.rows, np.float32) for part in getattr(vectors, "parts", ())]
    return np.concatenate(found)


def official_search(rows: NDArray[np.float32]) -> Callable[[NDArray[np.float32]], object] | None:
    """The official library's search of rows in memory; ``None`` where it is not installed."""
    if importlib.util.find_spec("latentlens") is None:
        return None
    from latentlens.index import ContextualIndex

    metadata = [{"token_str": "", "caption": "", "position": i, "token_id": i} for i in range(len(rows))]
    index = ContextualIndex({1: {"embeddings": torch.from_numpy(rows), "metadata": metadata}})
    return lambda queries: index.search(torch.from_numpy(queries), top_k=TOP)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--layers", default="0,1,8,16,24")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--together", help="states of all layers of so many images at once, as a query asks them")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    layers = [int(layer) for layer in options.layers.split(",")]
    loaded, cpu = load_model(options.model, need_vision=True), torch.device("cpu")
    asked = [ask_image(loaded, open_image(path), layers, QueryOptions()) for path in options.images]
    source = Rows(rows_of(options.store))
    rounded.is_exact(source.dim)
    found: dict[str, Any] = {"rows": source.count, "dim": source.dim, "layers": []}
    official = official_search(source.rows)
    alone = [(len(asked), [layer]) for layer in layers]
    for many, of in alone if options.together is None else [(int(n), layers) for n in options.together.split(",")]:
        states = np.concatenate([one.states[number] for number in of for one in asked[:many]])
        queries = (states / np.linalg.norm(states, axis=1, keepdims=True)).astype(np.float32)
        seconds: dict[str, list[float]] = {"rounded": [], "float32": [], "official": []}
        for _ in range(ROUNDS):
            began = time.process_time()
            ours = product.by_rounded(source, queries, TOP, None, None)
            seconds["rounded"].append(time.process_time() - began)
            began = time.process_time()
            true = product.by_float32(source, queries, TOP, cpu, None, None)
            seconds["float32"].append(time.process_time() - began)
            if official is not None:
                began = time.process_time()
                official(queries)
                seconds["official"].append(time.process_time() - began)
            if any((a[1] != b[1]).any() for a, b in zip(ours, true, strict=True)):
                raise SystemExit("the answers differ")
        with torch.inference_mode():
            left = [answer is None for answer in rounded.nearest_rounded(source, queries, TOP, None, None)]
        of_layer = {
            "layer": ", ".join(map(str, of)),
            "states": len(queries),
            **{name: min(some) for name, some in seconds.items() if some},
            "left": sum(left),
        }
        found["layers"].append(of_layer)
    command = "python -m benchmarks.compare_rounded --model MODEL --store STORE"
    command += "" if options.together is None else f" --together {options.together}"
    command += f" --layers {options.layers} --threads {options.threads} IMAGE... ({len(options.images)} images)"
    shown({"command": command, "machine": machine(), **found}, options.json)


if __name__ == "__main__":
    main()
