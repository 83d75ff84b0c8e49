"""States of one fixed text, in a few numbers: what a bank keeps so that other code with the same weights shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import transformers
from torch import Tensor

from ..schemas.probes import KIND, NUMBERS, Probe, packed
from .capture import capture_hidden_states
from .fingerprints import values_fingerprint
from .layers import LanguageModel
from .machine.offload import execution_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXT = "Two old friends walked slowly home over the bridge near Paris, in 1912."
_TOKENS = 16


@dataclass(frozen=True)
class Probed:
    """A model's states of the text, at every layer.

    Attributes:
        ids: the text as the language model reads it; empty where it has no embedding for a token.
        states: layer → ``[tokens, dim]``; none where memory does not allow it.
        dtype: as ``compute_dtype``.
        code: what computed them.
        values: see :class:`schemas.probes.Probe`.
        n_layers: of the model.
    """

    ids: tuple[int, ...]
    states: Mapping[int, Tensor]
    dtype: str
    code: str
    values: str | None
    n_layers: int
    _sketches: dict[int, str | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, lm: LanguageModel, tokenizer: Any, dtype: str, longest: int | None) -> Self:
        """Run the text through a model.

        Args:
            lm: the language model.
            tokenizer: its tokenizer.
            dtype: what it computes in, as ``compute_dtype``.
            longest: tokens that it was made for; ``None`` where it does not say.
        """
        ids = tokenizer(_TEXT, padding=False, truncation=False)["input_ids"][: min(_TOKENS, longest or _TOKENS)]
        weight: Any = lm.embed_tokens.weight
        known = tuple(ids) if ids and max(ids) < weight.shape[0] else ()
        exact = dtype == "float32" and torch.get_float32_matmul_precision() == "highest"
        return cls(
            ids=known,
            states=_states(lm, known) if known else {},
            dtype=dtype,
            code=f"{type(lm.module).__name__} of transformers {transformers.__version__}",
            values=values_fingerprint(lm) if exact else None,
            n_layers=lm.n_layers,
        )

    def at(self, layer: int) -> Probe | None:
        """What a bank of one layer keeps: that layer, and what queries come from, the middle and the deepest one.

        Returns:
            ``None`` where no state has a direction; layers at which a state is NaN, infinite or zero are left out:
            such states are refused by whoever asks for them.
        """
        wanted = sorted({layer, self.n_layers // 2, self.n_layers})
        kept = {str(one): sketch for one in wanted if (sketch := self._sketch(one)) is not None}
        return Probe(self.ids, kept, self.dtype, self.code, self.values) if kept else None

    def _sketch(self, layer: int) -> str | None:
        """Each is made when a bank asks for it: that of every layer costs as much as the forward pass."""
        if layer not in self._sketches:
            states = self.states.get(layer)
            self._sketches[layer] = None if states is None else _sketch(states)
        return self._sketches[layer]


def _states(lm: LanguageModel, ids: tuple[int, ...]) -> dict[int, Tensor]:
    """Each layer's states."""
    asked = torch.tensor([ids], device=execution_device(lm.embed_tokens))
    try:
        with torch.inference_mode(), capture_hidden_states(lm, range(lm.n_layers + 1)) as states:
            lm.module(input_ids=asked, use_cache=False)
    except torch.OutOfMemoryError:
        return {}  # whoever needs states says what can be done
    return {layer: hidden[0].to("cpu", copy=True) for layer, hidden in states.items()}


def _sketch(states: Tensor) -> str | None:
    """Unit states one after the other, times signs; the cosine of two such is about their mean cosine.

    The first token's is left out: models rest their attention on it, so it rounds most.
    """
    rows = (states[1:] if len(states) > 1 else states).double()
    norms = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    if not bool((norms.isfinite() & (norms > 0)).all()):
        return None
    numbers = _signs(rows.numel()) @ (rows / norms).numpy().reshape(-1)
    return packed((numbers / np.linalg.norm(numbers)).tolist())


def _signs(width: int) -> NDArray[np.float32]:
    """``[NUMBERS, width]`` of 1 and -1, the same wherever they are made (random projections: Achlioptas 2003)."""
    data = hashlib.shake_256(KIND.encode()).digest((NUMBERS * width + 7) // 8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))[: NUMBERS * width].reshape(NUMBERS, width)
    return bits.astype(np.float32) * 2 - 1
