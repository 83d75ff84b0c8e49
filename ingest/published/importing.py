"""A published bank into banks of ours, layer by layer: what its files say, checked with the model.

Memory: the model, the metadata of one layer (some hundred bytes a row) and some :data:`BATCH_BYTES` of vectors; the
rows stay in their file. Before a layer is written, some of its states are computed again. Each layer's bank is
complete before the next begins, so an interrupted import goes on with the layer that it was at, from its beginning:
its plan is on record, and no other file's rows are taken meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ...models.tokens import BulkTokenizer
from ...schemas.collection import UNKNOWN_DTYPE, BankIdentity
from ...schemas.corpora import CorpusRecord
from ...schemas.errors import BankMismatchError, InputError, StateError
from ...schemas.imports import ImportRecord
from ...schemas.layers import LayerChoice
from ...schemas.plans import PlanRecord, plan_key
from ...schemas.progress import Progress, Silent
from ...schemas.words import RULES as WORD_RULES
from ...store.found import BankInfo
from ...store.records import begun
from ...store.store import Store
from ...store.writing import BankWriter
from ..resuming import lacks_rows
from .caches import find_caches
from .imported import Imported
from .locating import Located, Locator, fingerprint_of
from .official import (
    Cache,
    choose_layers,
    declared,
    read_cache,
    sha256_of,
)
from .recomputing import CHECKED, require_own
from .sifting import Sieve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...models.loading import LoadedModel

#: Vectors in hand at a time, as float32.
BATCH_BYTES = 2**25
#: Share of the rows of a bank whose token must stand in its sentence: else another tokenizer made them.
_AT_LEAST = 0.5
#: Versions of what decides which rows a file gives; on record while they are written.
RULES = {"import": 1, "words": WORD_RULES}


@dataclass(frozen=True)
class Target:
    """The model that made the states.

    Attributes:
        loaded: the model.
        identity: of any of its layers.
        tokenizer: its own.
    """

    loaded: LoadedModel
    identity: BankIdentity
    tokenizer: BulkTokenizer

    @classmethod
    def of(cls, loaded: LoadedModel, vector_dtype: str) -> Target:
        """Of a loaded model."""
        identity = loaded.identity(0, vector_dtype=vector_dtype, max_contexts=None, seed=0)
        return cls(loaded, identity, BulkTokenizer(loaded.tokenizer, loaded.embeddings))


def import_bank(
    target: Target,
    folder: Path,
    store: Store,
    layers: LayerChoice | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> list[Imported]:
    """Import a published bank.

    Args:
        target: the model that made it.
        folder: with a folder ``layer_N`` for each layer.
        store: where to.
        layers: layers to import; default all.
        name: of the corpus in the payload; default the folder's.
        progress: told what happens.

    Raises:
        LayerError: a layer that is not there, or is after the final norm.
        InputError: a file that cannot be read safely, or that another tokenizer made.
        BankMismatchError: states of another width; or a bank of that model and layer exists.
        BankIncompleteError: a bank waits for the rest of another import.
        StoreError: storing failed.
    """
    folder = folder.resolve()
    chosen = choose_layers(find_caches(folder), target.identity.n_layers, layers)
    telling, corpus = progress or Silent(), name or folder.name
    return [_Layer(target, folder, path, layer, corpus, telling).into(store) for layer, path in chosen.items()]


class _Layer:
    """The import of one layer."""

    def __init__(self, target: Target, folder: Path, path: Path, layer: int, name: str, progress: Progress) -> None:
        self._target, self._folder, self._path, self._layer = target, folder, path, layer
        self._name, self._progress = name, progress
        self._file = f"{path.parent.name}/{path.name}"
        self._sieve = Sieve()
        self._cosine, self._checked = 0.0, 0

    def into(self, store: Store) -> Imported:
        self._progress.note(f"Reading {self._file}")
        digest = sha256_of(self._path)
        existing = {info.name: info for info in store.list()}.get(self._target.identity.at_layer(self._layer).name())
        if existing is not None and self._settled(store, existing, digest):
            return Imported(existing.name, self._layer, existing.rows, None)
        cache = read_cache(self._path)
        self._require_fit(cache)
        identity, plan = self._identity(cache), self._plan(cache, digest)
        if existing is not None and existing.record.state == "building":
            # The writer asks again, under its lock; what it says of another file's settings would mislead.
            begun(existing.name, existing.record, plan, lambda: existing.rows == 0)
            if not existing.rows and existing.record.identity != identity:
                store.drop(existing.name)  # nothing of another file has come yet
        source, rows = self._target.loaded.source, len(cache.metadata)
        writer = store.writer([identity], source, expected_rows=rows, plan=plan)
        try:
            with writer:
                record = self._record(store, writer, cache, plan, digest)
        except (InputError, BankMismatchError, StateError):
            # The file is refused: nothing will ever finish the bank.
            if existing is None or existing.record.state != "complete":
                store.drop(identity.name())
            raise
        return Imported(identity.name(), self._layer, self._sieve.rows, record)

    def _record(self, store: Store, writer: BankWriter, cache: Cache, plan: PlanRecord, digest: str) -> ImportRecord:
        """Write the rows, and make the bank complete.

        Raises:
            InputError: none of them can be used.
        """
        locator = self._write(writer, cache)
        if not self._sieve.rows:
            raise InputError(f"No row of {self._file} can be used: {self._sieve.left_out()}.", "Fetch it again.")
        record = self._sieve.record(
            cache,
            folder=self._folder,
            file=self._file,
            digest=digest,
            checked=self._checked,
            cosine=self._cosine,
            declared=declared(self._folder),
        )
        print_, rows = plan.corpora[self._name], self._sieve.rows
        writer.finish(CorpusRecord(self._name, print_, locator.sentences, locator.tokens, rows, imported=record))
        return record

    def _plan(self, cache: Cache, digest: str) -> PlanRecord:
        """What is on record before the first row: of which file, under which name, by which rules."""
        prints = {self._name: fingerprint_of(entry["caption"] for entry in cache.metadata)}
        key = plan_key("import", digest, self._name, RULES)
        source = f"{self._folder / self._file} (sha256 {digest[:12]})"
        return PlanRecord("import", key, prints, RULES, source=source, total=len(cache.metadata))

    def _settled(self, store: Store, info: BankInfo, digest: str) -> bool:
        """Whether the bank is there already, with all of its rows.

        Raises:
            BankMismatchError: it holds something else.
        """
        record = info.record
        imports = [c.imported.sha256 for c in record.corpora if c.imported is not None]
        if record.state == "complete" and imports == [digest]:
            return not lacks_rows(store, info, [corpus.name for corpus in record.corpora], self._progress)
        if record.state == "building" and record.identity.compute_dtype == UNKNOWN_DTYPE:
            return False  # of which file its rows are is asked next
        raise BankMismatchError(
            f"Bank {info.name} exists already, with other rows than {self._file}.",
            f"Import into another --store, or drop the bank: lensbank banks drop {info.name}",
        )

    def _require_fit(self, cache: Cache) -> None:
        dim = self._target.identity.dim
        if cache.embeddings.shape[1] != dim:
            raise BankMismatchError(
                f"The states of {self._file} have width {cache.embeddings.shape[1]}; those of "
                f"{self._target.identity.model} have width {dim}.",
                "Give the model that made the states.",
            )
        if not cache.metadata:
            raise InputError(f"{self._path} holds no rows.", "Fetch it again.")

    def _identity(self, cache: Cache) -> BankIdentity:
        most = max(Counter(entry["token_id"] for entry in cache.metadata).values())
        vectors = self._target.identity.vector_dtype
        own = self._target.loaded.identity(self._layer, vector_dtype=vectors, max_contexts=most, seed=0)
        return replace(own, compute_dtype=UNKNOWN_DTYPE)

    def _write(self, writer: BankWriter, cache: Cache) -> Locator:
        locator = Locator(self._target.tokenizer, self._name, self._file)
        total = len(cache.metadata)
        step = max(1, BATCH_BYTES // (4 * cache.embeddings.shape[1]))
        self._progress.start(f"Importing layer {self._layer}", total, "rows")
        for first in range(0, total, step):
            end = min(total, first + step)
            states = _floats(cache.embeddings[first:end])
            found = locator.locate(cache.metadata[first:end], first)
            if first == 0:
                self._require_tokenizer(found)
                self._require_model(cache, found, states)
            self._put(writer, found, states)
            self._progress.advance(end - first)
        writer.flush()
        self._progress.finish()
        return locator

    def _require_tokenizer(self, found: Sequence[Located]) -> None:
        """Refuse a bank of which the model's tokenizer recognises little."""
        kinds = Counter(row.kind for row in found)
        tried = kinds["located"] + kinds["relocated"] + kinds["unlocated"]
        if kinds["located"] + kinds["relocated"] < _AT_LEAST * tried:
            raise InputError(
                f"Only {kinds['located'] + kinds['relocated']:,} of the first {tried:,} tokens of {self._file} were "
                f"found in their sentences with the tokenizer of {self._target.identity.model}.",
                "Give the model that made the bank.",
            )

    def _require_model(self, cache: Cache, found: Sequence[Located], states: NDArray[np.float32]) -> None:
        """Have some states computed again.

        Raises:
            BankMismatchError: they are others, or another layer's.
        """
        norms = np.linalg.norm(states.astype(np.float64), axis=1)
        usable = (np.isfinite(norms) & (norms > 0)).tolist()
        there = [row for row, place in enumerate(found) if place.kind == "located" and usable[row]]
        rows = [there[i * len(there) // CHECKED] for i in range(CHECKED)] if len(there) > CHECKED else there
        entries, target, self._checked = [cache.metadata[row] for row in rows], self._target, len(rows)
        if rows:
            self._cosine = require_own(target.loaded, target.tokenizer, self._layer, entries, states[rows], self._file)

    def _put(self, writer: BankWriter, found: Sequence[Located], states: NDArray[np.float32]) -> None:
        kept, norms = self._sieve.sift(found, states)
        if kept:
            payloads: list[Any] = [found[row].payload for row in kept]
            ids = [found[row].id for row in kept]
            writer.put(ids, payloads, {self._layer: states[kept]}, {self._layer: norms[kept]})


def _floats(rows: Tensor) -> NDArray[np.float32]:
    """Rows of any floating type as float32: what was mapped is read here."""
    wide: NDArray[np.float32] = rows.detach().float().numpy()
    return wide
