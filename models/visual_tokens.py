"""From an image to the hidden states of its visual tokens, each with its patch of the image.

To add a VLM family: write ``models/families/<name>.py`` with a ``place`` function like the two
there, and register it in :data:`FAMILIES` under the ``model_type`` of the VLM's configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from models.capture import capture_hidden_states
from models.families import fastvlm, generic
from models.loading import LoadedModel
from models.patches import Placement, VisualToken, unpadded, unsupported
from models.prompting import image_prompt
from schemas.errors import ModelError, StateError, UsageError
from schemas.results import View
from schemas.words import visible_span

__all__ = ["VisualInput", "VisualToken", "prepare_image", "text_states", "visual_states"]

FAMILIES: dict[str, Callable[[LoadedModel, Mapping[str, Tensor], tuple[int, int]], Placement]] = {
    "fast_vlm": fastvlm.place,
}


@dataclass(frozen=True)
class VisualInput:
    """An image and a prompt, ready for the model.

    Attributes:
        inputs: the model's keyword arguments, on its device.
        tokens: the visual tokens, in sequence order.
        views: the patch grids.
        prompt: the text that the model sees, with the image token once.
        notes: what a reader of the result should know.
    """

    inputs: dict[str, Tensor]
    tokens: tuple[VisualToken, ...]
    views: tuple[View, ...]
    prompt: str
    notes: tuple[str, ...]


def prepare_image(loaded: LoadedModel, image: Image.Image, prompt: str | None = None) -> VisualInput:
    """Process one image and locate its visual tokens.

    Args:
        loaded: a VLM.
        image: upright; RGB.
        prompt: see :func:`models.prompting.image_prompt`.

    Raises:
        ModelError: a text-only model, or a processor that fails.
        UnsupportedModelError: its visual tokens cannot be located with certainty.
        UsageError: the prompt holds the image token, or is too long for the model.
    """
    processor: Any = loaded.processor
    if processor is None:
        lack = "was loaded without its processor" if loaded.is_vlm else "is a text-only model"
        raise ModelError(
            f"{loaded.name} {lack}; expected a model that can be shown images.",
            "Give a vision-language model with its processor, or ask about text with --text.",
        )
    text = image_prompt(loaded, prompt)
    bos = loaded.tokenizer.bos_token
    try:
        batch = processor(
            images=image.convert("RGB"),
            text=text,
            return_tensors="pt",
            # A chat template writes the BOS token itself; the tokenizer must not add a second one.
            add_special_tokens=not (bos and text.startswith(bos)),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"The processor of {loaded.name} failed on the image: {error}.") from error
    inputs = {name: _to(value, loaded) for name, value in batch.items() if isinstance(value, Tensor)}
    _require_length(loaded, inputs["input_ids"].shape[1])
    place = FAMILIES.get(loaded.model.config.model_type, generic.place)
    placed = place(loaded, inputs, image.size)
    return VisualInput(inputs, placed.tokens, placed.views, text, placed.notes)


def visual_states(loaded: LoadedModel, visual_input: VisualInput, layers: Iterable[int]) -> dict[int, Tensor]:
    """The visual tokens' hidden states, in one forward pass that stops after the deepest layer.

    Returns:
        Layer → float32 ``[len(visual_input.tokens), dim]`` on the model's device, raw (not
        normalised), in the order of ``visual_input.tokens``.

    Raises:
        LayerError: a layer that does not exist.
        StateError: a state is NaN, infinite or zero.
        UnsupportedModelError: the model changes the length of its sequence.
    """
    inputs = visual_input.inputs
    with torch.inference_mode(), capture_hidden_states(loaded.lm, layers) as captured:
        loaded.model(**inputs, use_cache=False)
    mask = unpadded(inputs)
    index = torch.tensor([token.index for token in visual_input.tokens], device=mask.device)
    rows = mask.nonzero().flatten()[index]
    states = {}
    for layer, hidden in captured.items():
        if hidden.shape[1] != mask.shape[0]:
            raise unsupported(loaded, f"it turned {mask.shape[0]} tokens into {hidden.shape[1]}")
        states[layer] = hidden[0, rows].float()
        labels = [f"patch {token.row},{token.col}" for token in visual_input.tokens]
        _require_finite(loaded, layer, states[layer], labels)
    return states


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
        StateError: a state is NaN, infinite or zero.
    """
    encoded = loaded.tokenizer(
        text, return_tensors="pt", return_offsets_mapping=True, return_special_tokens_mask=True, padding=False
    )
    ids = encoded["input_ids"].to(loaded.device)
    kept = (encoded["special_tokens_mask"][0] == 0).nonzero().flatten().tolist()
    if not kept:
        raise UsageError("The text to ask about holds no token.", "Give at least one word.")
    _require_length(loaded, ids.shape[1])
    with torch.inference_mode(), capture_hidden_states(loaded.lm, layers) as captured:
        loaded.lm.module(input_ids=ids, use_cache=False)
    strings = loaded.tokenizer.convert_ids_to_tokens(ids[0].tolist())
    tokens = []
    for at in kept:
        start, end = visible_span(text, *encoded["offset_mapping"][0, at].tolist())
        tokens.append((at, strings[at], int(ids[0, at]), start, end))
    states = {layer: hidden[0, kept].float() for layer, hidden in captured.items()}
    for layer, hidden in states.items():
        _require_finite(loaded, layer, hidden, [f"token {token[1]!r}" for token in tokens])
    return states, tokens


def _to(value: Tensor, loaded: LoadedModel) -> Tensor:
    """On the model's device; pixels in its dtype, ids as they are."""
    return value.to(loaded.device, loaded.dtype if value.is_floating_point() else value.dtype)


def _require_length(loaded: LoadedModel, length: int) -> None:
    limit = loaded.max_positions
    if limit is not None and length > limit:
        raise UsageError(f"The input is {length} tokens long; {loaded.name} takes up to {limit}.", "Shorten the text.")


def _require_finite(loaded: LoadedModel, layer: int, states: Tensor, labels: list[str]) -> None:
    """Refuse states that have no direction."""
    norms = torch.linalg.vector_norm(states, dim=-1)
    bad = (~norms.isfinite() | (norms == 0)).nonzero().flatten().tolist()
    if bad:
        raise StateError(
            f"The state of {labels[bad[0]]} at layer {layer} is NaN, infinite or zero "
            f"({len(bad)} of {len(labels)} are), computed in {loaded.dtype_name}.",
            "Try --dtype float32." if loaded.dtype != torch.float32 else "The model or the input is broken.",
        )
