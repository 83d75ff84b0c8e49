"""From an image or a text to its reading: states, then their neighbours, then everything on record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from models.layers import check_layers
from models.loading import LoadedModel
from models.visual_tokens import prepare_image, text_states, visual_states
from query.banks import choose_banks, model_source, require_model, unfinished_layers
from query.filtering import filter_notes
from query.images import open_image
from query.lenses import LatentLens
from query.options import QueryOptions, check_patches
from schemas.errors import UsageError
from schemas.results import LayerReading, PixelBox, Reading, SearchSettings, TokenReading, View
from store.base import Bank, Store
from store.records import tool_version

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

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


class _Silent:
    def start(self, phase: str, total: int | None, unit: str) -> None:
        """See :class:`Progress`."""

    def advance(self, count: int) -> None:
        """See :class:`Progress`."""

    def finish(self) -> None:
        """See :class:`Progress`."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token before it has neighbours; fields as in :class:`schemas.results.TokenReading`."""

    index: int
    label: str
    view: int | None = None
    row: int | None = None
    col: int | None = None
    box: PixelBox | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked about; fields as in :class:`schemas.results.Reading`."""

    kind: str
    source: str
    sha256: str
    prompt: str
    width: int | None = None
    height: int | None = None
    views: tuple[View, ...] = ()
    notes: tuple[str, ...] = ()
    patches: tuple[tuple[int, int], ...] = ()


class QuerySession:
    """A model and its open banks, ready for any number of images and texts."""

    def __init__(
        self, store: Store, loaded: LoadedModel, options: QueryOptions, progress: Progress | None = None
    ) -> None:
        """Open the banks and check everything that needs no forward pass.

        Raises:
            LayerError: a query layer the model lacks, or a bank layer the store lacks.
            FilterError: a condition the database cannot express.
            BankNotFoundError, BankMismatchError, BankIncompleteError: see :func:`choose_banks`.
            StoreLockedError: a bank is being written.
            StoreError: a bank cannot be read.
        """
        self._loaded = loaded
        self._options = options
        self._progress = progress or _Silent()
        asked = options.layers
        if asked is not None:
            self._layers = check_layers(range(loaded.lm.n_layers + 1) if asked == "all" else asked, loaded.lm.n_layers)
        infos = choose_banks(store, loaded, options.bank_layers)
        with ExitStack() as opened:
            self._banks = [opened.enter_context(store.open(info.name)) for info in infos]
            for bank in self._banks:
                require_model(bank.record.identity, loaded)  # another may have taken its place since
            if asked is None:
                self._layers = tuple(sorted({0, *self._bank_layers()}))
            self._facts = tuple(_facts(bank) for bank in self._banks)
            left_out = unfinished_layers(store, loaded) if options.bank_layers is None else ()
            self._notes = (*filter_notes(self._banks, options.where), *self._bank_notes(left_out))
            self._opened = opened.pop_all()

    def image(self, path: str | Path) -> Reading:
        """Read an image's visual tokens.

        Args:
            path: an image file, or ``-`` for standard input.

        Raises:
            ImageError: see :func:`query.images.open_image`.
            ModelError: a text-only model, or one whose visual tokens cannot be located.
            UsageError: a patch outside of the grid; a prompt the model cannot take.
            StateError: a hidden state is NaN, infinite or zero.
            StoreError: the database failed.
        """
        opened = open_image(path, self._options.max_pixels)
        shown = prepare_image(self._loaded, opened.image, self._options.prompt)
        cells = [(token.row, token.col) for token in shown.tokens]
        wanted = check_patches(self._options.patches, cells, shown.views)
        kept = [i for i, cell in enumerate(cells) if not wanted or cell in wanted]
        tokens = [
            _Token(t.index, f"{t.row},{t.col}", t.view, t.row, t.col, t.box) for t in (shown.tokens[i] for i in kept)
        ]
        states = _arrays(visual_states(self._loaded, shown, self._layers), kept)
        asked = _Asked(
            kind="image",
            source=opened.name,
            sha256=opened.sha256,
            prompt=shown.prompt,
            width=opened.width,
            height=opened.height,
            views=shown.views,
            notes=(*opened.notes, *shown.notes),
            patches=tuple(sorted(wanted)),
        )
        return self._read(asked, tokens, states)

    def text(self, text: str) -> Reading:
        """Read a text's tokens, special tokens left out.

        Raises:
            UsageError: no token, too long for the model, not UTF-8; or a patch or prompt was given.
            StateError: a hidden state is NaN, infinite or zero.
            StoreError: the database failed.
        """
        if self._options.patches or self._options.prompt is not None:
            named = "--patch" if self._options.patches else "--prompt"
            raise UsageError(f"{named} belongs to an image, and a text was asked about.", f"Leave out {named}.")
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError("The text to ask about is not UTF-8.", "Check the terminal's encoding.") from error
        found, spans = text_states(self._loaded, text, self._layers)
        tokens = [_Token(index, string) for index, string, _, _, _ in spans]
        asked = _Asked("text", text, hashlib.sha256(data).hexdigest(), text)
        return self._read(asked, tokens, _arrays(found))

    def _read(self, asked: _Asked, tokens: Sequence[_Token], states: Mapping[int, Floats]) -> Reading:
        import numpy as np

        options = self._options
        lens = LatentLens(
            self._banks, options.top_k, options.where, options.distinct, options.exact, self._progress.advance
        )
        self._progress.start("searching", len(self._banks) * len(tokens) * len(states), "states")
        try:
            answer = lens.read(states)
        finally:
            self._progress.finish()
        layers = []
        for layer, rows in states.items():
            norms = np.linalg.norm(rows.astype(np.float64), axis=1)
            layers.append(
                LayerReading(
                    layer,
                    tuple(
                        TokenReading(t.index, t.label, t.view, t.row, t.col, t.box, float(norm), neighbors)
                        for t, norm, neighbors in zip(tokens, norms, answer.neighbors[layer], strict=True)
                    ),
                )
            )
        return self._reading(asked, tuple(layers), answer.recall)

    def _reading(self, asked: _Asked, layers: tuple[LayerReading, ...], recall: float | None) -> Reading:
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
                bank_layers=self._bank_layers(),
                recall=recall,
                patches=asked.patches,
            ),
            views=asked.views,
            layers=layers,
            tool=tool_version(),
            notes=(*asked.notes, *self._notes),
        )

    def _bank_layers(self) -> tuple[int, ...]:
        return tuple(sorted({bank.record.identity.layer for bank in self._banks}))

    def _bank_notes(self, left_out: Sequence[int]) -> list[str]:
        notes = []
        if left_out:
            notes.append(f"Left out: bank layer {', '.join(map(str, left_out))}, whose ingest has not finished.")
        made = sorted({bank.record.identity.compute_dtype for bank in self._banks})
        now = self._loaded.dtype_name
        if made != [now]:
            notes.append(f"The banks were made in {' and '.join(made)}, this query in {now}: scores differ slightly.")
        if not self._options.exact and not any(bank.is_indexed() for bank in self._banks):
            notes.append("The banks are too small to have an index: the approximate search compared every row.")
        return notes

    def close(self) -> None:
        """Let go of the banks; harmless when repeated."""
        self._opened.close()

    def __enter__(self) -> Self:
        """The session itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()


def _facts(bank: Bank) -> dict[str, Any]:
    """What a reader needs to know which bank this was; JSON types only."""
    record = bank.record
    corpora = [
        {"name": c.name, "fingerprint": c.fingerprint, "sentences": c.sentences, "tokens": c.tokens, "rows": c.rows}
        for c in record.corpora
    ]
    return {"name": bank.name, **record.identity.to_dict(), "rows": bank.count(), "corpora": corpora}


def _arrays(states: Mapping[int, Tensor], kept: Sequence[int] | None = None) -> dict[int, Floats]:
    """Layer → float32 ``[n, dim]`` in memory, by layer; ``kept`` selects rows."""
    arrays = {layer: states[layer].cpu().numpy() for layer in sorted(states)}
    return arrays if kept is None else {layer: rows[list(kept)] for layer, rows in arrays.items()}
