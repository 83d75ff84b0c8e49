"""Which visual token is which patch of the image: the types, and what all families share."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.geometry import PixelMap, pixel_map, processed_size, verify_steps
from models.loading import LoadedModel
from schemas.errors import UnsupportedModelError
from schemas.results import PixelBox, View


@dataclass(frozen=True, slots=True)
class VisualToken:
    """One visual token.

    Attributes:
        index: position in the model's input sequence, padding not counted, from 0.
        view: which :class:`~schemas.results.View` it belongs to.
        row: row in the view's patch grid, from the top.
        col: column, from the left.
        box: the pixels of the original image that the patch covers.
    """

    index: int
    view: int
    row: int
    col: int
    box: PixelBox


@dataclass(frozen=True)
class Placement:
    """A family's answer: where each visual token looks.

    Attributes:
        tokens: in sequence order; those that only see padding are left out.
        views: the patch grids.
        notes: what a reader of the result should know, one sentence each.
    """

    tokens: tuple[VisualToken, ...]
    views: tuple[View, ...]
    notes: tuple[str, ...]


def image_features(loaded: LoadedModel, inputs: Mapping[str, Tensor]) -> Any:
    """Run the vision tower and connector alone: as many features as there are visual tokens.

    Returns:
        What the model's ``get_image_features`` returns.

    Raises:
        UnsupportedModelError: it has no such method.
    """
    method = getattr(loaded.model, "get_image_features", None)
    if method is None:
        raise unsupported(loaded, "it has no get_image_features()")
    known = inspect.signature(method).parameters
    with torch.inference_mode():
        return method(**{name: value for name, value in inputs.items() if name in known})


def feature_count(features: Any) -> int:
    """How many feature vectors the connector made."""
    pooled = getattr(features, "pooler_output", features)
    parts = pooled if isinstance(pooled, list | tuple) else [pooled]
    return sum(part.numel() // part.shape[-1] for part in parts)


def token_positions(loaded: LoadedModel, inputs: Mapping[str, Tensor], n_features: int) -> list[int]:
    """Positions of the visual tokens in the unpadded sequence, found by their token id.

    Raises:
        UnsupportedModelError: not as many as the model has image features.
    """
    mask = unpadded(inputs)
    ids = inputs["input_ids"][0][mask]
    positions: list[int] = (ids == image_token_id(loaded)).nonzero().flatten().tolist()
    if len(positions) != n_features:
        raise unsupported(
            loaded,
            f"the processor placed {len(positions)} visual tokens, but the model made {n_features} image features",
            "The processor's patch_size or token settings do not fit the model; correct them.",
        )
    return positions


def unpadded(inputs: Mapping[str, Tensor]) -> Tensor:
    """Boolean ``[seq]``: which tokens of the one sequence are not padding."""
    mask = inputs.get("attention_mask")
    return torch.ones_like(inputs["input_ids"][0], dtype=torch.bool) if mask is None else mask[0].bool()


def image_token_id(loaded: LoadedModel) -> int:
    """The vocabulary id that stands for one visual token.

    Raises:
        UnsupportedModelError: the configuration names none.
    """
    config = loaded.model.config
    for name in ("image_token_id", "image_token_index"):
        value = getattr(config, name, None)
        if value is not None:
            return int(value)
    raise unsupported(loaded, "its configuration names no image_token_id")


def trace_pixels(loaded: LoadedModel, inputs: Mapping[str, Tensor], size: tuple[int, int]) -> PixelMap:
    """How the processed image's pixels go back to the original of ``(width, height)``.

    Raises:
        UnsupportedModelError: the processor does something that cannot be traced.
    """
    processor: Any = loaded.processor
    image_processor = processor.image_processor
    verify_steps(image_processor)
    mapped = pixel_map(image_processor, *size)
    processed_size(inputs["pixel_values"], image_processor, mapped)
    return mapped


def place_grid(mapped: PixelMap, rows: int, cols: int, positions: list[int], notes: tuple[str, ...] = ()) -> Placement:
    """One view of ``rows`` × ``cols`` patches, in row-major order, over the whole processed image."""
    cells = [(index, row, col, box) for index, (row, col, box) in zip(positions, mapped.boxes(rows, cols), strict=True)]
    tokens = tuple(VisualToken(index, 0, row, col, box) for index, row, col, box in cells if box is not None)
    padding = len(cells) - len(tokens)
    seen = mapped.visible()
    area = (seen.x1 - seen.x0) * (seen.y1 - seen.y0) / (mapped.x.original * mapped.y.original)
    if padding:
        notes += (f"{padding} of {len(cells)} visual tokens see only padding and are left out.",)
    if area < 1:
        notes += (f"The model's processor crops the image: {area:.0%} of it is seen.",)
    return Placement(tokens, (View(0, "image", rows, cols, seen),), notes)


def unsupported(loaded: LoadedModel, why: str, hint: str = "") -> UnsupportedModelError:
    """The refusal to guess, with what to do about it."""
    return UnsupportedModelError(
        f"The visual tokens of {loaded.name} ({loaded.model.config.model_type}) cannot be located: {why}.",
        hint or "Add a file for this model family to models/families/ and register it in models/visual_tokens.py.",
    )
