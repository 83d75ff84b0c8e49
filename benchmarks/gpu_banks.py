"""Banks beside a model on a GPU, for `bench_gpu`: rows made durable while it computes, and exact search there."""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bench_write import CORPUS, words
from lensbank.models.encoding import Encoder, Rows
from lensbank.models.loading import LoadedModel
from lensbank.query.bank_product import _BankRows
from lensbank.query.product import GPU_BLOCK_ROWS, nearest
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.vectors import BankVectors, VectorPart

Batch = tuple[list[list[int]], Rows]
TOP, ROUNDS = 5, 3


def write(loaded: LoadedModel, layers: Sequence[int], work: Sequence[Batch], writers: int) -> tuple[int, float]:
    """Encode batches into new banks of a temporary folder, as an ingest does.

    Args:
        loaded: the model.
        layers: a bank each.
        work: sentences and which of their states are kept.
        writers: processes that write.

    Returns:
        Rows of a layer, and seconds from the first forward pass until all are durable in every bank.
    """
    encoder = Encoder(loaded, layers, "float32")
    identities = [
        replace(loaded.identity(layer, vector_dtype="float32", max_contexts=None, seed=0), model="random")
        for layer in layers
    ]
    _, payloads = words(CORPUS, 1000)
    count, done = sum(len(rows.index) for _, rows in work), 0
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder), EngineSettings(writers=writers))
        with store.writer(identities, "random", expected_rows=count) as writer:
            began = time.perf_counter()
            for sentences, rows in work:
                pending = encoder.encode(sentences, rows)
                numbers = range(done, done + len(rows.index))
                ids = [str(uuid.UUID(int=number)) for number in numbers]
                told = [payloads[number % len(payloads)] for number in numbers]  # while a GPU computes
                vectors, norms = pending.fetch(str)
                writer.put(ids, told, vectors, norms)
                done += len(ids)
            writer.flush()
            seconds = time.perf_counter() - began
    return done, seconds


def search(device: torch.device, banks: int, rows: int, dim: int, states: int) -> dict[str, float]:
    """Exact search of banks of random rows, all their blocks on the device where they fit.

    Returns:
        Seconds of the first search, in which rows travel; of one after it, the median; and of the product alone,
        without choosing the nearest, over the same blocks.
    """
    draw = torch.Generator().manual_seed(0)

    def units(count: int) -> NDArray[np.float32]:
        made = torch.randn(count, dim, generator=draw)
        return np.asarray(made.div_(made.norm(dim=1, keepdim=True)).numpy(), np.float32)

    # In the computer's memory one array stands for all banks; on the device each has rows of its own.
    ids = np.stack([np.arange(rows), np.zeros(rows)], 1).astype(np.uint64)
    part, queries = VectorPart(units(rows), ids), units(states)
    sources = [_BankRows(BankVectors([part]), dim, device) for _ in range(banks)]
    asked = torch.from_numpy(queries).to(device)

    def whole() -> None:
        for source in sources:
            nearest(source, queries, TOP, device)

    def bare() -> None:
        with torch.inference_mode():
            for source in sources:
                for _, block in source.blocks(device, GPU_BLOCK_ROWS):
                    torch.mm(asked, block.T)

    first = timed(device, whole)
    return {
        "first": first,
        "then": statistics.median(timed(device, whole) for _ in range(ROUNDS)),
        "bare": statistics.median(timed(device, bare) for _ in range(ROUNDS)),
    }


def timed(device: torch.device, call: Callable[[], object]) -> float:
    """Seconds of one call, until the device has done it and nothing else."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - began
