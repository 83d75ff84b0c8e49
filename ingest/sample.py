"""A sample of an ingest, run for its time and memory: some of the chosen sentences, stored in a temporary folder."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
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
from .planning import Selection, corpus_records
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
        rows: stored in each bank, those of the batch that warms up included.
        seconds: to encode and store them, which happen at the same time.
        flush_seconds: to make rows durable once.
        index_seconds: to index them.
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
    index_seconds: float
    memory_bytes: int | None
    device_bytes: int | None


def part_of(selection: Selection, batch_tokens: int) -> Selection:
    """Every n-th sentence in the order of their lengths: a sample of all lengths, of some batches."""
    wanted = (_BATCHES + 1) * batch_tokens
    step = max(1, selection.tokens() // wanted)
    places = np.arange(step // 2, len(selection.hashes), step)
    counts = np.diff(selection.first)[places]
    which = np.concatenate([np.arange(selection.first[p], selection.first[p + 1]) for p in places])
    return Selection(
        hashes=selection.hashes[places],
        lengths=selection.lengths[places],
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        kept=selection.kept.take(which),
        tally=selection.tally,
        truncated=0,
    )


def measure(
    loaded: LoadedModel,
    part: Selection,
    texts: Texts,
    tokenizer: BulkTokenizer,
    options: IngestOptions,
    progress: Progress,
) -> Measured:
    """Encode and store as many batches of the sample as there is time for."""
    plain = replace(options, centre=False)  # the mean of a corpus is subtracted in no time
    parts = list(batches(part.lengths, options.batch_tokens or default_batch_tokens(loaded.device)))
    random.Random(0).shuffle(parts)  # whenever the time is up, long and short sentences have been seen
    encoder = Encoder(loaded, sorted(set(options.layers)), options.vector_dtype)
    progress.start("Measuring", max(1, len(parts) - 1), "batches")
    with tempfile.TemporaryDirectory(prefix="lensbank-plan-") as folder, open_store(folder, create=True) as store:
        identities = bank_identities(loaded, plain, {})
        with store.writer(identities, loaded.source, expected_rows=len(part.kept)) as writer:
            # The first takes memory, starts threads and compiles kernels.
            given, tokens = _store_batch(writer, encoder, BatchRows(part, texts, tokenizer, *parts[0])), 0
            writer.flush()
            began = time.monotonic()
            for first, end in parts[1:] or parts:
                added = _store_batch(writer, encoder, BatchRows(part, texts, tokenizer, first, end))
                given += added if len(parts) > 1 else Counter()  # else it is the first one once more
                tokens += int(part.lengths[first:end].sum())
                progress.advance(1)
                if time.monotonic() - began > _SECONDS:
                    break
            seconds = time.monotonic() - began
            writer.flush()
            flush = time.monotonic() - began - seconds
            began = time.monotonic()
            writer.finish(corpus_records(part, given), options.index, graph=options.graph)
            index = time.monotonic() - began
        stored = sum(info.rows for info in store.list()) // len(identities)
    progress.finish()
    return Measured(
        device=str(loaded.device),
        dtype=loaded.dtype_name,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        tokens=tokens,
        rows=stored,
        seconds=seconds,
        flush_seconds=flush,
        index_seconds=index,
        memory_bytes=_peak_memory(),
        device_bytes=torch.cuda.max_memory_allocated(loaded.device) if loaded.device.type == "cuda" else None,
    )


def _store_batch(writer: BankWriter, encoder: Encoder, rows: BatchRows) -> Counter[str]:
    """As an ingest does; returns the rows of each corpus."""
    pending = encoder.encode(rows.ids, rows.wanted())
    ids, payloads = rows.ids_and_payloads()
    vectors, norms = pending.fetch(rows.describe)
    writer.put(ids, payloads, vectors, norms)
    return Counter(name for payload in payloads for name in payload["corpus"])


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
