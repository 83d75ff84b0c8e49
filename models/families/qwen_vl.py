"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: one grid of any size, 2 x 2 patches merged into one visual token.

The processor resizes the image to whole merged cells (28 or 32 px) and cuts it into patches, cell
by cell: the four patches of a cell are neighbours in ``pixel_values``, cells run row by row.
``image_grid_thw`` counts patches before merging. Qwen2.5-VL's tower reorders its windows and
puts them back. The image stands between start and end tokens of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..loading import LoadedModel
from ..visual.geometry import cells_of, unprocessed
from ..visual.patches import Family, Grid, Plan, Shown, row_by_row, unsupported, vision_config

_MARKERS = {"<|vision_start|>": "start", "<|vision_end|>": "end"}


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    grids = inputs.get("image_grid_thw")
    if grids is None:
        raise unsupported(loaded, "its processor returned no image_grid_thw")
    frames, rows, cols = grids[shown.number].tolist()
    if frames != 1:
        raise unsupported(loaded, f"its processor returned {frames} frames; expected one image")
    vision: Any = vision_config(loaded)
    patch, merge = int(vision.patch_size), int(vision.spatial_merge_size)
    first = int(grids[: shown.number].prod(-1).sum())
    patches = inputs["pixel_values"][first : first + rows * cols]
    mapped = unprocessed(*shown.size).resized(rows * patch, cols * patch)
    cell = patch * merge
    grid = Grid(
        "image",
        mapped,
        cells_of(rows // merge, cell),
        cells_of(cols // merge, cell),
        _picture(patches, rows // merge, cols // merge, merge, patch),
    )
    return Plan((grid,), tuple(row_by_row(0, rows // merge, cols // merge)))


def _picture(patches: Tensor, rows: int, cols: int, merge: int, patch: int) -> Tensor:
    """Patches ``[n, 3 * frames * patch * patch]`` as the picture they were cut from, ``[3, height, width]``."""
    cut = patches.reshape(rows, cols, merge, merge, 3, -1, patch, patch)[..., 0, :, :]
    return cut.permute(4, 0, 2, 5, 1, 3, 6).reshape(3, rows * merge * patch, cols * merge * patch)


FAMILY = Family(types=("qwen2_vl", "qwen2_5_vl"), plan=plan, markers=_MARKERS, bounded=None)
