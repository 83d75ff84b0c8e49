"""The lenses that a query asks for, ready to read states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ..models.loading import LoadedModel
from ..schemas.errors import UsageError
from ..schemas.filters import Condition
from ..schemas.progress import Progress
from .lenses import LatentLens, Lens, LensAnswer
from .open_banks import OpenBanks
from .options import QueryOptions
from .vocabulary import Vocabulary, vocabulary_of
from .vocabulary_lenses import EmbeddingLens, LogitLens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


class AskedLenses:
    """The lenses of a query together, with one bar for what all of them read."""

    def __init__(
        self,
        loaded: LoadedModel,
        opened: OpenBanks,
        options: QueryOptions,
        on_words: Sequence[Condition],
        progress: Progress,
    ) -> None:
        """Ready to read.

        Args:
            loaded: the model.
            opened: the banks that LatentLens searches.
            options: what is asked.
            on_words: the conditions that a vocabulary entry can meet.
            progress: where to report to.
        """
        self._lenses = _lenses(loaded, opened, options, on_words, self._advance)
        self._centred = options.centre
        self._banks = len(opened.banks)
        self._progress = progress
        self._counting = True

    def read(
        self, states: Mapping[int, Floats], centred: Mapping[int, Floats] | None, silent: bool = False
    ) -> dict[str, LensAnswer]:
        """What each lens sees in states; see :meth:`query.pipeline.QuerySession.vectors`.

        Raises:
            UsageError: centred states for raw banks, or none for centred ones.
            StateError: a state, or a logit of it, is NaN, infinite or zero.
            StoreError: the database failed.
        """
        if (centred is not None) != self._centred:
            seen, banks = ("raw", "centred") if centred is None else ("centred", "raw")
            raise UsageError(f"{seen} states cannot be compared with {banks} banks.".capitalize(), "Use the same.")
        if not (count := sum(map(len, states.values()))):
            return {lens.name: LensAnswer({layer: [] for layer in states}) for lens in self._lenses}
        steps = sum(self._banks if lens.name == "latent" else 1 for lens in self._lenses)
        latent = states if centred is None else centred
        self._counting = not silent
        if self._counting:
            self._progress.start("searching", steps * count, "states")
        try:
            return {lens.name: lens.read(latent if lens.name == "latent" else states) for lens in self._lenses}
        finally:
            if self._counting:
                self._progress.finish()

    def _advance(self, count: int) -> None:
        if self._counting:
            self._progress.advance(count)


def _lenses(
    loaded: LoadedModel,
    opened: OpenBanks,
    options: QueryOptions,
    on_words: Sequence[Condition],
    advance: Callable[[int], None],
) -> list[Lens]:
    """The lenses of a query, in the order in which they are asked for.

    Args:
        loaded: the model.
        opened: the banks that LatentLens searches.
        options: what is asked.
        on_words: the conditions that a vocabulary entry can meet.
        advance: called as states have been read, with their number.
    """

    @cache
    def vocabulary() -> Vocabulary:
        lm: Any = loaded.lm
        return vocabulary_of(loaded.tokenizer, max(lm.vocab_size, int(lm.embed_tokens.weight.shape[0])))

    def lens(name: str) -> Lens:
        if name == "latent":
            asked = (options.top_k, options.where, options.distinct, options.exact, advance, options.recall_check)
            return LatentLens(opened.banks, *asked, opened.products)
        kind = LogitLens if name == "logit" else EmbeddingLens
        return kind(loaded, vocabulary(), options.top_k, on_words, options.distinct, advance)

    return [lens(name) for name in options.lenses]
