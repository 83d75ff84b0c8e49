"""The work of an ingest on a Ray cluster: Ray Data reads, chooses and encodes; this process plans and keeps account.

Nothing is scheduled here. Workers are actors of Ray Data, which starts one that died again and gives it the same part
once more; its rows have the same ids and replace themselves.
"""

from __future__ import annotations

import logging
import pickle
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
from ..schemas.errors import ClusterError
from ..schemas.progress import Progress
from ..schemas.version import tool_version
from ..store.writing import BankWriter
from .connecting import Workers
from .facts import Loading, ModelFacts
from .workers import ANSWER, WORK, Choosing, Failed, Setting, as_table, describe, fingerprints, means, worker_class

if TYPE_CHECKING:
    from ..ingest.work import Floats

#: Parts of the corpus for each CPU, so that a slow one does not keep all others waiting.
_PARTS_PER_CPU = 4
#: Batches that a worker takes at a time: it waits for the server once in so many. Fewer where there are few in all.
_MOST_BATCHES = 16
_TURNS_PER_WORKER = 32
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class OnCluster:
    """See :class:`ingest.work.Work`.

    Attributes:
        model: what is known of it here.
        loading: how a worker loads it.
        workers: how many there are.
        cpus: of the whole cluster.
    """

    model: ModelFacts
    loading: Loading
    workers: Workers
    cpus: int

    @classmethod
    def of(cls, loading: Loading, workers: Workers, cpus: int) -> OnCluster:
        """Load the model on one worker, and learn what it is.

        Raises:
            ModelError: it cannot be loaded there.
            ClusterError: the worker failed.
        """
        loading = replace(loading, threads=None if workers.gpus else workers.cpus)
        facts: ModelFacts = _on_a_worker(workers, describe, loading)
        if facts.tool != tool_version():
            raise ClusterError(
                f"The workers have {facts.tool}, this is {tool_version()}.", "Install the same version on every node."
            )
        # What one worker has chosen holds for all: a precision that is measured need not come out the same twice.
        fixed = {**loading.arguments, "dtype": facts.dtype, "like": None}
        return cls(facts, replace(loading, arguments=fixed), workers, cpus)

    def select(self, corpus: Corpus, options: IngestOptions, progress: Progress) -> Selection:
        """See :meth:`ingest.work.Work.select`."""
        import ray

        whole, model = corpus.portable(), self.model
        choosing = Choosing(model.tokenizer, model.embeddings, options.max_contexts, options.seed, model.max_positions)
        vocabulary = BulkTokenizer(model.tokenizer, model.embeddings).vocabulary
        progress.start("Reading", None, "sentences")
        with _failures():
            prints = ray.remote(fingerprints).remote(whole)
            parts = [as_table(WORK, [part]) for part in whole.divided(_PARTS_PER_CPU * self.cpus)]
            answers = _answers(ray.data.from_arrow(parts).map_batches(_each(choosing), **_WHOLE_BLOCKS))
            summary = merged(_counted(answers, progress), vocabulary, options.max_contexts)
            found = _good(ray.get(prints))
        progress.finish()
        sentences = {name: summary.sentences[name] for name in corpus.names}
        tokens = {name: summary.tokens[name] for name in corpus.names}
        return ordered(summary, Tally.counted(sentences, tokens, {name: found[name] for name in corpus.names}))

    def means(
        self, layers: Sequence[int], options: IngestOptions, selection: Selection, texts: Texts, progress: Progress
    ) -> Mapping[int, Floats]:
        """See :meth:`ingest.work.Work.means`; a sample of bounded size, for one worker."""
        parts = [Part.of(selection, texts, first, end) for first, end in drawn_blocks(selection, options.seed)]
        found: Mapping[int, Floats] = _on_a_worker(self.workers, means, self.loading, tuple(layers), parts)
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
        import ray

        budget = options.batch_tokens or self.model.batch_tokens
        bounds = list(batches(selection.lengths, budget, start))
        if not bounds:
            return
        workers = worker_class(Setting(self.loading, tuple(identities), writer.permit()))
        turns = self.workers.count * _TURNS_PER_WORKER
        size = min(_MOST_BATCHES, max(1, len(bounds) // turns))
        groups = (bounds[at : at + size] for at in range(0, len(bounds), size))
        with _failures():
            # Put away one by one: the object store keeps on disk what memory does not hold.
            tables = [
                ray.put(as_table(WORK, [[Part.of(selection, texts, first, end) for first, end in group]]))
                for group in groups
            ]
            encoded = ray.data.from_arrow_refs(tables).map_batches(
                workers,
                **_WHOLE_BLOCKS,
                compute=ray.data.ActorPoolStrategy(size=self.workers.count),
                num_cpus=self.workers.cpus,
                num_gpus=self.workers.gpus or None,
            )
            for answer in _patiently(_answers(encoded)):
                if answer is None:
                    yield None
                else:
                    yield from answer


_WHOLE_BLOCKS: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}


def _each(choosing: Choosing) -> Callable[[Any], Any]:
    """As a function of Ray Data: a table of parts gives one of answers."""

    def choose(table: Any) -> Any:
        return as_table(ANSWER, [choosing(pickle.loads(one.as_py())) for one in table.column(WORK)])

    return choose


def _on_a_worker(workers: Workers, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run something once, with what a worker is given."""
    import ray

    with _failures():
        task = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus, max_calls=1)(work)
        return _good(ray.get(task.remote(*arguments)))


def _answers(dataset: Any) -> Iterator[Any]:
    """The answers of a dataset, as they come.

    Raises:
        LensbankError: a worker's.
    """
    for table in dataset.iter_batches(prefetch_batches=0, **_WHOLE_BLOCKS):
        for one in table.column(ANSWER):
            yield _good(pickle.loads(one.as_py()))


def _good(answer: Any) -> Any:
    if isinstance(answer, Failed):
        raise answer.as_error()
    return answer


def _counted(summaries: Iterable[Summary], progress: Progress) -> Iterator[Summary]:
    for summary in summaries:
        progress.advance(sum(summary.sentences.values()))
        yield summary


def _patiently(answers: Iterator[Any]) -> Iterator[Any]:
    """The same, with ``None`` where none has come for a while.

    What is still to come when nobody asks any more is let go by its thread.
    """
    found: queue.Queue[tuple[Any, BaseException | None, bool]] = queue.Queue()
    left = threading.Event()

    def read() -> None:
        try:
            for answer in answers:
                found.put((answer, None, False))
                if left.is_set():
                    return
        except BaseException as error:
            found.put((None, error, True))
        else:
            found.put((None, None, True))

    threading.Thread(target=read, name="lensbank-answers", daemon=True).start()
    try:
        while True:
            try:
                answer, error, ended = found.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                yield None
                continue
            if error is not None:
                raise error
            if ended:
                return
            yield answer
    finally:
        left.set()


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what Ray raises into one sentence, and keep its own bars and logs away from ours.

    Raises:
        ClusterError: Ray could not do it.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    except (ray.exceptions.RayError, ray.exceptions.RaySystemError) as error:
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ClusterError(
            f"The workers of the cluster failed: {last[0].strip()}",
            "Ray's dashboard and its logs (/tmp/ray/session_latest/logs) say more. The same command goes on.",
        ) from error
