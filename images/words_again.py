"""Words of image banks, looked up again from their stored vectors: no image is read, and no model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from ..banks.interrupts import Interruption
from ..banks.of_model import bank_facts
from ..banks.of_store import at_layers, of_kind, readable
from ..query.bank_product import product_of
from ..query.lenses import LatentLens, Words
from ..schemas import filters
from ..schemas.collection import BankIdentity
from ..schemas.corpora import CorpusRecord
from ..schemas.errors import BankMismatchError, UsageError
from ..schemas.indexes import IndexRecord
from ..schemas.kinds import fault_of
from ..schemas.layers import LayerChoice
from ..schemas.plans import PlanRecord, plan_key
from ..schemas.progress import Progress
from ..schemas.results import Neighbor
from ..store.bank import Bank
from ..store.found import BankInfo
from ..store.store import Store
from ..store.unfinished import require_complete
from ..store.vectors import NoVectors
from ..store.writing import BankWriter
from .facts import bank_on_record, copies_of
from .finding import image_banks
from .grouping import require_sound
from .present import held_of, of_image
from .rows import LATENT_FIELDS, latent_fields

# Bytes of vectors that are held at once; their payload takes about as much.
_BYTES_AT_ONCE = 64 << 20


@dataclass(frozen=True, slots=True)
class WordsAgainOptions:
    """How words are looked up again; ``None`` keeps the setting on record.

    Attributes:
        name: of the set of images; ``None`` for all.
        model: whose image banks, where the store holds those of several.
        layers: of the image banks; ``None`` for all.
        bank_layers: of the text banks; ``None`` for all.
        top_k: words per visual token.
        where: conditions on corpus tokens, as typed.
        search: ``engine`` has the database compare every row; else by a product where that can be had.
    """

    name: str | None = None
    model: str | None = None
    layers: LayerChoice | None = None
    bank_layers: LayerChoice | None = None
    top_k: int | None = None
    where: Sequence[str] | None = None
    search: str | None = None


def look_words_up_again(store: Store, options: WordsAgainOptions, progress: Progress) -> list[str]:
    """Look the words of indexed images up again, in the text banks that there are now.

    Vectors stay as they are, bit for bit; so do the words of LogitLens and EmbeddingLens, which follow from the model
    alone. A bank is ``building`` until all of its words are told; interrupted at any moment, the same call goes on.

    Args:
        store: of image banks and text banks.
        options: which, and how.
        progress: told what happens.

    Returns:
        What was done, a sentence a bank and set.

    Raises:
        BankNotFoundError: no image bank, no set of that name, or no text bank.
        BankMismatchError: all text banks are of another model.
        BankIncompleteError: an image bank waits for the rest of an index.
        UsageError: other words than LatentLens's would change, or there are none of its.
        StoreError: storing failed, or a row is damaged.
    """
    images = store.origin  # only text banks may be copies
    infos = image_banks(images, (), options.model, options.layers)
    names = [c.name for info in infos for c in _corpora(info) if options.name in (None, c.name)]
    if not names:
        raise UsageError(f"No image bank holds a set {options.name!r}.", "lensbank banks show names those there are.")
    texts = _text_banks(store, infos[0].record.identity, options.bank_layers)
    interruption = Interruption()
    with ExitStack() as opened, interruption, store.heeding(lambda: interruption.requested):
        banks = [opened.enter_context(store.open(info.name)) for info in texts]
        said = []
        for info in infos:
            for corpus in (one for one in _corpora(info) if one.name in names):
                said.append(_Retelling(images, info, corpus, banks, options, progress).run())
        return said


def _corpora(info: BankInfo) -> list[CorpusRecord]:
    return [corpus for corpus in info.record.corpora if corpus.indexed is not None]


def _text_banks(store: Store, images: BankIdentity, layers: LayerChoice | None) -> list[BankInfo]:
    """The complete text banks of the language model that made image banks, by layer.

    Raises:
        BankNotFoundError: there are none, or only centred ones.
        BankMismatchError: all are another model's.
        LayerError: none of a layer that is asked for.
        BankIncompleteError: one of those that are asked for, or all, are not finished.
    """
    found, refused = list[BankInfo](), list[BankMismatchError]()
    for info in readable(store):
        text = info.record.identity
        try:
            text.require_language_model(replace(images, layer=text.layer, centred=text.centred))
            found.append(info)
        except BankMismatchError as error:
            refused.append(error)
    if not found:
        raise BankMismatchError(refused[0].message, "Ingest a corpus with the model that made the image banks.")
    found = of_kind(found, centred=False)
    if layers is not None:
        found = at_layers(found, layers, store.damaged())
    complete = [info for info in found if info.record.state == "complete"]
    for info in found if layers is not None or not complete else ():
        require_complete(info.name, info.record, store.address)
    return sorted(complete, key=lambda info: (info.record.identity.layer, info.name))


class _Retelling:
    """One set of images in one bank."""

    def __init__(
        self,
        store: Store,
        info: BankInfo,
        corpus: CorpusRecord,
        texts: Sequence[Bank],
        options: WordsAgainOptions,
        progress: Progress,
    ) -> None:
        assert corpus.indexed is not None
        self._store, self._info, self._progress = store, info, progress
        self._record = _as_asked(corpus, corpus.indexed, texts, options)
        self._corpus = replace(corpus, indexed=self._record)
        self._read = self._record.digest()
        products = [None if options.search == "engine" else product_of(bank, torch.device("cpu")) for bank in texts]
        self._lens = LatentLens(
            texts,
            self._record.top_k,
            filters.parse(self._record.where),
            "word" if self._record.distinct else None,
            products=[None if isinstance(one, NoVectors) else one for one in products],
        )
        self._plan = PlanRecord("words", plan_key("words", corpus.name), {corpus.name: corpus.fingerprint})

    def run(self) -> str:
        """Look up the words that are still missing."""
        name = self._corpus.name
        with self._store.open(self._info.name, allow_incomplete=True) as bank:
            record, held = bank.record, held_of(bank, name)
        if record.state != "complete" and (record.plan is None or record.plan.key != self._plan.key):
            require_complete(self._info.name, record, self._store.address)
        todo = sorted(image for image, one in held.items() if one.read != self._read)
        if not todo and record.state == "complete":
            return f"{self._info.name}: the words of {name} already come from these text banks and settings."
        total = sum(one.tokens for one in held.values())
        self._progress.start(f"Looking up words of {name}", sum(held[image].rows for image in todo), "rows")
        done = total - sum(held[image].rows for image in todo)
        while True:
            rows = self._rows(todo)
            done += len(rows)
            with self._store.writer([record.identity], record.source, plan=replace(self._plan, total=total)) as writer:
                if rows:
                    self._put(writer, record.identity.layer, rows)
                if todo:
                    writer.flush(replace(self._plan, total=total, done=done))
                else:
                    writer.finish(self._corpus)
                    break
            self._progress.advance(len(rows))
        self._progress.finish()
        layers = ", ".join(str(bank["layer"]) for bank in self._record.banks)
        images = "1 image" if len(held) == 1 else f"{len(held):,} images"
        return f"{self._info.name}: words of {images} of {name} looked up again in text banks of layer {layers}."

    def _rows(self, todo: list[str]) -> list[tuple[str, Any, dict[str, Any]]]:
        """Rows of the next images, which are taken off the list."""
        rows: list[tuple[str, Any, dict[str, Any]]] = []
        enough = min(32_768, max(1024, _BYTES_AT_ONCE // (4 * self._info.record.identity.dim)))
        with self._store.open(self._info.name, allow_incomplete=True) as bank:
            while todo and len(rows) < enough:
                image = todo.pop(0)
                for row in chain.from_iterable(bank.pages(with_vectors=True, where=of_image(self._corpus.name, image))):
                    require_sound(bank, row[0], fault_of("image", row[0], row[2]))
                    rows.append(row)
        return rows

    def _put(self, writer: BankWriter, layer: int, rows: Sequence[tuple[str, Any, dict[str, Any]]]) -> None:
        states = np.stack([vector for _, vector, _ in rows]).astype(np.float32)
        found = self._lens.read({layer: states}).found[layer]
        payloads = [self._told(payload, near) for (_, _, payload), near in zip(rows, found, strict=True)]
        norms = np.array([payload["norm"] for payload in payloads], np.float32)
        writer.put([name for name, _, _ in rows], payloads, {layer: states}, {layer: norms})

    def _told(self, payload: Mapping[str, Any], words: Sequence[Words]) -> dict[str, Any]:
        """A row's payload with other words."""
        near = [word for word in words if isinstance(word, Neighbor)]
        kept = {name: value for name, value in payload.items() if name not in LATENT_FIELDS}
        told = {name: list(value) for name, value in latent_fields(near).items() if value}
        best = _best(self._record.lenses, near, payload)
        return {**kept, **told, "corpus": list(payload["corpus"]), "best": best, "read": self._read}


