"""A model's input embedding as rows to compare with, and the words of its entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..models.loading import LoadedModel
from .comparing import Places
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# Normalised embeddings that are kept, at most: 256 MB of float32.
_UNITS_KEPT = 64 << 20


class EmbeddingRows:
    """The unit rows of a model's input embedding; a :class:`query.comparing.Source`."""

    def __init__(self, loaded: LoadedModel, most: int) -> None:
        """Of a model, the first rows, ``most`` at most."""
        weight: Any = loaded.lm.embed_tokens.weight
        self._lm = loaded.lm
        self._device = loaded.device
        self.count, self.dim = min(most, int(weight.shape[0])), loaded.lm.dim
        self._kept: Tensor | None = None

    def blocks(self, device: torch.device, size: int) -> Iterator[tuple[int, Tensor]]:
        """See :class:`query.comparing.Source`; made once where they are few bytes."""
        if self._kept is None and self.count * self.dim <= _UNITS_KEPT:
            self._kept = torch.cat([self._units(start, start + size) for start in range(0, self.count, size)])
        for start in range(0, self.count, size):
            rows = self._units(start, start + size) if self._kept is None else self._kept[start : start + size]
            yield start, rows.to(device)

    def take(self, places: Places) -> Floats:
        """See :class:`query.comparing.Source`."""
        if self._kept is not None:
            return self._kept[torch.from_numpy(places).to(self._kept.device)].cpu().numpy()
        return self._of(torch.from_numpy(places)).cpu().numpy()

    def keys(self, places: Places) -> tuple[NDArray[Any], ...]:
        """See :class:`query.comparing.Source`: by id."""
        return (places,)

    def _units(self, start: int, end: int) -> Tensor:
        return self._of(torch.arange(start, min(end, self.count)))

    def _of(self, ids: Tensor) -> Tensor:
        with torch.inference_mode():
            rows = self._lm.embeddings(ids.to(self._device)).to(self._device).float()
            return torch.nn.functional.normalize(rows, dim=1)


class EntryWords:
    """The words of vocabulary entries; :class:`query.distinct_rows.RowWords`."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Of a vocabulary."""
        self._vocabulary = vocabulary

    def of(self, places: Places) -> list[str]:
        """The word of each entry."""
        return [self._vocabulary.words[place] for place in places.tolist()]

    def rows(self, words: Sequence[str]) -> Places:
        """All entries of some words, ascending."""
        return np.flatnonzero(np.isin(np.array(self._vocabulary.words, object), np.array(words, object)))
