"""Idefics3 and SmolVLM: tiles in rows and columns, then the whole image; patches merged by pixel shuffle.

The image is resized (longest edge, then up to whole tiles: never cropped, slightly stretched) and cut
into tiles of the tower's size; the whole image, squeezed into one such picture, comes last. Between
them stand tokens of their own, which say the tile's row and column. A small image is one picture.
In the numbering of views the whole image is view 0, the tiles count up from 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers.models.idefics3 import image_processing_pil_idefics3 as processing

from ..loading import LoadedModel
from ..visual.geometry import cells_of, unprocessed
from ..visual.patches import Cell, Family, Grid, Plan, Shown, row_by_row, unsupported
from .single import patch_size

_fitted: Any = processing._resize_output_size_rescale_to_max_len
_bounded: Any = processing._resize_output_size_scale_below_upper_bound
# Beyond this, whatever the settings say (the processor's MAX_IMAGE_SIZE).
_LARGEST = 4096
_MOST_TILES = 20
_MARKERS = {
    "<fake_token_around_image>": "start",
    "<global-img>": "tile",
    **{f"<row_{row}_col_{col}>": "tile" for row in range(1, _MOST_TILES) for col in range(1, _MOST_TILES)},
}


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    processor: Any = loaded.processor
    image_processor = processor.image_processor
    side = int(image_processor.max_image_size["longest_edge"])
    rows, cols = _tiles(image_processor, *shown.size)
    first = sum(1 + math.prod(_tiles(image_processor, *size)) for size in shown.beside)
    pictures = inputs["pixel_values"][shown.sample, first : first + 1 + rows * cols]
    if tuple(pictures.shape) != (1 + rows * cols, 3, side, side):
        raise unsupported(
            loaded,
            f"its processor returned pictures of shape {tuple(pictures.shape)}; expected {1 + rows * cols} of {side} "
            f"x {side} pixels",
        )
    spans = cells_of(
        side // patch_size(loaded) // loaded.model.config.scale_factor,
        patch_size(loaded) * loaded.model.config.scale_factor,
    )
    canvas = unprocessed(*shown.size).resized(max(1, rows) * side, max(1, cols) * side)
    whole = Grid(
        "thumbnail" if rows else "image",
        unprocessed(*shown.size).resized(side, side),
        spans,
        spans,
        pictures[-1],
    )
    tiles = tuple(
        Grid("tile", canvas.windowed(row * side, col * side, side, side), spans, spans, pictures[row * cols + col])
        for row in range(rows)
        for col in range(cols)
    )
    cells: list[Cell] = []
    for number in (*range(1, len(tiles) + 1), 0):
        cells.extend(row_by_row(number, len(spans), len(spans)))
    return Plan((whole, *tiles), cells)


def _tiles(image_processor: Any, width: int, height: int) -> tuple[int, int]:
    """Rows and columns of tiles; none where the image is one picture."""
    if not image_processor.do_image_splitting:
        return 0, 0
    side = int(image_processor.max_image_size["longest_edge"])
    if image_processor.do_resize:
        longest = dict(image_processor.size)["longest_edge"]
        height, width = _fitted(height, width, max_len=longest)
        height, width = _bounded(height, width, max_len=_LARGEST)
    # The longer side is rounded up to whole tiles first, and the shorter one from there.
    ratio = width / height
    if width >= height:
        width = math.ceil(width / side) * side
        height = math.ceil(int(width / ratio) / side) * side
    else:
        height = math.ceil(height / side) * side
        width = math.ceil(int(height * ratio) / side) * side
    return (height // side, width // side) if height > side or width > side else (0, 0)


FAMILY = Family(types=("idefics3", "smolvlm"), plan=plan, markers=_MARKERS, bounded=None)
