"""Mistral 3 and Pixtral: one grid of any size, a break token after every row and an end token after the last.

The image keeps its aspect ratio, rounded up to whole patches (Pixtral) or to whole cells of 2 x 2 merged
patches (Mistral 3). Break and end tokens are ordinary tokens of the vocabulary. Pictures of a batch are
padded at the right and bottom to a common size, which the tower ignores.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..loading import LoadedModel
from ..visual.geometry import cells_of, unprocessed
from ..visual.patches import Family, Grid, Plan, Shown, row_by_row, unsupported
from .single import patch_size

MARKERS = {"[IMG_BREAK]": "newline", "[IMG_END]": "end"}


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    sizes = inputs.get("image_sizes")
    if sizes is None:
        raise unsupported(loaded, "its processor returned no image_sizes")
    height, width = map(int, sizes[shown.number])
    cell = patch_size(loaded) * int(getattr(loaded.model.config, "spatial_merge_size", 1))
    grid = Grid(
        "image",
        unprocessed(*shown.size).resized(height, width),
        cells_of(height // cell, cell),
        cells_of(width // cell, cell),
        inputs["pixel_values"][shown.number, :, :height, :width],
    )
    return Plan((grid,), tuple(row_by_row(0, height // cell, width // cell)))


FAMILY = Family(types=("mistral3",), plan=plan, markers=MARKERS, bounded=None)
