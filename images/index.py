"""Images into image banks: the model sees each once, the lenses describe its visual tokens, and both are stored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace

from ..banks.interrupts import Interruption
from ..query.pipeline import QuerySession
from ..schemas.collection import BankIdentity
from ..schemas.corpora import CorpusRecord
from ..schemas.errors import StoreLockedError
from ..schemas.filters import Condition
from ..schemas.plans import PlanRecord, plan_key
from ..schemas.progress import Progress, Silent
from ..store.store import Store
from ..store.writing import BankWriter
from .comparing import Comparing, IndexState
from .options import IndexOptions, IndexSummary
from .present import of_image
from .reading import Here, ImageWork, Job, Read
from .sets import ImageSet, fingerprint


def run(
    session: QuerySession | ImageWork,
    images: ImageSet,
    store: Store,
    options: IndexOptions | None = None,
    progress: Progress | None = None,
) -> IndexSummary:
    """Write every visual token of a set of images into one image bank per layer of the session.

    What the banks hold already is not computed again: an image is passed over where its file and the way that it is
    read are those on record, and replaced where they are not. Interrupted at any moment, also by ``kill -9``, the same
    call goes on. An image that cannot be read is named and left out.

    Args:
        session: the model, with the lenses that describe visual tokens; or what works with one elsewhere.
        images: see :func:`images.sets.gather`.
        store: where to; it may be the one of the session's text banks, which may be local copies: image banks are not.
        options: precision, whether to read again.
        progress: told what happens.

    Raises:
        UsageError: the session is centred or reads single patches; or the set on record was read in another way.
        ModelError: a text-only model.
        BankMismatchError: a bank exists that was made with other settings.
        BankIncompleteError: a bank waits for the rest of another set.
        StoreError: storing failed; what was stored before stays.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after what was in hand has been stored.
    """
    options = options or IndexOptions()
    work = Here(session, options.vector_dtype) if isinstance(session, QuerySession) else session
    return _Index(work, images, store, options, progress or Silent()).run()


class _Index:
    """One run."""

    def __init__(
        self, work: ImageWork, images: ImageSet, store: Store, options: IndexOptions, progress: Progress
    ) -> None:
        self._work, self._images, self._store = work, images, store.origin
        self._options, self._progress = options, progress
        self._interruption = Interruption()
        self._began = time.monotonic()
        self._identities = work.facts.identities
        self._record = work.facts.recorded(images)

    def run(self) -> IndexSummary:
        with self._interruption, self._store.heeding(lambda: self._interruption.requested):
            self._progress.start("Reading files", len(self._images.images), "images")
            digests, odd = self._work.hashed(self._images.images, self._progress.advance)
            self._progress.finish()
            comparing = Comparing(self._store, self._images, self._record, self._options)
            work = comparing.compare(self._identities, digests)
            work.odd.update({**self._images.odd, **odd})
            there, removed = len(digests) - len(work.todo), self._pruned(work)
            if work.identities:
                self._write(work, digests)
        names = tuple(identity.name() for identity in self._identities)
        sizes = [self._store.disk_bytes(info) for info in self._store.list() if info.name in names]
        return IndexSummary(
            banks=names,
            name=self._images.name,
            images=len(self._images.images) + len(self._images.odd),
            written=work.written,
            replaced=work.replaced,
            there=there,
            removed=len(removed),
            kept=len(work.surplus - removed),
            rows=sum(work.tokens.values()),
            odd=work.odd,
            seconds=time.monotonic() - self._began,
            disk_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
        )

    def _pruned(self, work: IndexState) -> frozenset[str]:
        return work.surplus if self._options.prune else frozenset()

    def _write(self, work: IndexState, digests: Mapping[str, str]) -> None:
        name = self._images.name
        plan = PlanRecord(
            kind="index",
            key=plan_key("index", name),  # what is there of it is known image by image
            corpora={name: fingerprint(digests)},
            total=len(digests),
            done=len(digests) - len(work.todo),
        )
        job = Job(name, work.todo, [one.layer for one in work.identities], self._record.digest())
        with ExitStack() as writing:
            writers = dict[int, BankWriter]()

            def opened(tokens: float) -> Mapping[int, BankWriter]:
                if not writers:
                    rows = round(tokens * len(work.todo)) or None
                    for one in work.identities:
                        writers[one.layer] = writing.enter_context(self._writer(one, plan, rows))
                    for broken in sorted(work.broken | self._pruned(work)):
                        self._remove(writers, work, broken)
                return writers

            if work.whole or work.broken:
                opened(0)  # else not before an image could be read: there may be none
            self._progress.start("Indexing", len(work.todo), "images")
            with self._interruption.deferred():
                self._follow(self._work.read(job, opened), writers, work, plan)
            self._progress.finish()
            if writers:
                self._finish(writers, work)

    def _follow(
        self, reads: Iterator[Read | None], writers: Mapping[int, BankWriter], work: IndexState, plan: PlanRecord
    ) -> None:
        """Keep account of what is read and stored."""
        flushed, there = time.monotonic(), plan.done
        for read in reads:
            if read is not None:
                self._count(writers, work, read)
            leaving = self._interruption.requested
            if leaving or time.monotonic() - flushed >= self._options.flush_seconds:
                for writer in writers.values():
                    writer.flush(plan.at(there + work.written, {}))
                flushed = time.monotonic()
            if leaving:
                self._leave(work)

    def _writer(self, identity: BankIdentity, plan: PlanRecord, rows: int | None) -> BankWriter:
        return self._store.writer([identity], self._work.facts.source, expected_rows=rows, plan=plan)

    def _count(self, writers: Mapping[int, BankWriter], work: IndexState, read: Read) -> None:
        self._progress.advance(1)
        if read.odd:
            work.odd[read.name] = read.odd
            return
        if read.name in work.whole:
            work.replaced += 1
            if work.tokens[read.name] > read.tokens:  # the others were replaced by rows of the same ids
                beyond = Condition("position", ">=", (read.tokens,))
                for writer in writers.values():
                    writer.remove((*of_image(self._images.name, read.name), beyond))
        work.digests[read.name], work.tokens[read.name] = read.sha256, read.tokens
        work.written += 1

    def _remove(self, writers: Mapping[int, BankWriter], work: IndexState, image: str) -> None:
        work.digests.pop(image, None)
        work.tokens.pop(image, None)
        for writer in writers.values():
            writer.remove(of_image(self._images.name, image))

    def _finish(self, writers: Mapping[int, BankWriter], work: IndexState) -> None:
        if not work.tokens and not self._is_on_record():
            self._leave_nothing(writers)
            return
        rows = sum(work.tokens.values())
        record = CorpusRecord(
            name=self._images.name,
            fingerprint=fingerprint(work.digests),
            sentences=len(work.tokens),
            tokens=rows,
            rows=rows,
            indexed=replace(self._record, images=len(work.tokens)),
        )
        self._progress.start("Building the index", len(writers), "banks")
        for writer in writers.values():
            writer.finish(record)
            self._progress.advance(1)
        self._progress.finish()

    def _is_on_record(self) -> bool:
        return any(self._images.name in corpora for corpora in self._recorded().values())

    def _recorded(self) -> dict[str, set[str]]:
        """The sets of each of the banks."""
        names = {identity.name() for identity in self._identities}
        found = {info.name: info.record for info in self._store.list() if info.name in names}
        return {name: {corpus.name for corpus in record.corpora} for name, record in found.items()}

    def _leave_nothing(self, writers: Mapping[int, BankWriter]) -> None:
        """End a set none of whose images could be read, after writers were opened: as if none had been."""
        for writer in writers.values():
            writer.finish([])
        for name, corpora in self._recorded().items():
            if not corpora:
                with suppress(StoreLockedError):  # somebody else writes into it by now
                    self._store.drop(name)

    def _leave(self, work: IndexState) -> None:
        """End here, as was asked for; what is in hand is stored."""
        self._progress.finish()
        self._progress.note(
            f"Interrupted: {work.written:,} of {len(work.todo):,} images are stored. The same command continues from "
            "there."
        )
        raise self._interruption.error()
