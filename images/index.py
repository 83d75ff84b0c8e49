"""Images into image banks: the model sees each once, the lenses describe its visual tokens, and both are stored."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..banks.interrupts import Interruption
from ..models.visual_tokens import rendered_prompt, require_vision
from ..query.asked import Asked
from ..query.asking import ask_image
from ..query.pipeline import QuerySession
from ..schemas.collection import BankIdentity
from ..schemas.corpora import CorpusRecord
from ..schemas.errors import (
    ImageError,
    InputError,
    ModelError,
    UnsupportedModelError,
    UsageError,
)
from ..schemas.filters import Condition
from ..schemas.indexes import IndexRecord
from ..schemas.plans import PlanRecord, plan_key
from ..schemas.progress import Progress, Silent
from ..store.base import Store
from ..store.writing import BankWriter
from .comparing import Comparing, Work
from .options import IndexOptions, IndexSummary
from .rows import of_tokens, rows_of_image
from .sets import ImageSet, SetImage, fingerprint, hashed

if TYPE_CHECKING:
    from ..models.loading import LoadedModel

#: States that the lenses read at once: several images of few visual tokens, one of many.
_STATES_AT_ONCE = 1024


def run(
    session: QuerySession,
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
        session: the model, with the lenses that describe visual tokens.
        images: see :func:`images.sets.gather`.
        store: where to; it may be the one of the session's text banks.
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
    return _Index(session, images, store, options or IndexOptions(), progress or Silent()).run()


def image_identity(loaded: LoadedModel, layer: int, prompt: str, vector_dtype: str) -> BankIdentity:
    """The identity of the image bank of a model at a layer.

    Args:
        loaded: a VLM.
        layer: see :data:`schemas.collection.LAYER_CONVENTION`.
        prompt: as rendered; what stands before an image changes its states.
        vector_dtype: as stored.
    """
    facts = json.dumps([dict(loaded.vision), prompt], sort_keys=True)
    identity = loaded.identity(layer, vector_dtype=vector_dtype, max_contexts=None, seed=0)
    return replace(identity, kind="image", visual=hashlib.sha256(facts.encode()).hexdigest())


class _Index:
    """One run."""

    def __init__(
        self, session: QuerySession, images: ImageSet, store: Store, options: IndexOptions, progress: Progress
    ) -> None:
        asked = session.options
        if asked.centre or asked.patches:
            what = "centred states" if asked.centre else "single patches"
            raise UsageError(
                f"An index holds all patches of unchanged images, but {what} were given.", "Leave that option out."
            )
        asked.require_patches("An index")
        require_vision(session.loaded)
        self._session, self._images, self._store = session, images, store
        self._options, self._progress = options, progress
        self._interruption = Interruption()
        self._began = time.monotonic()
        prompt = rendered_prompt(session.loaded, asked.prompt)
        self._identities = [
            image_identity(session.loaded, layer, prompt, options.vector_dtype) for layer in session.layers
        ]
        self._record = IndexRecord(
            folder=str(images.folder),
            prompt=prompt,
            lenses=list(asked.lenses),
            top_k=asked.top_k,
            where=[str(condition) for condition in asked.where],
            distinct=asked.distinct,
            banks=[facts_of(bank) for bank in session.bank_facts],
            annotations=images.annotations,
        )
        self._read = self._record.digest()

    def run(self) -> IndexSummary:
        with self._interruption, self._store.heeding(lambda: self._interruption.requested):
            self._progress.start("Reading files", len(self._images.images), "images")
            digests, odd = hashed(self._images.images, self._progress.advance)
            self._progress.finish()
            comparing = Comparing(self._store, self._images, self._record, self._options)
            work = comparing.look(self._identities, digests)
            work.odd.update(odd)
            there, removed = len(digests) - len(work.todo), self._pruned(work)
            if work.identities:
                self._write(work, digests)
        names = tuple(identity.name() for identity in self._identities)
        sizes = [self._store.disk_bytes(info) for info in self._store.list() if info.name in names]
        return IndexSummary(
            banks=names,
            name=self._images.name,
            images=len(self._images.images),
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

    def _pruned(self, work: Work) -> frozenset[str]:
        return work.surplus if self._options.prune else frozenset()

    def _write(self, work: Work, digests: Mapping[str, str]) -> None:
        name = self._images.name
        plan = PlanRecord(
            kind="index",
            key=plan_key("index", name),  # what is there of it is known image by image
            corpora={name: fingerprint(digests)},
            total=len(digests),
            done=len(digests) - len(work.todo),
        )
        batches = self._batches(work)
        batch = next(batches, None)  # before any bank is touched: there may be nothing that can be read
        if batch is None and not (work.whole or work.broken):
            return
        with ExitStack() as writing:
            writers = {
                one.layer: writing.enter_context(self._store.writer([one], self._session.loaded.source, plan=plan))
                for one in work.identities
            }
            for broken in sorted(work.broken | self._pruned(work)):
                self._remove(writers, work, broken)
            self._progress.start("Indexing", len(work.todo), "images")
            self._progress.advance(len(work.odd))
            flushed = time.monotonic()
            with self._interruption.deferred():
                while batch is not None:
                    for image, asked, said in batch:
                        self._put(writers, work, image, asked, said)
                    plan = plan.at(len(digests) - len(work.todo) + work.written, {})
                    if self._interruption.requested or time.monotonic() - flushed >= self._options.flush_seconds:
                        for writer in writers.values():
                            writer.flush(plan)
                        flushed = time.monotonic()
                    if self._interruption.requested:
                        self._leave(work)
                    batch = next(batches, None)
            self._progress.finish()
            self._finish(writers, work)

    def _batches(self, work: Work) -> Iterator[list[tuple[SetImage, Asked, Any]]]:
        """Images that have been shown to the model, with what the lenses say, some at a time."""
        batch: list[tuple[SetImage, Asked]] = []
        layers = [identity.layer for identity in work.identities]
        for image in work.todo:
            try:
                batch.append((image, self._ask(image, layers)))
            except (ImageError, InputError, ModelError) as error:
                if isinstance(error, UnsupportedModelError):
                    raise  # the model's fault, whatever the image
                work.odd[image.name] = error.message
                self._progress.advance(1)
                continue
            if sum(len(asked.tokens) for _, asked in batch) * len(layers) >= _STATES_AT_ONCE:
                yield self._said(batch, layers)
                batch = []
        if batch:
            yield self._said(batch, layers)

    def _ask(self, image: SetImage, layers: Sequence[int]) -> Asked:
        asked = ask_image(self._session.loaded, image.path, layers, self._session.options)
        if image.size is not None and image.size != (asked.width, asked.height):
            raise InputError(
                f"it is annotated as {image.size[0]} x {image.size[1]} pixels, but has {asked.width} x "
                f"{asked.height}, so the boxes would be in the wrong place"
            )
        return asked

    def _said(
        self, batch: Sequence[tuple[SetImage, Asked]], layers: Sequence[int]
    ) -> list[tuple[SetImage, Asked, Any]]:
        """Let the lenses read the states of some images at once."""
        stacked = {layer: np.concatenate([asked.states[layer] for _, asked in batch]) for layer in layers}
        answers = self._session.vectors(stacked, silent=True)
        found, start = [], 0
        for image, asked in batch:
            end = start + len(asked.tokens)
            found.append((image, asked, {layer: of_tokens(answers, layer, start, end) for layer in layers}))
            start = end
        return found

    def _put(
        self, writers: Mapping[int, BankWriter], work: Work, image: SetImage, asked: Asked, said: Mapping[int, Any]
    ) -> None:
        if image.name in work.whole:
            self._remove(writers, work, image.name)
            work.replaced += 1
        for layer, writer in writers.items():
            ids, payloads = rows_of_image(self._images.name, image, asked, said[layer], self._read)
            states = asked.states[layer]
            writer.put(ids, payloads, {layer: states}, {layer: np.linalg.norm(states, axis=1).astype(np.float32)})
        work.digests[image.name], work.tokens[image.name] = asked.sha256, len(asked.tokens)
        work.written += 1
        self._progress.advance(1)

    def _remove(self, writers: Mapping[int, BankWriter], work: Work, image: str) -> None:
        work.digests.pop(image, None)
        work.tokens.pop(image, None)
        where = (Condition("corpus", "=", (self._images.name,)), Condition("image", "=", (image,)))
        for writer in writers.values():
            writer.remove(where)

    def _finish(self, writers: Mapping[int, BankWriter], work: Work) -> None:
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

    def _leave(self, work: Work) -> None:
        """End here, as was asked for; what is in hand is stored."""
        self._progress.finish()
        self._progress.note(
            f"Interrupted: {work.written:,} of {len(work.todo):,} images are stored. The same command continues from "
            "there."
        )
        raise self._interruption.error()


def facts_of(bank: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a text bank on record: enough to know whether another would say the same.

    Args:
        bank: see :func:`banks.of_model.bank_facts`.
    """
    corpora = {corpus["name"]: corpus["fingerprint"] for corpus in bank["corpora"]}
    return {"name": bank["name"], "layer": bank["layer"], "rows": bank["rows"], "corpora": corpora}