def _best(lenses: Sequence[str], near: Sequence[Neighbor], payload: Mapping[str, Any]) -> str:
    """The first word of the first lens that gave one, as :mod:`images.rows` has it."""
    for number, lens in enumerate(lenses):
        if lens == "latent" and near:
            return near[0].word
        if lens != "latent" and payload.get(lens):
            return str(payload[lens][0] if "latent" in lenses[:number] else payload["best"])
    return ""


def _as_asked(
    corpus: CorpusRecord, before: IndexRecord, texts: Sequence[Bank], options: WordsAgainOptions
) -> IndexRecord:
    """How the words will have been found.

    Raises:
        UsageError: there are none of LatentLens; or those of other lenses would have to change.
    """
    if "latent" not in before.lenses:
        raise UsageError(
            f"The images {corpus.name} were indexed with {', '.join(before.lenses)}: they have no words of LatentLens.",
            "Index them with --again and --lens latent.",
        )
    record = replace(
        before,
        banks=[bank_on_record(bank_facts(bank)) for bank in texts],
        local_copies=copies_of(texts),
        top_k=before.top_k if options.top_k is None else options.top_k,
        where=list(before.where) if options.where is None else [str(one) for one in filters.parse(options.where)],
    )
    changed = [name for name in ("top_k", "where") if name in before.differences(record)]
    if len(before.lenses) > 1 and changed:
        raise UsageError(
            f"The images {corpus.name} have words of {', '.join(before.lenses)}, and another {' and '.join(changed)} "
            "would change all of them; without the model, only the words of LatentLens can be looked up again.",
            "Leave that option out, or index the images with --again.",
        )
    return record
