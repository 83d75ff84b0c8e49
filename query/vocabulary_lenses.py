"""LogitLens and EmbeddingLens: hidden states in the words of the model's own vocabulary."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..models.loading import LoadedModel
from ..models.machine.offload import resident
from ..schemas.errors import StateError
from ..schemas.filters import Condition
from ..schemas.results import VocabularyToken
from .baselines import FEWEST, chance_levels, sample_size, with_baseline
from .distinct_rows import nearest_distinct
from .embedding_rows import EmbeddingRows, EntryWords
from .lenses import LensAnswer, by_layer
from .product import nearest
from .search import Distinct
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# Scores held at once, at most: 256 MB of float32.
_SCORES_AT_ONCE = 64 << 20
# States whose entries are told of at once.
_STATES_AT_ONCE = 1024


class _VocabularyLens:
    """What the lenses share that answer with vocabulary entries."""

    def __init__(
        self,
        loaded: LoadedModel,
        vocabulary: Vocabulary,
        top_k: int,
        where: Sequence[Condition] = (),
        distinct: Distinct | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        """A lens through a model.

        Args:
            loaded: the model.
            vocabulary: of at least as many entries as the model's matrices have rows.
            top_k: entries per state.
            where: conditions on :data:`query.vocabulary.VOCABULARY_FIELDS`, all of which must hold.
            distinct: ``word`` for entries that are all of different words.
            advance: called as states have been read, with their number.
        """
        self._loaded = loaded
        self._vocabulary = vocabulary
        self._top_k = top_k
        self._distinct = distinct
        self._advance = advance or (lambda count: None)
        #: Which entries meet the conditions; ``None`` where all do.
        self._allowed = vocabulary.allowed(where) if where else None

    def _entry(self, entry: int, score: float, probability: float | None) -> VocabularyToken:
        return VocabularyToken(self._vocabulary.words[entry], self._vocabulary.tokens[entry], entry, score, probability)


class LogitLens(_VocabularyLens):
    """What the model would predict if a state were its last: own final norm, own unembedding.

    Logits are computed in the model's dtype, scaled and soft-capped where the architecture does
    so; at the last layer they are the model's own (nostalgebraist 2020). The probability is a
    share of the whole vocabulary, whatever the conditions leave of it.
    """

    name = "logit"

    def read(self, states: Mapping[int, Floats]) -> LensAnswer:
        """The entries of the highest logit for each state.

        Args:
            states: layer → ``[n, dim]`` raw states, float32.

        Raises:
            StateError: a logit is NaN or infinite.
        """
        lm = self._loaded.lm
        stacked = torch.from_numpy(np.concatenate(list(states.values())))
        found: list[tuple[VocabularyToken, ...]] = []
        step = max(1, _SCORES_AT_ONCE // lm.vocab_size)
        kept = self._allowed
        allowed = None if kept is None else torch.from_numpy(kept[: lm.vocab_size]).to(self._loaded.device)
        with resident(lm.final_norm), resident(lm.unembed):
            for start in range(0, len(stacked), step):
                chunk = stacked[start : start + step]
                with torch.inference_mode():
                    logits = self._logits(chunk.to(self._loaded.device))
                    totals = logits.logsumexp(dim=1).tolist()
                    best = self._vocabulary.best(logits, self._top_k, allowed, self._distinct)
                found += [self._entries(row, total) for row, total in zip(best, totals, strict=True)]
                self._advance(len(chunk))
        return LensAnswer(by_layer(states, found))

    def _logits(self, states: Tensor) -> Tensor:
        """``[n, vocabulary]`` float32 for ``[n, dim]`` float32."""
        loaded = self._loaded
        logits = loaded.lm.logits(states.to(loaded.dtype)).to(states.device).float()
        # The extremes are NaN where any logit is: one pass, and nothing of the size of the logits is made.
        if not all(bool(extreme.isfinite()) for extreme in logits.aminmax()):
            raise StateError(
                f"Logits of a state are NaN or infinite, computed in {loaded.dtype_name}.",
                "Try --dtype float32." if loaded.dtype != torch.float32 else "The model or the input is broken.",
            )
        return logits

    def _entries(self, best: Sequence[tuple[int, float]], log_total: float) -> tuple[VocabularyToken, ...]:
        return tuple(self._entry(entry, score, math.exp(score - log_total)) for entry, score in best)


class EmbeddingLens(_VocabularyLens):
    """The vocabulary entries whose input embedding has the highest cosine with a state.

    Rows of the input embedding as they enter the first block, position embeddings left out; compared as
    :mod:`query.product` compares a bank's, so that the answer is exact. An embedding of zeros, which some models keep
    for padding, scores 0.
    """

    name = "embedding"

    @cached_property
    def _rows(self) -> EmbeddingRows:
        return EmbeddingRows(self._loaded, len(self._vocabulary))

    @cached_property
    def _sample(self) -> Floats:
        """Rows evenly over the ids, which tokenizers give out by frequency."""
        rows = min(self._rows.count, sample_size(self._rows.dim))
        return self._rows.take(np.linspace(0, self._rows.count - 1, rows).astype(np.int64))

    def read(self, states: Mapping[int, Floats]) -> LensAnswer:
        """The entries of the highest cosine for each state.

        Args:
            states: layer → ``[n, dim]`` raw states, float32.
        """
        lm, device = self._loaded.lm, self._loaded.device
        found: list[tuple[VocabularyToken, ...]] = []
        with resident(lm.embed_tokens), resident(lm.entry):
            for raw in states.values():
                units = torch.nn.functional.normalize(torch.from_numpy(np.asarray(raw, np.float32)), dim=1).numpy()
                for start in range(0, len(units), _STATES_AT_ONCE):
                    part = units[start : start + _STATES_AT_ONCE]
                    levels = self._levels(part)
                    found += [
                        self._entries(best, level) for best, level in zip(self._best(part, device), levels, strict=True)
                    ]
                    self._advance(len(part))
        return LensAnswer(by_layer(states, found))

    def _best(self, units: NDArray[np.float32], device: torch.device) -> list[list[tuple[float, int]]]:
        allowed = None if self._allowed is None else self._allowed[: self._rows.count]
        if self._distinct:
            words = EntryWords(self._vocabulary)
            return nearest_distinct(self._rows, words, units, self._top_k, device, allowed)
        found = nearest(self._rows, units, self._top_k, device, allowed)
        return [list(zip(scores.tolist(), at.tolist(), strict=True)) for scores, at in found]

    def _levels(self, units: NDArray[np.float32]) -> list[tuple[float, float] | None]:
        """What a sample of the vocabulary reaches for each state, none where that is small; filters do not count."""
        if self._rows.count < FEWEST:
            return [None] * len(units)
        return list(chance_levels(units, self._sample, self._loaded.device))

    def _entries(
        self, best: Sequence[tuple[float, int]], level: tuple[float, float] | None
    ) -> tuple[VocabularyToken, ...]:
        return tuple(
            with_baseline(self._entry(entry, max(-1.0, min(1.0, score)), None), level) for score, entry in best
        )
