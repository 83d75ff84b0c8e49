"""What an ingest would cost, before anything is stored: counted on the whole corpus, timed on a sample of it.

The corpus is read and its contexts are chosen as an ingest does; of the chosen sentences some are encoded and stored in
a temporary folder, which is thrown away.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.encoding import BATCH_TOKENS_CPU, default_batch_tokens
from ..models.files.outline import Outline
from ..models.tokens import BulkTokenizer
from ..schemas.progress import Progress, Silent
from ..schemas.units import show_bytes
from .corpus import Corpus
from .means import bank_identities
from .options import FLUSH_SECONDS, IngestOptions, flush_pause
from .planning import collect, select
from .sample import Measured, measure, part_of
from .sizes import bank_bytes, index_seconds, text_beyond

if TYPE_CHECKING:
    from ..models.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an ingest would do, and what it would take.

    Attributes:
        model: its name.
        layers: one bank each.
        dim: width of the states.
        vector_dtype: as stored.
        corpora: names.
        sentences: read.
        tokens: read.
        rows: of each bank.
        distinct_tokens: different vocabulary tokens among them.
        sentences_to_encode: that hold chosen tokens.
        tokens_to_encode: of those, each sentence up to its last chosen token.
        truncated: sentences longer than the model can read.
        disk_bytes: of all banks; computed.
        disk_free: where the store is; ``None`` of a server.
        existing: banks of the store that such an ingest would add to, or find complete.
        index_seconds: of one core, to index all banks; computed from rates measured elsewhere (docs/storage.md).
        read_seconds: to read the corpus twice; measured.
        measured: on a sample; ``None`` where nothing was to be.
    """

    model: str
    layers: tuple[int, ...]
    dim: int
    vector_dtype: str
    corpora: tuple[str, ...]
    sentences: int
    tokens: int
    rows: int
    distinct_tokens: int
    sentences_to_encode: int
    tokens_to_encode: int
    truncated: int
    disk_bytes: int
    disk_free: int | None
    existing: tuple[str, ...]
    index_seconds: float
    read_seconds: float
    measured: Measured | None

    @property
    def seconds(self) -> dict[str, float] | None:
        """Seconds to ``read``, ``encode`` (and store) and ``index``, and in ``total``.

        ``None`` where nothing was measured.
        """
        if (found := self.measured) is None:
            return None
        encode = found.seconds * self.tokens_to_encode / max(1, found.tokens)
        # Every so often, and at the end, rows are made durable; see the ingest.
        encode += found.flush_seconds * (1 + encode // flush_pause(FLUSH_SECONDS, found.flush_seconds))
        parts = {"read": self.read_seconds, "encode": encode, "index": self.index_seconds / found.cores}
        return {**parts, "total": sum(parts.values())}

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "seconds": self.seconds}

    def lines(self) -> list[str]:
        """For people: what, and how each figure is known."""
        layers = ", ".join(map(str, self.layers))
        share = f" of {show_bytes(self.disk_free)} free" if self.disk_free is not None else ""
        lines = [
            f"Nothing was stored. {self.model}, layers {layers}, width {self.dim}, {self.vector_dtype}:",
            f"  counted   {', '.join(self.corpora)}: {self.sentences:,} sentences, {self.tokens:,} tokens",
            f"            {self.rows:,} rows in each of {len(self.layers)} banks, of {self.distinct_tokens:,} "
            "vocabulary tokens",
            f"            {self.tokens_to_encode:,} tokens of {self.sentences_to_encode:,} sentences to encode",
            f"  computed  disk: about {show_bytes(self.disk_bytes)}{share}",
            *self._measured_lines(),
        ]
        if self.disk_free is not None and self.disk_bytes > self.disk_free:
            lines.append(
                "The disk is too small: use fewer layers, --vector-dtype float16, or a smaller --max-contexts."
            )
        if self.existing:
            lines.append(f"{len(self.existing)} of these banks exist already; their rows are not encoded again.")
        if self.truncated:
            lines.append(
                f"{self.truncated:,} sentences are longer than the model's context; the rest of each is left out."
            )
        return lines

    def _measured_lines(self) -> list[str]:
        found, seconds = self.measured, self.seconds
        if found is None or seconds is None:
            return ["  measured  nothing (--no-measure)"]
        on = f"{found.device}, {found.dtype}, {found.cores} core{'s' if found.cores > 1 else ''}"
        memory = [f"{show_bytes(found.memory_bytes)} in this process"] if found.memory_bytes else []
        memory += [f"{show_bytes(found.device_bytes)} on the GPU"] if found.device_bytes else []
        parts = [_minutes(seconds[part]) for part in ("read", "encode", "index")]
        return [
            f"  measured  time: about {_minutes(seconds['total'])} on {on}",
            "            ({} to read, {} to encode and store, {} to index, which is computed)".format(*parts),
            f"            memory: {', '.join(memory) or 'unknown'}, plus writing processes and mapped files",
            f"            (on {found.tokens:,} tokens, {found.rows:,} rows of each bank, in a temporary folder)",
        ]


def forecast(
    model: LoadedModel | Outline,
    corpus: Corpus,
    options: IngestOptions,
    target: Path | None,
    existing: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Forecast:
    """See what an ingest would take; nothing is stored.

    Args:
        model: loaded, to time a sample of the work; or its outline, to count and compute alone.
        corpus: what would be read; it is read twice.
        options: of the ingest.
        target: the store's folder; ``None`` of a server.
        existing: names of the store's banks.
        progress: told what happens.

    Raises:
        LayerError, CorpusError, StateError: as an ingest would.
        StoreError: the temporary folder cannot be used.
    """
    progress = progress or Silent()
    tokenizer = BulkTokenizer(model.tokenizer, model.embeddings)
    began = time.monotonic()
    selection = select(corpus, tokenizer, options.max_contexts, options.seed, model.max_positions, progress)
    per_batch = BATCH_TOKENS_CPU if isinstance(model, Outline) else default_batch_tokens(model.device)
    part = part_of(selection, options.batch_tokens or per_batch)
    with collect(corpus, part, options.seed, progress, tokenizer) as texts:
        read = time.monotonic() - began
        for line in corpus.remarks():
            progress.note(line)
        beyond = round(text_beyond(texts, part.first, len(part.kept)) * len(selection.kept) / len(part.kept))
        if isinstance(model, Outline):
            dim, names, measured = model.dim, tuple[str, ...](), None
        else:
            identities = bank_identities(model, replace(options, centre=False), {})
            dim, names = model.lm.dim, tuple(one.name() for one in identities)
            measured = measure(model, part, texts, tokenizer, options, progress)
    layers = tuple(sorted(set(options.layers)))
    return Forecast(
        model=model.name,
        layers=layers,
        dim=dim,
        vector_dtype=options.vector_dtype,
        corpora=tuple(selection.tally.sentences),
        sentences=sum(selection.tally.sentences.values()),
        tokens=sum(selection.tally.tokens.values()),
        rows=len(selection.kept),
        distinct_tokens=len(np.unique(selection.kept.token)),
        sentences_to_encode=len(selection.hashes),
        tokens_to_encode=selection.tokens(),
        truncated=selection.truncated,
        disk_bytes=len(layers) * bank_bytes(len(selection.kept), dim, options.vector_dtype, options.index, beyond),
        disk_free=None if target is None else _free(target),
        existing=tuple(name for name in names if name in existing),
        index_seconds=len(layers) * index_seconds(len(selection.kept), dim, options.index, options.graph),
        read_seconds=read,
        measured=measured,
    )


def _free(target: Path) -> int | None:
    for folder in (target.absolute(), *target.absolute().parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return None


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
