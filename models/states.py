"""The hidden states of an image's visual tokens, or of a text's tokens: one forward pass each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..schemas.errors import ModelError, StateError, UsageError
from .capture import capture_hidden_states
from .lengths import require_length
from .loading import LoadedModel
from .machine.offload import execution_device
from .machine.shortage import is_out_of_memory
from .tokens import require_embedded, span_of
from .visual.patches import unpadded, unsupported
from .visual_tokens import VisualInput


def visual_states(loaded: LoadedModel, visual_input: VisualInput, layers: Iterable[int]) -> dict[int, Tensor]:
    """The visual tokens' hidden states, in one forward pass that stops after the deepest layer.

    Returns:
        Layer → float32 ``[len(visual_input.tokens), dim]`` on the model's device, raw (not
        normalised), in the order of ``visual_input.tokens``.

    Raises:
        StateError: a state is NaN, infinite or zero.
        LensbankError: as :func:`sequence_states`.
    """
    index = [token.index for token in visual_input.tokens]
    states = sequence_states(loaded, visual_input.inputs, layers, index)
    labels = [f"patch {token.row},{token.col}" for token in visual_input.tokens]
    for layer, hidden in states.items():
        require_finite(loaded, layer, hidden, labels)
    return states


def sequence_states(
    loaded: LoadedModel, inputs: Mapping[str, Tensor], layers: Iterable[int], index: Sequence[int]
) -> dict[int, Tensor]:
    """The hidden states at positions of one prompt, in one forward pass that stops after the deepest layer.

    Args:
        loaded: the VLM.
        inputs: its keyword arguments.
        layers: to read.
        index: positions in the sequence, padding not counted.

    Returns:
        Layer → float32 ``[len(index), dim]`` on the model's device, raw, in the order of ``index``.

    Raises:
        LayerError: a layer that does not exist.
        UnsupportedModelError: the model changes the length of its sequence.
        ModelError: the model failed, or the device's memory is too small.
    """
    with failing(loaded, inputs), torch.inference_mode(), capture_hidden_states(loaded.lm, layers) as captured:
        loaded.model(**inputs, use_cache=False)
    mask = unpadded(inputs)
    rows = mask.nonzero().flatten()[torch.tensor(index, device=mask.device, dtype=torch.int64)]
    states: dict[int, Tensor] = {}
    for layer, hidden in captured.items():
        if hidden.shape[1] != mask.shape[0]:
            raise unsupported(loaded, f"it turned {mask.shape[0]} tokens into {hidden.shape[1]}")
        states[layer] = hidden[0, rows.to(hidden.device)].to(loaded.device).float()
    return states


@contextmanager
def failing(loaded: LoadedModel, inputs: Mapping[str, Tensor]) -> Iterator[None]:
    """Say what a model that fails on its input means to a user.

    Raises:
        ModelError: it failed, or the device's memory is too small.
    """
    try:
        yield
    except (MemoryError, ValueError, RuntimeError, IndexError, TypeError) as error:
        if is_out_of_memory(error):
            raise ModelError(
                f"{loaded.name} ran out of memory on {inputs['input_ids'].shape[1]} tokens, images included.",
                "Use --dtype bfloat16, --device-map auto, or a smaller image.",
            ) from error
        raise ModelError(f"{loaded.name} ({type(loaded.model).__name__}) failed on the image: {error}.") from error


def text_states(
    loaded: LoadedModel, text: str, layers: Iterable[int]
) -> tuple[dict[int, Tensor], list[tuple[int, str, int, int, int]]]:
    """The hidden states of a text's tokens, special tokens left out.

    Returns:
        Layer → float32 ``[n_tokens, dim]`` on the model's device, raw; and for each token its
        index in the model's input sequence, its string, its vocabulary id, and the span of
        its visible characters in ``text``.

    Raises:
        UsageError: a text without tokens, or too long for the model.
        LayerError: a layer that does not exist.
        ModelError: a token for which the model has no embedding.
        StateError: a state is NaN, infinite or zero.
    """
    encoded = loaded.tokenizer(
        text, return_tensors="pt", return_offsets_mapping=True, return_special_tokens_mask=True, padding=False
    )
    ids = encoded["input_ids"].to(execution_device(loaded.lm.embed_tokens))
    special, offsets = encoded["special_tokens_mask"][0].tolist(), encoded["offset_mapping"][0].tolist()
    kept = [at for at, added in enumerate(special) if not added]
    if not kept:
        raise UsageError("The text holds no token.", "Give at least one word.")
    require_length(loaded, ids.shape[1])
    weight: Any = loaded.lm.embed_tokens.weight
    require_embedded(int(ids.max()), int(weight.shape[0]))
    with torch.inference_mode(), capture_hidden_states(loaded.lm, layers) as captured:
        loaded.lm.module(input_ids=ids, use_cache=False)
    strings = loaded.tokenizer.convert_ids_to_tokens(ids[0].tolist())
    tokens = []
    for at in kept:
        start, end, _ = span_of(text, offsets, special, at)
        tokens.append((at, strings[at], int(ids[0, at]), start, end))
    states = {layer: hidden[0, kept].to(loaded.device).float() for layer, hidden in captured.items()}
    for layer, hidden in states.items():
        require_finite(loaded, layer, hidden, [f"token {token[1]!r}" for token in tokens])
    return states, tokens


def require_finite(loaded: LoadedModel, layer: int, states: Tensor, labels: Sequence[str]) -> None:
    """Refuse states that have no direction.

    Args:
        loaded: the model.
        layer: for the message.
        states: ``[n, dim]``.
        labels: what each is the state of.

    Raises:
        StateError: one is NaN, infinite or zero.
    """
    norms = torch.linalg.vector_norm(states, dim=-1)
    bad = (~norms.isfinite() | (norms == 0)).nonzero().flatten().tolist()
    if bad:
        raise StateError(
            f"The state of {labels[bad[0]]} at layer {layer} is NaN, infinite or zero, like {len(bad)} of "
            f"{len(labels)} states, computed in {loaded.dtype_name}.",
            "Try --dtype float32." if loaded.dtype != torch.float32 else "The model or the input is broken.",
        )
