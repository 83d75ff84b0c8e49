"""From an image to the hidden states of its visual tokens, each with its patch of the image.

Each family of VLMs has a file in `models.families`; docs/adding-a-model.md says how to write one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from PIL import Image
from torch import Tensor

from models.capture import capture_hidden_states
from models.families import (
    aya_vision,
    connector,
    fastvlm,
    gemma3,
    generic,
    glm4v,
    idefics3,
    internvl,
    llava,
    llava_next,
    llava_onevision,
    molmo2,
    paligemma,
    pixtral,
    qwen3_vl,
    qwen_vl,
)
from models.loading import LoadedModel
from models.offload import execution_device
from models.patches import (
    Family,
    Grid,
    LayoutToken,
    Placement,
    Shown,
    VisualToken,
    marker_tokens,
    placed,
    token_positions,
    unpadded,
    unsupported,
)
from models.prompting import image_prompt
from models.tracing import verify_grids
from schemas.errors import ModelError, StateError, UsageError
from schemas.results import View
from schemas.words import visible_span

__all__ = ["FAMILIES", "VisualInput", "VisualToken", "family_of", "prepare_image", "text_states", "visual_states"]

#: By the ``model_type`` of the VLM's configuration.
FAMILIES: dict[str, Family] = {
    model_type: module.FAMILY
    for module in (
        *(aya_vision, connector, fastvlm, gemma3, glm4v, idefics3, internvl, llava, llava_next, llava_onevision),
        *(molmo2, paligemma, pixtral, qwen3_vl, qwen_vl),
    )
    for model_type in module.FAMILY.types
}
_traced: WeakSet[Any] = WeakSet()


@dataclass(frozen=True)
class VisualInput:
    """An image and a prompt, ready for the model.

    Attributes:
        inputs: the model's keyword arguments, on its device.
        tokens: the visual tokens, in sequence order.
        views: the patch grids.
        layout: tokens that say how the patches lie, in sequence order.
        prompt: the text that the model sees, with the image token once.
        notes: what a reader of the result should know.
    """

    inputs: dict[str, Tensor]
    tokens: tuple[VisualToken, ...]
    views: tuple[View, ...]
    layout: tuple[LayoutToken, ...]
    prompt: str
    notes: tuple[str, ...]


def family_of(loaded: LoadedModel) -> Family:
    """The file that knows this model; the generic one where there is none."""
    return FAMILIES.get(loaded.model.config.model_type, generic.FAMILY)


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
        ImageError: the model's processor would make the image unbearably large.
    """
    processor: Any = loaded.processor
    if processor is None:
        lack = "was loaded without its processor" if loaded.is_vlm else "is a text-only model"
        raise ModelError(
            f"{loaded.name} {lack}; expected a model that can be shown images.",
            "Give a vision-language model with its processor, or ask about text with --text.",
        )
    family = family_of(loaded)
    text = image_prompt(loaded, prompt, family.separator)
    if family.bounded is not None:
        family.bounded(processor.image_processor, *image.size)
    inputs = process(loaded, [[image]], [text])
    _require_length(loaded, inputs["input_ids"].shape[1])
    if processor not in _traced:
        verify_grids(lambda probe: _probe(loaded, family, probe), processor.image_processor)
        _traced.add(processor)
    [[found]] = locate(loaded, inputs, [[image.size]])
    layout = sorted((*found.layout, *marker_tokens(loaded, inputs, family)), key=lambda token: token.index)
    return VisualInput(
        inputs, found.tokens, found.views, tuple(layout), text, (*_announced(loaded), *family.notes, *found.notes)
    )


def process(loaded: LoadedModel, images: Sequence[Sequence[Image.Image]], texts: Sequence[str]) -> dict[str, Tensor]:
    """Run the model's processor.

    Args:
        loaded: a VLM with its processor.
        images: of each sample.
        texts: one per sample, each with as many image tokens as the sample has images.

    Returns:
        The model's keyword arguments, on its device; several samples padded.

    Raises:
        ModelError: the processor failed.
    """
    processor: Any = loaded.processor
    bos = loaded.tokenizer.bos_token
    try:
        with warnings.catch_warnings():
            # NumPy's about PaliGemma's processor, which makes an array of a tensor; nothing a user could do.
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
            batch = processor(
                images=[[image.convert("RGB") for image in shown] for shown in images],
                text=list(texts),
                return_tensors="pt",
                padding=len(texts) > 1,
                # A chat template writes the BOS token itself; the tokenizer must not add a second one.
                add_special_tokens=not (bos and texts[0].startswith(bos)),
            )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"The processor of {loaded.name} failed on the image: {error}.") from error
    # Labels are for training: with them, the model would compute a loss.
    values = {name: value for name, value in batch.items() if isinstance(value, Tensor) and name != "labels"}
    return {name: _to(value, loaded) for name, value in values.items()}


