"""LLaVA-OneVision: as LLaVA-NeXT, with a large grid made coarser, and plain pictures where a prompt has several.

Where the joined grid has more than ``anyres_max_9`` allows (9 pictures' worth of patches), the model
interpolates it to a coarser one. Several images in one prompt are not tiled: each is padded to a
square and seen as one picture, followed by one newline token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..loading import LoadedModel
from ..visual.geometry import cells_of, unprocessed
from ..visual.patches import Family, Grid, Plan, Shown, row_by_row, vision_config
from . import anyres, single


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    together = inputs.get("batch_num_images")
    if together is not None and int(together[shown.sample]) > 1:
        return _untiled(loaded, inputs, shown)
    config: Any = loaded.model.config
    most = int(str(config.vision_aspect_ratio).removeprefix("anyres_max_"))
    per_side = int(vision_config(loaded).image_size) // single.patch_size(loaded)

    def coarsened(rows: int, cols: int) -> tuple[int, int]:
        # In the words of the model's pack_image_features.
        ratio = math.sqrt(rows * cols / (most * per_side**2))
        return (int(rows // ratio), int(cols // ratio)) if ratio > 1.1 else (rows, cols)

    return anyres.plan(loaded, inputs, shown, coarsened)


def _untiled(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """One of several images in a prompt."""
    side, patch = int(vision_config(loaded).image_size), single.patch_size(loaded)
    width, height = shown.size
    longest = max(width, height)
    square = unprocessed(width, height).windowed(
        -((longest - height) // 2), -((longest - width) // 2), longest, longest
    )
    spans = cells_of(side // patch, patch)
    grid = Grid("image", square.resized(side, side), spans, spans, inputs["pixel_values"][shown.number, 0])
    return Plan((grid,), (*row_by_row(0, len(spans), len(spans)), "newline"))


FAMILY = Family(types=("llava_onevision",), plan=plan, bounded=None)
