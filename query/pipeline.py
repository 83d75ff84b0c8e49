"""From an image or a text to its reading: states, then what every lens sees in them, then everything on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from models.layers import check_layers, default_layers
from models.loading import LoadedModel
from query.asking import Asked, ask_image, ask_text
from query.banks import (
    bank_facts,
    bank_layers,
    bank_notes,
    choose_banks,
    model_source,
    require_model,
    unfinished_layers,
)
from query.filtering import filter_notes, plan_searches, split_conditions
from query.images import OpenedImage
from query.lenses import LatentLens, Lens, LensAnswer, Words
from query.options import QueryOptions
from query.recall import Recall, with_recall
from query.vocabulary import Vocabulary
from query.vocabulary_lenses import EmbeddingLens, LogitLens
from schemas.errors import UsageError
from schemas.filters import Condition
from schemas.results import BankSearch, LayerReading, Reading, SearchSettings, TokenReading
from store.base import Bank, Store
from store.records import tool_version

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

__all__ = ["Progress", "QueryOptions", "QuerySession", "choose_banks", "model_source"]


class Progress(Protocol):
    """Where a query reports to. Phases come one after the other."""

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """A phase begins; ``total`` is ``None`` where it is not known."""

    def advance(self, count: int) -> None:
        """So many more units are done."""

    def finish(self) -> None:
        """The phase has ended."""

    def remark(self, text: str) -> None:
        """Something to know before what follows."""


class _Silent:
    """Tells nobody."""

    def start(self, phase: str, total: int | None, unit: str) -> None: ...

    def advance(self, count: int) -> None: ...

    def finish(self) -> None: ...

    def remark(self, text: str) -> None: ...


class QuerySession:
    """A model, its lenses and its open banks, ready for any number of images and texts."""

    def __init__(
        self, store: Store | None, loaded: LoadedModel, options: QueryOptions, progress: Progress | None = None
    ) -> None:
        """Open the banks and check everything that needs no forward pass.

        Args:
            store: where the banks are; may be ``None`` where LatentLens is not asked for.
            loaded: the model.
            options: what is asked.
            progress: where to report to.

        Raises:
            UsageError: a bank layer was asked for without LatentLens.
            LayerError: a query layer the model lacks, or a bank layer the store lacks.
            FilterError: a condition the database cannot express, or that no lens asked for can meet.
            BankNotFoundError, BankMismatchError, BankIncompleteError: see :func:`choose_banks`.
            StoreLockedError: a bank is being written.
            StoreError: a bank cannot be read.
        """
        self._loaded = loaded
        self._options = options
        self._progress = progress or _Silent()
        self._banks: list[Bank] = []
        self._searches: tuple[BankSearch, ...] = ()
        asked = options.layers
        if asked is not None:
            self._layers = check_layers(range(loaded.lm.n_layers + 1) if asked == "all" else asked, loaded.lm.n_layers)
        on_words, self._notes = split_conditions(options.where, options.lenses)
        with ExitStack() as opened:
            if "latent" in options.lenses:
                self._open_banks(store, opened)
            elif options.bank_layers is not None:
                raise UsageError("Only LatentLens searches banks, and it was not asked for.", "Leave out --bank-layer.")
            if asked is None:
                depth = loaded.lm.n_layers
                self._layers = tuple(sorted({0, *(bank_layers(self._banks) or default_layers(depth))}))
            self._facts = tuple(bank_facts(bank) for bank in self._banks)
            self._lenses = [self._lens(name, on_words) for name in options.lenses]
            self._opened = opened.pop_all()

    def image(self, image: str | Path | OpenedImage) -> Reading:
        """Read an image's visual tokens.

        Args:
            image: an image file, ``-`` for standard input, or an image that has been opened.

        Raises:
            ImageError: see :func:`query.images.open_image`.
            ModelError: a text-only model, or one whose visual tokens cannot be located.
            UsageError: a patch outside of the grid; a prompt the model cannot take.
            StateError: a hidden state is NaN, infinite or zero.
            StoreError: the database failed.
        """
        return self.images([image])[0]

    def images(self, images: Sequence[str | Path | OpenedImage]) -> list[Reading]:
        """Read several images; each is shown to the model once, the lenses read all of them at once.

        Raises:
            LensbankError: as :meth:`image`.
        """
        return self._read(
            [ask_image(self._loaded, image, self._layers, self._options, self._progress.remark) for image in images]
        )

    def text(self, text: str) -> Reading:
        """Read a text's tokens, special tokens left out.

        Raises:
            UsageError: no token, too long for the model, not UTF-8; or a patch or prompt was given.
            StateError: a hidden state is NaN, infinite or zero.
            StoreError: the database failed.
        """
        return self._read([ask_text(self._loaded, text, self._layers, self._options)])[0]

    def vectors(self, states: Mapping[int, Floats]) -> dict[str, LensAnswer]:
        """What each lens sees in given states.

        Args:
            states: query layer → ``[n, dim]`` raw hidden states, float32. The layer is a label:
                every lens reads a state alike, whichever layer it came from.

        Returns:
            Lens name → its answer, in the order that the lenses were asked for.

        Raises:
            StateError: a state, or a logit of it, is NaN, infinite or zero.
            StoreError: the database failed.
        """
        count = sum(len(rows) for rows in states.values())
        if not count:
            return {lens.name: LensAnswer({layer: [] for layer in states}) for lens in self._lenses}
        steps = sum(len(self._banks) if lens.name == "latent" else 1 for lens in self._lenses)
        self._progress.start("searching", steps * count, "states")
        try:
            return {lens.name: lens.read(states) for lens in self._lenses}
        finally:
            self._progress.finish()

    def _read(self, asked: Sequence[Asked]) -> list[Reading]:
        import numpy as np

        stacked = {layer: np.concatenate([one.states[layer] for one in asked]) for layer in self._layers}
        answers = self.vectors(stacked)
        readings, start = [], 0
        for one in asked:
            end = start + len(one.tokens)
            found = {
                layer: {name: answer.found[layer][start:end] for name, answer in answers.items()}
                for layer in self._layers
            }
            recall = answers["latent"].recall if "latent" in answers else None
            readings.append(
                self._reading(one, tuple(_layer(one, layer, found[layer]) for layer in self._layers), recall)
            )
            start = end
        return readings

    def _reading(self, asked: Asked, layers: tuple[LayerReading, ...], recall: Recall | None) -> Reading:
        options = self._options
        return Reading(
            kind=asked.kind,
            source=asked.source,
            sha256=asked.sha256,
            width=asked.width,
            height=asked.height,
            prompt=asked.prompt,
            model=self._loaded.provenance(),
            banks=self._facts,
            search=SearchSettings(
                top_k=options.top_k,
                exact=options.exact,
                where=tuple(str(condition) for condition in options.where),
                distinct=options.distinct,
                bank_layers=bank_layers(self._banks),
                recall=None if recall is None else recall.share,
                patches=asked.patches,
                lenses=options.lenses,
                recall_states=recall.states if recall and recall.share is not None else None,
                banks=with_recall(self._searches, recall),
            ),
            views=asked.views,
            layers=layers,
            tool=tool_version(),
            notes=(*asked.notes, *self._notes),
        )

    def _open_banks(self, store: Store | None, opened: ExitStack) -> None:
        if store is None:
            raise UsageError("LatentLens needs a store with banks; none was given.")
        options, loaded = self._options, self._loaded
        infos = choose_banks(store, loaded, options.bank_layers)
        self._banks = [opened.enter_context(store.open(info.name)) for info in infos]
        for bank in self._banks:
            require_model(bank.record.identity, loaded)  # another may have taken its place since
        left_out = unfinished_layers(store, loaded) if options.bank_layers is None else ()
        self._searches = plan_searches(self._banks, options.where, options.exact)
        self._notes += filter_notes(self._banks, options.where, self._searches, options.exact)
        self._notes += bank_notes(self._banks, loaded, options.exact, left_out)

    def _lens(self, name: str, on_words: Sequence[Condition]) -> Lens:
        options, advance = self._options, self._progress.advance
        if name == "latent":
            asked = (options.top_k, options.where, options.distinct, options.exact)
            return LatentLens(self._banks, *asked, advance, options.recall_check)
        kind = LogitLens if name == "logit" else EmbeddingLens
        return kind(self._loaded, self._vocabulary, options.top_k, on_words, options.distinct, advance)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        lm = self._loaded.lm
        weight: Any = lm.embed_tokens.weight
        return Vocabulary(self._loaded.tokenizer, max(lm.vocab_size, int(weight.shape[0])))

    @property
    def loaded(self) -> LoadedModel:
        """The model."""
        return self._loaded

    @property
    def options(self) -> QueryOptions:
        """What is asked."""
        return self._options

    @property
    def layers(self) -> tuple[int, ...]:
        """The query layers, sorted."""
        return self._layers

    @property
    def banks(self) -> tuple[Bank, ...]:
        """The open banks; none without LatentLens."""
        return tuple(self._banks)

    @property
    def bank_facts(self) -> tuple[Mapping[str, Any], ...]:
        """What a reader needs to know about each bank, as in :attr:`schemas.results.Reading.banks`."""
        return self._facts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about banks and filters, one sentence each."""
        return tuple(self._notes)

    def close(self) -> None:
        """Let go of the banks; harmless when repeated."""
        self._opened.close()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()


def _layer(asked: Asked, layer: int, found: Mapping[str, Sequence[tuple[Words, ...]]]) -> LayerReading:
    """What the lenses found at one layer, token by token."""
    import numpy as np

    norms = np.linalg.norm(asked.states[layer].astype(np.float64), axis=1)
    tokens = []
    for i, (t, norm) in enumerate(zip(asked.tokens, norms, strict=True)):
        words: dict[str, Any] = {name: rows[i] for name, rows in found.items()}
        neighbors = words.pop("latent", ())
        place = (t.index, t.label, t.view, t.row, t.col, t.box)
        tokens.append(TokenReading(*place, float(norm), neighbors, words, t.char_start, t.char_end))
    return LayerReading(layer, tuple(tokens))
