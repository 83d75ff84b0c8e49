"""A sample of an ingest, run for its time and memory: some of the chosen sentences, stored in a temporary folder."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..models.encoding import Encoder, batches, default_batch_tokens
from ..models.tokens import BulkTokenizer
from ..schemas.progress import Progress
from ..store.opening import open_store
from .means import bank_identities
from .options import IngestOptions
from .planning import Selection
from .rows import BatchRows

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from ..store.writing import BankWriter
    from .texts import Texts

#: Batches of the sample, beside one that warms up; and seconds after which no other is begun.
_BATCHES = 12
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a sample took.

    Attributes:
        device: that computed.
        dtype: of the forward pass.
        cores: of this machine that the process may use.
        tokens: encoded while it was timed.
        rows: stored in each bank.
        seconds: to encode and store them, which happen at the same time.
        flush_seconds: to make rows durable once.
        memory_bytes: most that this process has had in memory, the model included; ``None`` where nobody says.
        device_bytes: most of a GPU's memory; ``None`` without one.
    """

    device: str
    dtype: str
    cores: int
    tokens: int
    rows: int
    seconds: float
    flush_seconds: float
    memory_bytes: int | None
    device_bytes: int | None


def part_of(selection: Selection, batch_tokens: int) -> Selection:
    """Every n-th sentence in the order of their lengths: a sample of all lengths, of some batches."""
    wanted = (_BATCHES + 1) * batch_tokens
    step = max(1, selection.tokens() // wanted)
    places = np.arange(step // 2, len(selection.hashes), step)
    return selection.at(places)


def measure(
    loaded: LoadedModel,
    part: Selection,
    texts: Texts,
    tokenizer: BulkTokenizer,
    options: IngestOptions,
    progress: Progress,
) -> Measured:
    """Encode and store as many batches of the sample as there is time for."""
    parts = list(batches(part.lengths, options.batch_tokens or default_batch_tokens(loaded.device)))
    random.Random(0).shuffle(parts)  # whenever the time is up, long and short sentences have been seen
    encoder = Encoder(loaded, sorted(set(options.layers)), options.vector_dtype)
    run = _Run(loaded, replace(options, centre=False), part, texts, tokenizer, encoder, progress)
    progress.start("Measuring", max(1, len(parts) - 1), "batches")
    with tempfile.TemporaryDirectory(prefix="lensbank-plan-") as folder:
        run.into(os.path.join(folder, "first"), parts[:1])  # it takes memory and starts threads
        took = run.into(os.path.join(folder, "timed"), parts[1:] or parts)
    progress.finish()
    return Measured(
        device=str(loaded.device),
        dtype=loaded.dtype_name,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        tokens=took.tokens,
        rows=took.rows,
        seconds=took.encode,
        flush_seconds=took.flush,
        memory_bytes=_peak_memory(),
        device_bytes=torch.cuda.max_memory_allocated(loaded.device) if loaded.device.type == "cuda" else None,
    )


@dataclass(frozen=True, slots=True)
class _Took:
    """Rows of each bank, tokens, and seconds."""

    rows: int
    tokens: int
    encode: float
    flush: float


@dataclass(frozen=True, slots=True)
class _Run:
    """What it takes to store batches as an ingest does."""

    loaded: LoadedModel
    options: IngestOptions
    part: Selection
    texts: Texts
    tokenizer: BulkTokenizer
    encoder: Encoder
    progress: Progress

    def into(self, folder: str, parts: Sequence[tuple[int, int]]) -> _Took:
        """Make a store of some batches; no other is begun after :data:`_SECONDS`."""
        rows = tokens = 0
        identities = bank_identities(self.loaded, self.options, {})
        with (
            open_store(folder, create=True) as store,
            store.writer(identities, self.loaded.source, expected_rows=len(self.part.kept)) as writer,
        ):
            began = time.monotonic()
            for first, end in parts:
                rows += self._store(writer, first, end)
                tokens += int(self.part.lengths[first:end].sum())
                self.progress.advance(1 if len(parts) > 1 else 0)
                if time.monotonic() - began > _SECONDS:
                    break
            encoded = time.monotonic()
            writer.flush()
            flushed = time.monotonic()
        return _Took(rows, tokens, encoded - began, flushed - encoded)

    def _store(self, writer: BankWriter, first: int, end: int) -> int:
        """One batch; returns its rows."""
        rows = BatchRows(self.part, self.texts, self.tokenizer, first, end)
        pending = self.encoder.encode(rows.ids, rows.wanted())
        ids, payloads = rows.ids_and_payloads()
        vectors, norms = pending.fetch(rows.describe)
        writer.put(ids, payloads, vectors, norms)
        return len(ids)


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