def locate(
    loaded: LoadedModel, inputs: Mapping[str, Tensor], sizes: Sequence[Sequence[tuple[int, int]]]
) -> list[list[Placement]]:
    """Find the patch of every visual token.

    Args:
        loaded: the VLM.
        inputs: from :func:`process`.
        sizes: for each sample, the ``(width, height)`` of its original images, in order.

    Returns:
        For each sample, where each of its images lies; views count on from image to image.

    Raises:
        UnsupportedModelError: the processor placed another number of visual tokens than its
            pictures have patches, or its steps cannot be traced.
    """
    family = family_of(loaded)
    placements: list[list[Placement]] = []
    everything = [size for shown in sizes for size in shown]
    for sample, own in enumerate(sizes):
        positions = token_positions(loaded, inputs, sample)
        start = sum(map(len, sizes[:sample]))
        plans = [
            family.plan(
                loaded,
                inputs,
                Shown(size, start + i, sample, tuple(everything[: start + i]), tuple(own[:i]), len(everything)),
            )
            for i, size in enumerate(own)
        ]
        expected = sum(len(plan.cells) for plan in plans)
        if expected != len(positions):
            raise unsupported(
                loaded,
                f"the processor placed {len(positions)} visual tokens, but the model makes {expected} of its pictures",
                "The processor's patch_size or token settings do not fit the model; correct them.",
            )
        found: list[Placement] = []
        views = at = 0
        for plan in plans:
            found.append(placed(plan, positions[at : at + len(plan.cells)], views))
            at, views = at + len(plan.cells), views + len(plan.grids)
        placements.append(found)
    return placements


def _probe(loaded: LoadedModel, family: Family, picture: Image.Image) -> tuple[Grid, ...]:
    """The grids of a test picture."""
    inputs = process(loaded, [[picture]], [image_prompt(loaded, None, family.separator)])
    return family.plan(loaded, inputs, Shown(picture.size)).grids


def _announced(loaded: LoadedModel) -> tuple[str, ...]:
    """The generic path is a guess, and says so."""
    kind = loaded.model.config.model_type
    if kind in FAMILIES:
        return ()
    return (f"The grid of {kind!r} is assumed to run row by row: no file in models/families/ knows this family.",)


def visual_states(loaded: LoadedModel, visual_input: VisualInput, layers: Iterable[int]) -> dict[int, Tensor]:
    """The visual tokens' hidden states, in one forward pass that stops after the deepest layer.

    Returns:
        Layer → float32 ``[len(visual_input.tokens), dim]`` on the model's device, raw (not
        normalised), in the order of ``visual_input.tokens``.

    Raises:
        LayerError: a layer that does not exist.
        StateError: a state is NaN, infinite or zero.
        UnsupportedModelError: the model changes the length of its sequence.
        ModelError: the model failed, or the device's memory is too small.
    """
    inputs = visual_input.inputs
    try:
        with torch.inference_mode(), capture_hidden_states(loaded.lm, layers) as captured:
            loaded.model(**inputs, use_cache=False)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{loaded.name} ran out of the device's memory on an image of {len(visual_input.tokens)} visual tokens.",
            "Use --dtype bfloat16, --device-map auto, or a smaller image.",
        ) from error
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise ModelError(f"{loaded.name} ({type(loaded.model).__name__}) failed on the image: {error}.") from error
    mask = unpadded(inputs)
    index = torch.tensor([token.index for token in visual_input.tokens], device=mask.device)
    rows = mask.nonzero().flatten()[index]
    states: dict[int, Tensor] = {}
    for layer, hidden in captured.items():
        if hidden.shape[1] != mask.shape[0]:
            raise unsupported(loaded, f"it turned {mask.shape[0]} tokens into {hidden.shape[1]}")
        states[layer] = hidden[0, rows.to(hidden.device)].to(loaded.device).float()
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
    ids = encoded["input_ids"].to(execution_device(loaded.lm.embed_tokens))
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
    states = {layer: hidden[0, kept].to(loaded.device).float() for layer, hidden in captured.items()}
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
