"""Token ids to normalised hidden states: one forward pass per batch, chosen rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..schemas.errors import ModelError, StateError
from .capture import capture_hidden_states
from .machine.offload import execution_device
from .machine.shortage import is_out_of_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from .loading import LoadedModel

    Floats = NDArray[np.floating[Any]]

#: Tokens per forward pass where none are asked for: enough to fill the device.
BATCH_TOKENS_CPU = 2048
BATCH_TOKENS_GPU = 16384
#: What is left of a state without its mean, as a share of its norm, is rounding where it is less.
ROUNDING = 1e-5


def default_batch_tokens(device: torch.device) -> int:
    """Tokens per forward pass, padding included."""
    return BATCH_TOKENS_CPU if device.type == "cpu" else BATCH_TOKENS_GPU


def batches(lengths: NDArray[np.int32], budget: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Consecutive sentences that are encoded together.

    Args:
        lengths: tokens of every sentence, longest first.
        budget: tokens per batch, padding included; a longer sentence is a batch of its own.
        start: sentence to begin with. Beginning where a batch began gives the same batches.

    Yields:
        ``(first, end)`` places of the sentences of a batch.
    """
    while start < len(lengths):
        end = min(len(lengths), start + max(1, budget // int(lengths[start])))
        yield start, end
        start = end


@dataclass(frozen=True)
class Rows:
    """Which states of a batch are wanted.

    Attributes:
        sentence: ``[rows]``, place of the sentence in the batch.
        index: ``[rows]``, place of the token in the sentence, special tokens counted.
    """

    sentence: NDArray[np.int64]
    index: NDArray[np.int64]


class Pending:
    """States that the device may still be computing."""

    def __init__(self, units: Mapping[int, Tensor], norms: Tensor, centred_norms: Tensor | None = None) -> None:
        """Per layer unit rows ``[rows, dim]``; norms ``[layers, rows]`` of the raw states, and less their mean."""
        self._units = units
        self._norms = norms
        self._centred_norms = centred_norms

    def fetch(self, describe: Callable[[int], str]) -> tuple[dict[int, Floats], dict[int, Floats]]:
        """Wait, check, and bring the rows to the host: one transfer per layer and one for the norms.

        Args:
            describe: names row ``i`` in an error.

        Returns:
            Per layer: unit vectors ``[rows, dim]``, and the norms of the raw states ``[rows]``, float32.

        Raises:
            StateError: a state is NaN, infinite or zero, or equals the mean that is subtracted.
        """
        norms = self._norms.cpu().numpy()
        wrong = np.argwhere(~(np.isfinite(norms) & (norms > 0)))
        if len(wrong):
            place, row = wrong[0].tolist()
            layer, norm = list(self._units)[place], norms[place, row]
            what = "zero" if norm == 0 else "NaN" if np.isnan(norm) else "infinite"
            raise StateError(
                f"The hidden state at layer {layer} of {describe(row)} is {what}, so it has no direction and cannot "
                "be compared.",
                "The usual cause is an overflow in half precision: load the model with --dtype float32 or bfloat16. "
                "Otherwise the weights are damaged.",
            )
        self._check_centred(norms, describe)
        units: dict[int, Floats] = {layer: unit.cpu().numpy() for layer, unit in self._units.items()}
        return units, dict(zip(units, norms, strict=True))

    def _check_centred(self, norms: Floats, describe: Callable[[int], str]) -> None:
        if self._centred_norms is None:
            return
        wrong = np.argwhere(self._centred_norms.cpu().numpy() < ROUNDING * norms)
        if len(wrong):
            place, row = wrong[0].tolist()
            raise StateError(
                f"The hidden state at layer {list(self._units)[place]} of {describe(row)} equals the mean that is "
                "subtracted, so no direction is left.",
                "Give a larger corpus, or ingest without --centre.",
            )


class Encoder:
    """Runs a model's language model up to the deepest layer asked for; its LM head never runs.

    Args:
        loaded: the model.
        layers: layers to read.
        vector_dtype: of the unit vectors, ``float32`` or ``float16``; they are normalised in
            float32 before they are narrowed.
        means: layer → ``[dim]`` that is subtracted from every state before; none is by default.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        layers: Sequence[int],
        vector_dtype: str,
        means: Mapping[int, Sequence[float]] | None = None,
    ) -> None:
        """Nothing runs yet."""
        self._lm = loaded.lm
        self._entry = execution_device(loaded.lm.embed_tokens)
        self._device = loaded.device
        self._layers = tuple(layers)
        self._narrow = torch.float16 if vector_dtype == "float16" else torch.float32
        self._means = {
            n: torch.tensor(mean, dtype=torch.float32, device=self._device) for n, mean in (means or {}).items()
        }

    def encode(self, ids: Sequence[Sequence[int]], rows: Rows) -> Pending:
        """Start a forward pass over a batch and pick rows of its states.

        Sentences are padded on the right, whatever side the tokenizer pads: in a causal model
        nothing before the padding can see it, and positions count from 0.

        Args:
            ids: token ids of every sentence, special tokens included.
            rows: the states wanted.

        Raises:
            ModelError: the device's memory is too small for the batch.
        """
        try:
            return self._encode(ids, rows)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError(
                f"The device ran out of memory on a batch of {sum(map(len, ids)):,} tokens.",
                "Use a smaller --batch-tokens, --dtype bfloat16 or --device-map auto. The same command then continues.",
            ) from error

    def _encode(self, ids: Sequence[Sequence[int]], rows: Rows) -> Pending:
        lengths = torch.tensor([len(row) for row in ids])
        width = int(lengths.max())
        padded = torch.zeros(len(ids), width, dtype=torch.int64)
        for place, row in enumerate(ids):
            padded[place, : len(row)] = torch.as_tensor(row)
        mask: Tensor | None = (torch.arange(width) < lengths[:, None]).to(torch.int64)
        if bool((lengths == width).all()):
            mask = None  # lets attention take its causal short cut
        sentence = torch.from_numpy(rows.sentence).to(self._device)
        index = torch.from_numpy(rows.index).to(self._device)
        with torch.inference_mode():
            with capture_hidden_states(self._lm, self._layers) as states:
                self._lm.module(
                    input_ids=padded.to(self._entry),
                    attention_mask=None if mask is None else mask.to(self._entry),
                    use_cache=False,
                )
            units, norms, centred_norms = {}, [], []
            for layer in self._layers:
                hidden = states.pop(layer)  # where its block is
                chosen = hidden[sentence.to(hidden.device), index.to(hidden.device)].to(self._device).float()
                norm = torch.linalg.vector_norm(chosen, dim=-1)  # [rows]
                norms.append(norm)
                if layer in self._means:
                    chosen = chosen - self._means[layer]
                    norm = torch.linalg.vector_norm(chosen, dim=-1)
                    centred_norms.append(norm)
                units[layer] = (chosen / norm[:, None]).to(self._narrow)
            return Pending(units, torch.stack(norms), torch.stack(centred_norms) if centred_norms else None)
