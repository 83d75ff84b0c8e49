"""The work of an ingest on a Ray cluster: Ray Data reads, chooses and encodes; this process plans and keeps account.

Nothing is scheduled here. Workers are actors of Ray Data, which starts one that died again and gives it the same part
once more; its rows have the same ids and replace themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ingest.corpus import Corpus
from ..ingest.means import drawn_blocks
from ..ingest.options import IngestOptions
from ..ingest.parts import Part
from ..ingest.planning import Selection, ordered
from ..ingest.summaries import Summary, merged
from ..ingest.tallies import Tally
from ..ingest.texts import Texts
from ..ingest.work import Done
from ..models.encoding import batches
from ..models.tokens import BulkTokenizer
from ..schemas.collection import BankIdentity
from ..schemas.progress import Progress
from ..store.writing import BankWriter
from .connecting import Workers
from .facts import Loading, ModelFacts
from .running import by_tasks, by_workers, in_a_task, on_a_worker, require_same_tool
from .waiting import Note, unheard
from .workers import Choosing, EncodingWorker, Setting, describe, fingerprints, means, worker_class

if TYPE_CHECKING:
    from ..ingest.work import Floats

#: Parts of the corpus for each CPU, so that a slow one does not keep all others waiting.
_PARTS_PER_CPU = 4
#: Batches that a worker takes at a time: it waits for the server once in so many. Fewer where there are few in all.
_MOST_BATCHES = 16
_TURNS_PER_WORKER = 32


@dataclass(frozen=True)
class OnCluster:
    """See :class:`ingest.work.Work`.

    Attributes:
        model: what is known of it here.
        loading: how a worker loads it.
        workers: how many there are.
        cpus: of the whole cluster.
        note: told what is waited for where nothing comes of the cluster for long.
    """

    model: ModelFacts
    loading: Loading
    workers: Workers
    cpus: int
    note: Note = unheard

    @classmethod
    def of(cls, loading: Loading, workers: Workers, cpus: int, note: Note = unheard) -> OnCluster:
        """Load the model on one worker, and learn what it is.

        Raises:
            ModelError: it cannot be loaded there.
            ClusterError: the worker failed.
        """
        loading = loading.given(workers)
        facts: ModelFacts = on_a_worker(workers, note, describe, loading)
        require_same_tool(facts.tool)
        return cls(facts, loading.fixed(facts.dtype), workers, cpus, note)

    def select(self, corpus: Corpus, options: IngestOptions, progress: Progress) -> Selection:
        """See :meth:`ingest.work.Work.select`."""
        whole, model = corpus.portable(), self.model
        choosing = Choosing(model.tokenizer, model.embeddings, options.max_contexts, options.seed, model.max_positions)
        vocabulary = BulkTokenizer(model.tokenizer, model.embeddings).vocabulary
        progress.start("Reading", None, "sentences")
        prints = in_a_task(self.note, fingerprints, whole)
        answers = by_tasks(choosing, whole.divided(_PARTS_PER_CPU * self.cpus), self.note)
        summary = merged(_counted(answers, progress), vocabulary, options.max_contexts)
        found = prints()
        progress.finish()
        sentences = {name: summary.sentences[name] for name in corpus.names}
        tokens = {name: summary.tokens[name] for name in corpus.names}
        return ordered(summary, Tally.counted(sentences, tokens, {name: found[name] for name in corpus.names}))

    def means(
        self, layers: Sequence[int], options: IngestOptions, selection: Selection, texts: Texts, progress: Progress
    ) -> Mapping[int, Floats]:
        """See :meth:`ingest.work.Work.means`; a sample of bounded size, for one worker."""
        parts = [Part.of(selection, texts, first, end) for first, end in drawn_blocks(selection, options.seed)]
        found: Mapping[int, Floats] = on_a_worker(self.workers, self.note, means, self.loading, tuple(layers), parts)
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
        """See :meth:`ingest.work.Work.encode`; every worker holds the model."""
        budget = options.batch_tokens or self.model.batch_tokens
        bounds = list(batches(selection.lengths, budget, start))
        if not bounds:
            return
        workers = worker_class(EncodingWorker, Setting(self.loading, tuple(identities), writer.permit()))
        turns = self.workers.count * _TURNS_PER_WORKER
        size = min(_MOST_BATCHES, max(1, len(bounds) // turns))
        groups = (bounds[at : at + size] for at in range(0, len(bounds), size))
        parts = ([Part.of(selection, texts, first, end) for first, end in group] for group in groups)
        for answer in by_workers(self.workers, workers, parts, self.note):
            if answer is None:
                yield None
            else:
                yield from answer


def _counted(summaries: Iterable[Summary], progress: Progress) -> Iterator[Summary]:
    for summary in summaries:
        progress.advance(sum(summary.sentences.values()))
        yield summary
