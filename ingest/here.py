"""The work of an ingest in this process: rows are stored while the next states are computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..models.encoding import Encoder, batches, default_batch_tokens
from ..models.tokens import BulkTokenizer
from ..schemas.collection import BankIdentity
from ..schemas.progress import Progress
from ..store.writing import BankWriter, RowSink
from .corpus import Corpus
from .means import drawn_blocks, mean_states
from .options import IngestOptions
from .planning import Selection, select
from .rows import BatchRows
from .texts import Texts
from .work import Done

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from .work import Floats


class Here:
    """One process with one model.

    Args:
        model: the model.
    """

    def __init__(self, model: LoadedModel) -> None:
        """Nothing runs yet."""
        self.model = model
        self._tokenizer = BulkTokenizer(model.tokenizer, model.embeddings)

    def select(self, corpus: Corpus, options: IngestOptions, progress: Progress) -> Selection:
        """See :meth:`ingest.work.Work.select`."""
        limit = self.model.max_positions
        return select(corpus, self._tokenizer, options.max_contexts, options.seed, limit, progress)

    def means(
        self, layers: Sequence[int], options: IngestOptions, selection: Selection, texts: Texts, progress: Progress
    ) -> Mapping[int, Floats]:
        """See :meth:`ingest.work.Work.means`."""
        blocks = drawn_blocks(selection, options.seed)
        rows = (BatchRows(selection, texts, self._tokenizer, first, end) for first, end in blocks)
        progress.start("Centring", int(sum(selection.first[end] - selection.first[at] for at, end in blocks)), "rows")
        found = mean_states(self.model, layers, rows, progress.advance)
        progress.finish()
        return found

    def encode(
        self,
        writer: BankWriter,
        identities: Sequence[BankIdentity],
        options: IngestOptions,
        selection: Selection,
        texts: Texts,
        start: int,
    ) -> Iterator[Done | None]:
        """See :meth:`ingest.work.Work.encode`."""
        encoder = encoder_of(self.model, identities)
        budget = options.batch_tokens or default_batch_tokens(self.model.device)
        for first, end in batches(selection.lengths, budget, start):
            rows = BatchRows(selection, texts, self._tokenizer, first, end)
            given = store_batch(encoder, rows, writer)
            tokens = int(selection.lengths[first:end].sum())
            yield Done(first, end, tokens, len(rows), given)


def encoder_of(model: LoadedModel, identities: Sequence[BankIdentity]) -> Encoder:
    """What computes the states of some banks of one model."""
    means = {one.layer: mean for one in identities if (mean := one.mean_state()) is not None}
    return Encoder(model, [one.layer for one in identities], identities[0].vector_dtype, means)


def store_batch(encoder: Encoder, rows: BatchRows, sink: RowSink) -> Mapping[str, int]:
    """Encode one batch and hand over its rows.

    Returns:
        Corpus → rows.

    Raises:
        ModelError: states cannot be computed.
        StoreError: rows cannot be stored.
    """
    if not len(rows):
        return {}
    pending = encoder.encode(rows.ids, rows.wanted())
    ids, payloads = rows.ids_and_payloads()  # while a GPU computes
    vectors, norms = pending.fetch(rows.describe)
    sink.put(ids, payloads, vectors, norms)
    return Counter(name for payload in payloads for name in payload["corpus"])
