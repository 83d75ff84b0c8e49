"""A corpus into banks: plan, encode while earlier rows are stored, index; and go on after an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from ..banks.interrupts import Interruption
from ..models.layers import check_layers, default_layers
from ..models.loading import LoadedModel
from ..models.tokens import BulkTokenizer
from ..schemas.collection import BankIdentity
from ..schemas.plans import PlanRecord
from ..schemas.progress import Progress, Silent, phase_of
from ..store.found import BankInfo
from ..store.store import Store
from ..store.writing import BankWriter
from .corpus import Corpus
from .here import Here
from .means import bank_identities, with_means
from .options import IngestOptions, IngestPlan, IngestSummary, flush_pause
from .planning import Selection, collect, corpus_records
from .resuming import Reached, already_done, going_on, lacks_rows
from .sizes import bank_bytes, text_beyond
from .tallies import fingerprint
from .texts import Texts
from .work import Work

__all__ = ["IngestOptions", "default_layers", "run"]


def run(
    loaded: LoadedModel | Work,
    corpus: Corpus,
    store: Store,
    options: IngestOptions,
    progress: Progress | None = None,
    *,
    on_plan: Callable[[IngestPlan], None] | None = None,
) -> IngestSummary:
    """Write the hidden states of a corpus into one bank per layer.

    Interrupted at any moment, also by ``kill -9``, the same call goes on and ends with the same
    rows as one that was not; what the banks already hold in full is not computed again.

    Args:
        loaded: the model, of a VLM its language model reads the text alone; or what works with one elsewhere.
        corpus: what to read; it is read twice, or once more to find that nothing is to be done.
        store: where to.
        options: layers, selection, precision.
        progress: told what happens.
        on_plan: called once with the plan, before the model runs.

    Raises:
        LayerError: a layer that does not exist.
        CorpusError: the corpus cannot be read, is empty, or changed meanwhile.
        StateError: a hidden state is NaN, infinite or zero; the message holds its sentence.
        BankMismatchError: a bank exists that was made by another model or other settings.
        BankIncompleteError: a bank waits for the end of the ingest of another corpus.
        StoreError: storing failed; what was stored before stays.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after what was in hand has been stored.
    """
    work = Here(loaded) if isinstance(loaded, LoadedModel) else loaded
    check_layers(options.layers, work.model.n_layers)
    return _Ingest(work, corpus, store, options, progress or Silent(), on_plan).run()


class _Ingest:
    """One run."""

    def __init__(
        self,
        work: Work,
        corpus: Corpus,
        store: Store,
        options: IngestOptions,
        progress: Progress,
        on_plan: Callable[[IngestPlan], None] | None,
    ) -> None:
        self._work = work
        self._model = work.model
        self._corpus = corpus
        self._store = store
        self._options = options
        self._progress = progress
        self._on_plan = on_plan
        self._seconds: dict[str, float] = {}
        self._tokenizer = BulkTokenizer(self._model.tokenizer, self._model.embeddings)
        self._rows = self._tokens = 0
        self._stored: PlanRecord  # what is being written, and how far the rows that were put have come
        self._interruption = Interruption()
        self._durable = 0  # sentences of it whose rows the store has made durable
        self._explained = False  # whether an interruption has been told what it means

    def run(self) -> IngestSummary:
        with self._interruption, self._store.heeding(lambda: self._interruption.requested):
            try:
                return self._run()
            except KeyboardInterrupt:
                if not self._explained:
                    done = f"{self._durable:,} sentences are stored. The same command continues from there."
                    nothing = "Interrupted before any sentence was encoded and stored. The same command starts again."
                    self._explain(f"Interrupted: {done}" if self._durable else nothing)
                raise

    def _run(self) -> IngestSummary:
        existing = {info.name: info for info in self._store.list()}
        wanted = bank_identities(self._model, self._options, existing)
        for identity in wanted:
            if identity.name() in existing:
                existing[identity.name()].record.identity.require_match(identity)
        missing = self._without_complete(wanted, existing)
        plan = self._write(missing, existing) if missing else None
        names = tuple(identity.name() for identity in wanted)
        done = tuple(identity.name() for identity in wanted if identity not in missing)
        return IngestSummary(names, done, plan, self._rows, self._tokens, self._seconds, self._disk_bytes(names))

    def _without_complete(self, wanted: list[BankIdentity], existing: Mapping[str, BankInfo]) -> list[BankIdentity]:
        """The banks that do not hold the whole corpus yet."""
        names = set(self._corpus.names)
        candidates = []
        for identity in wanted:
            info = existing.get(identity.name())
            if info and info.record.state == "complete" and names <= {c.name for c in info.record.corpora}:
                candidates.append(identity.name())
        if not candidates:
            return wanted
        with self._timed("read"):
            prints = set(fingerprint(self._corpus, self._progress).items())
        holding = {
            name
            for name in candidates
            if prints <= {(c.name, c.fingerprint) for c in existing[name].record.corpora}
            and not lacks_rows(self._store, existing[name], names, self._progress)
        }
        return [identity for identity in wanted if identity.name() not in holding]

    def _write(self, identities: list[BankIdentity], existing: Mapping[str, BankInfo]) -> IngestPlan:
        options, names = self._options, [identity.name() for identity in identities]
        with self._timed("read"):
            selection = self._work.select(self._corpus, options, self._progress)
        # What the banks say now, before the work; the writer asks again, under its lock.
        planned = selection.plan()
        start = min(already_done(existing[name], planned) if name in existing else 0 for name in names)
        held = [corpus.name for name in names if name in existing for corpus in existing[name].record.corpora]
        with self._timed("collect"):
            texts = collect(self._corpus, selection, options.seed, self._progress, self._tokenizer)
        for line in self._corpus.remarks():
            self._progress.note(line)
        with texts:
            long = text_beyond(texts, selection.first, len(selection.kept))
            plan = self._plan(names, selection, start, tuple(dict.fromkeys(held)), long)
            if self._on_plan is not None:
                self._on_plan(plan)
            for line in plan.lines():
                self._progress.note(line)
            if self._options.centre:
                with self._timed("centre"):
                    identities = with_means(
                        identities, lambda layers: self._work.means(layers, options, selection, texts, self._progress)
                    )
            with self._store.writer(identities, self._model.source, expected_rows=plan.rows, plan=planned) as writer:
                self._stored = going_on(writer, planned, selection, texts, self._tokenizer)
                self._durable = self._stored.done
                with self._timed("encode"):
                    self._encode(writer, identities, selection, texts)
                with self._timed("index"):
                    self._finish(writer, selection)
        return plan

    def _plan(
        self, names: Sequence[str], selection: Selection, start: int, beside: tuple[str, ...], long: int
    ) -> IngestPlan:
        rows, tokens = len(selection.kept), selection.tokens()
        return IngestPlan(
            banks=tuple(names),
            corpora=tuple(selection.tally.sentences),
            sentences=sum(selection.tally.sentences.values()),
            tokens=sum(selection.tally.tokens.values()),
            rows=rows,
            distinct_tokens=len(np.unique(selection.kept.token)),
            sentences_to_encode=len(selection.hashes),
            tokens_to_encode=tokens,
            tokens_done=tokens - selection.tokens(start),
            truncated=selection.truncated,
            beside=beside,
            computing=self._model.chosen.reason if self._model.chosen else "",
            disk_bytes=len(names)
            * bank_bytes(rows, self._model.dim, self._options.vector_dtype, self._options.index, long),
        )

    def _encode(
        self,
        writer: BankWriter,
        identities: Sequence[BankIdentity],
        selection: Selection,
        texts: Texts,
    ) -> None:
        options = self._options
        start = self._stored.done
        reached = Reached(self._stored)
        self._progress.start("Encoding", selection.tokens(start), "tokens")
        flushed, pause = time.monotonic(), options.flush_seconds
        interruption = self._interruption
        with interruption.deferred():
            for done in self._work.encode(writer, identities, options, selection, texts, start):
                if done is not None:
                    self._stored = reached.add(done)
                    self._rows += done.written
                    self._tokens += done.tokens
                    self._progress.advance(done.tokens)
                leaving = interruption.requested
                if leaving or time.monotonic() - flushed >= pause:
                    began = time.monotonic()
                    self._flush(writer)
                    flushed = time.monotonic()
                    pause = flush_pause(options.flush_seconds, flushed - began)
                if leaving:
                    self._leave()
            self._flush(writer)
            if interruption.requested:
                self._leave()
        self._progress.finish()

    def _flush(self, writer: BankWriter) -> None:
        writer.flush(self._stored)
        self._durable = self._stored.done

    def _leave(self) -> None:
        """End here, as was asked for; what is in hand is stored."""
        done, total = self._stored.done, self._stored.total
        self._explain(
            f"Interrupted: {done:,} of {total:,} sentences are stored. The same command continues from there."
            if done < total
            else "Interrupted: every row is stored. The same command builds the index."
        )
        raise self._interruption.error()

    def _explain(self, text: str) -> None:
        self._explained = True
        self._progress.finish()
        self._progress.note(text)

    def _finish(self, writer: BankWriter, selection: Selection) -> None:
        advanced = phase_of(self._progress, "Indexing", "rows")
        try:
            corpora = corpus_records(selection, self._stored.rows)
            writer.finish(corpora, self._options.index, advanced, graph=self._options.graph)
        except KeyboardInterrupt:
            self._explain("Interrupted: every row is stored. The same command builds the index.")
            raise
        self._progress.finish()

    def _disk_bytes(self, names: Sequence[str]) -> int | None:
        sizes = [self._store.disk_bytes(info) for info in self._store.list() if info.name in names]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + time.monotonic() - began
