"""From images to what the model is given: their visual tokens, each with its patch of its image.

Each family of VLMs has a file in `models.families`; docs/adding-a-model.md says how to write one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from PIL import Image
from torch import Tensor

from ..schemas.errors import ModelError
from ..schemas.inspection import LayoutToken, VisualToken
from ..schemas.results import View
from .families import (
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
from .lengths import require_length
from .loading import LoadedModel
from .visual.patches import (
    Family,
    Grid,
    Placement,
    Shown,
    marker_tokens,
    placed,
    token_positions,
    unsupported,
)
from .visual.prompting import image_prompt, influence
from .visual.tracing import verify_grids

__all__ = ["FAMILIES", "VisualInput", "VisualToken", "family_of", "prepare_image", "prepare_images"]

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
    """One image or several and a prompt, ready for the model.

    Attributes:
        inputs: the model's keyword arguments, on its device.
        tokens: the visual tokens, in sequence order.
        views: the patch grids, each of which knows its image.
        layout: tokens that say how the patches lie, in sequence order.
        prompt: the text that the model sees, with the image token once for each image.
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
    """Process one image and locate its visual tokens; see :func:`prepare_images`."""
    return prepare_images(loaded, [image], prompt)


def prepare_images(loaded: LoadedModel, images: Sequence[Image.Image], prompt: str | None = None) -> VisualInput:
    """Process the images of one prompt and locate their visual tokens.

    Args:
        loaded: a VLM.
        images: upright; RGB.
        prompt: see :func:`models.visual.prompting.image_prompt`.

    Raises:
        ModelError: a text-only model, or a processor that fails.
        UnsupportedModelError: its visual tokens cannot be located with certainty; several images of one prompt cannot
            be told apart.
        UsageError: the prompt holds the image token.
        ImageError: the model's processor would make an image unbearably large; images and prompt are too long for
            the model.
    """
    require_vision(loaded)
    processor: Any = loaded.processor
    family = family_of(loaded)
    if len(images) > 1 and not family.several:
        raise unsupported(
            loaded, f"{len(images)} images are in one prompt, and no file in models/families/ knows this family"
        )
    text = image_prompt(loaded, prompt, family.separator, len(images))
    if family.bounded is not None:
        for image in images:
            family.bounded(processor.image_processor, *image.size)
    inputs = process(loaded, [images], [text])
    require_length(loaded, inputs["input_ids"].shape[1], images=len(images))
    if processor not in _traced:
        verify_grids(lambda probe: _probe(loaded, family, probe), processor.image_processor)
        _traced.add(processor)
    [found] = locate(loaded, inputs, [[image.size for image in images]])
    layout = [*(token for one in found for token in one.layout), *marker_tokens(loaded, inputs, family)]
    return VisualInput(
        inputs,
        tuple(token for one in found for token in one.tokens),
        tuple(view for one in found for view in one.views),
        tuple(sorted(layout, key=lambda token: token.index)),
        text,
        (*_announced(loaded), *family.notes, *_notes_of(found), *influence(loaded, text, prompt)),
    )


def _notes_of(found: Sequence[Placement]) -> list[str]:
    """What a reader should know of each image; of several, of which."""
    if len(found) == 1:
        return list(found[0].notes)
    return [f"Image {number}: {note}" for number, one in enumerate(found, 1) for note in one.notes]


def require_vision(loaded: LoadedModel) -> None:
    """Refuse a model that cannot be shown images.

    Raises:
        ModelError: a text-only model, or one without its processor.
    """
    if loaded.processor is None:
        lack = "was loaded without its processor" if loaded.is_vlm else "is a text-only model"
        raise ModelError(
            f"{loaded.name} {lack}; expected a model that can be shown images.",
            "Give a vision-language model with its processor, or ask about text with --text.",
        )


def rendered_prompt(loaded: LoadedModel, prompt: str | None = None) -> str:
    """The text that the model sees around an image; arguments and errors as of :func:`prepare_image`."""
    return image_prompt(loaded, prompt, family_of(loaded).separator)


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
    # RuntimeError: torchvision's processors; others fail in ways of their own (division by zero, a missing package).
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError, ImportError) as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise ModelError(
            f"The processor of {loaded.name} failed on the image: {reason}.",
            "Crop or resize the image. If every image fails, the processor's files do not fit the model.",
        ) from error
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
                f"the processor placed {len(positions)} visual tokens, but the model makes {expected} from its "
                "pictures",
                "Correct patch_size, num_additional_image_tokens or vision_feature_select_strategy in the processor's "
                "configuration; they do not fit the model's config.json.",
            )
        found: list[Placement] = []
        views = at = 0
        for plan in plans:
            found.append(placed(plan, positions[at : at + len(plan.cells)], views, len(found)))
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
    return (
        f"lensbank has no file for the family {kind!r} in models/families/ and assumes that its visual tokens are a "
        "grid, row by row.",
    )


def _to(value: Tensor, loaded: LoadedModel) -> Tensor:
    """On the model's device; pixels in its dtype, ids as they are."""
    return value.to(loaded.device, loaded.dtype if value.is_floating_point() else value.dtype)
