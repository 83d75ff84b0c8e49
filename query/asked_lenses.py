"""The lenses that a query asks for, ready to read states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ..models.loading import LoadedModel
from ..schemas.filters import Condition
from .lenses import LatentLens, Lens
from .open_banks import OpenBanks
from .options import QueryOptions
from .vocabulary import Vocabulary, vocabulary_of
from .vocabulary_lenses import EmbeddingLens, LogitLens


def asked_lenses(
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
