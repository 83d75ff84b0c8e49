"""LogitLens and EmbeddingLens: hidden states in the words of the model's own vocabulary."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models.loading import LoadedModel
from ..models.offload import resident
from ..schemas.errors import StateError
from ..schemas.filters import Condition
from ..schemas.results import VocabularyToken
from .lenses import LensAnswer, by_layer
from .search import Distinct
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# Scores held at once, at most: 256 MB of float32.
_SCORES_AT_ONCE = 64 << 20
# Normalised embeddings that are kept, at most: 256 MB of float32.
_UNITS_KEPT = 64 << 20
# Embedding rows normalised at once.
_ROWS_AT_ONCE = 16_384


class _VocabularyLens:
    """What both have in common: chunks of states that are scored, and the best entries of the scores."""

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
        self._advance = advance
        self._size = self._rows()
        kept = vocabulary.allowed(where)[: self._size] if where else None
        self._allowed = None if kept is None else torch.from_numpy(kept).to(loaded.device)

    def read(self, states: Mapping[int, Floats]) -> LensAnswer:
        """The entries of the highest score for each state.

        Args:
            states: layer → ``[n, dim]`` raw states, float32.

        Raises:
            StateError: a logit is NaN or infinite.
        """
        stacked = torch.from_numpy(np.concatenate(list(states.values())))
        found: list[tuple[VocabularyToken, ...]] = []
        step = max(1, _SCORES_AT_ONCE // self._size)
        with ExitStack() as held:
            for matrix in self._matrices():
                held.enter_context(resident(matrix))
            for start in range(0, len(stacked), step):
                chunk = stacked[start : start + step]
                with torch.inference_mode():
                    scores, log_totals = self._scores(chunk.to(self._loaded.device))
                    best = self._vocabulary.best(scores, self._top_k, self._allowed, self._distinct)
                found += [self._entries(row, total) for row, total in zip(best, log_totals, strict=True)]
                if self._advance is not None:
                    self._advance(len(chunk))
        return LensAnswer(by_layer(states, found))

    def _entries(self, best: Sequence[tuple[int, float]], log_total: float | None) -> tuple[VocabularyToken, ...]:
        words, tokens = self._vocabulary.words, self._vocabulary.tokens
        return tuple(
            VocabularyToken(
                word=words[entry],
                token=tokens[entry],
                token_id=entry,
                score=score,
                probability=None if log_total is None else math.exp(score - log_total),
            )
            for entry, score in best
        )

    def _matrices(self) -> Sequence[nn.Module]:
        """What is called for every chunk of states."""
        raise NotImplementedError

    def _rows(self) -> int:
        """Rows of the matrix that is read."""
        raise NotImplementedError

    def _scores(self, states: Tensor) -> tuple[Tensor, Sequence[float | None]]:
        """``[n, rows]`` float32 for ``[n, dim]`` float32; and the logarithm of each softmax's sum."""
        raise NotImplementedError


class LogitLens(_VocabularyLens):
    """What the model would predict if a state were its last: own final norm, own unembedding.

    Logits are computed in the model's dtype, scaled and soft-capped where the architecture does
    so; at the last layer they are the model's own (nostalgebraist 2020). The probability is a
    share of the whole vocabulary, whatever the conditions leave of it.
    """

    name = "logit"

    def _matrices(self) -> Sequence[nn.Module]:
        return self._loaded.lm.final_norm, self._loaded.lm.unembed

    def _rows(self) -> int:
        return self._loaded.lm.vocab_size

    def _scores(self, states: Tensor) -> tuple[Tensor, Sequence[float | None]]:
        loaded = self._loaded
        logits = loaded.lm.logits(states.to(loaded.dtype)).to(states.device).float()
        # The extremes are NaN where any logit is: one pass, and nothing of the size of the logits is made.
        if not all(bool(extreme.isfinite()) for extreme in logits.aminmax()):
            raise StateError(
                f"Logits of a state are NaN or infinite, computed in {loaded.dtype_name}.",
                "Try --dtype float32." if loaded.dtype != torch.float32 else "The model or the input is broken.",
            )
        return logits, logits.logsumexp(dim=1).tolist()


class EmbeddingLens(_VocabularyLens):
    """The vocabulary entries whose input embedding has the highest cosine with a state.

    Rows of the input embedding as they enter the first block, position embeddings left out,
    compared in float32.
    """

    name = "embedding"
    _units: Sequence[Tensor] = ()

    def _matrices(self) -> Sequence[nn.Module]:
        return self._loaded.lm.embed_tokens, self._loaded.lm.entry

    def _rows(self) -> int:
        weight: Any = self._loaded.lm.embed_tokens.weight
        return min(len(self._vocabulary), int(weight.shape[0]))

    def _scores(self, states: Tensor) -> tuple[Tensor, Sequence[float | None]]:
        """See the base class; an embedding of zeros, which some models keep for padding, gets 0."""
        unit = torch.nn.functional.normalize(states, dim=1)
        scores = torch.empty(len(states), self._size, device=states.device)
        start = 0
        for rows in self._units or self._normalised(states.device):
            torch.mm(unit, rows.T, out=scores[:, start : start + len(rows)])
            start += len(rows)
        return scores.clamp_(-1, 1), [None] * len(states)

    def _normalised(self, device: torch.device) -> Iterator[Tensor]:
        """The embedding's unit rows, some at a time; kept for the next states where they are few bytes."""
        kept: list[Tensor] = []
        width = self._loaded.lm.dim
        for start in range(0, self._size, _ROWS_AT_ONCE):
            ids = torch.arange(start, min(start + _ROWS_AT_ONCE, self._size), device=device)
            rows = torch.nn.functional.normalize(self._loaded.lm.embeddings(ids).to(device).float(), dim=1)
            if self._size * width <= _UNITS_KEPT:
                kept.append(rows)
            yield rows
        self._units = kept
