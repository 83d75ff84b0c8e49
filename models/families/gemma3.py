"""Gemma 3: one square picture, pooled to 16 x 16 tokens; on request crops of it (pan and scan).

The whole image is squeezed into a square. With pan and scan, off by default, an elongated image is also cut
into crops along its longer side, each squeezed into a square in turn; they follow the whole image. The tokens of one
picture attend to each other in both directions. Text embeddings are scaled by the square root of the width, inside the
embedding; the connector's output is not scaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..loading import LoadedModel
from ..visual.geometry import PixelMap, cells_of, unprocessed
from ..visual.patches import (
    Cell,
    Family,
    Grid,
    Plan,
    Shown,
    row_by_row,
    unsupported,
    vision_config,
)
from .single import patch_size

_MARKERS = {"<start_of_image>": "start", "<end_of_image>": "end"}
_NOTE = (
    "The visual tokens of an image attend to each other in both directions, so each state can depend on all of them."
)


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    config: Any = loaded.model.config
    pictures = inputs["pixel_values"]
    crops = pictures.shape[0] - shown.total
    if crops and shown.total > 1:
        raise unsupported(
            loaded, "several images were cropped (pan and scan), and it is not known which crop belongs to which image"
        )
    side = math.isqrt(int(config.mm_tokens_per_image))
    pooled = int(vision_config(loaded).image_size) // patch_size(loaded) // side
    height, width = pictures.shape[-2:]
    whole = unprocessed(*shown.size)
    spans = cells_of(side, pooled * patch_size(loaded))
    parts = [whole, *_crops(whole, crops)]
    grids = tuple(
        Grid("tile" if i else "image", part.resized(height, width), spans, spans, pictures[shown.number + i])
        for i, part in enumerate(parts)
    )
    cells: list[Cell] = [cell for i in range(len(grids)) for cell in row_by_row(i, side, side)]
    return Plan(grids, cells)


def _crops(whole: PixelMap, count: int) -> list[PixelMap]:
    """The image cut into ``count`` parts along its longer side (the wider one where they are equal)."""
    if not count:
        return []
    width, height = whole.x.size, whole.y.size
    if width >= height:
        step = math.ceil(width / count)
        return [whole.windowed(0, i * step, height, min(step, width - i * step)) for i in range(count)]
    step = math.ceil(height / count)
    return [whole.windowed(i * step, 0, min(step, height - i * step), width) for i in range(count)]


FAMILY = Family(types=("gemma3",), plan=plan, markers=_MARKERS, notes=(_NOTE,), bounded=None)
