"""Any VLM that sees one picture as one grid of patches, row by row: LLaVA-1.5 and its likes.

What cannot be read off the configuration and the processor's settings is refused, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.geometry import PixelMap
from models.loading import LoadedModel
from models.patches import (
    Placement,
    feature_count,
    image_features,
    place_grid,
    token_positions,
    trace_pixels,
    unsupported,
)

# Families whose order of visual tokens a test of ours has measured by changing pixels.
_MEASURED = ("llava",)


def place(loaded: LoadedModel, inputs: Mapping[str, Tensor], size: tuple[int, int]) -> Placement:
    """Locate the visual tokens of one image.

    Args:
        loaded: a VLM of any family.
        inputs: what its processor made.
        size: width and height of the original image.

    Raises:
        UnsupportedModelError: several pictures (tiles), a count that is no grid, or a processor
            that cannot be traced.
    """
    pixels = inputs.get("pixel_values")
    if pixels is None or pixels.ndim != 4 or pixels.shape[0] != 1:
        seen = "no pixel_values" if pixels is None else f"pixel_values of shape {tuple(pixels.shape)}"
        raise unsupported(loaded, f"expected one picture [1, 3, height, width], its processor gave {seen}")
    mapped = trace_pixels(loaded, inputs, size)
    positions = token_positions(loaded, inputs, feature_count(image_features(loaded, inputs)))
    rows, cols = _grid(loaded, mapped, len(positions))
    kind = loaded.model.config.model_type
    notes = () if kind in _MEASURED else (f"The grid of {kind!r} is assumed to run row by row; no test covers it.",)
    return place_grid(mapped, rows, cols, positions, notes)


def _grid(loaded: LoadedModel, mapped: PixelMap, count: int) -> tuple[int, int]:
    """Rows and columns: from the patch size where it explains the count, else a square of a square."""
    vision: Any = getattr(loaded.model.config, "vision_config", None)
    patch = getattr(vision, "patch_size", None)
    height, width = mapped.y.size, mapped.x.size
    if isinstance(patch, int) and (height // patch) * (width // patch) == count:
        return height // patch, width // patch
    side = math.isqrt(count)
    if side * side == count and height == width:
        return side, side
    raise unsupported(loaded, f"{count} visual tokens of a {width} x {height} picture are no square grid")
