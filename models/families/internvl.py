"""InternVL (2.5, 3, 3.5 as transformers carries them): tiles row by row, then the whole image; pixel shuffle.

The image is stretched onto the canvas of tiles whose aspect ratio is nearest, and cut. Where there is more than
one tile, the whole image, squeezed into one picture, follows them without a token in between. In the numbering of
views the whole image is view 0, the tiles count up from 1. The class token is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from ..loading import LoadedModel
from ..visual.geometry import cells_of, unprocessed
from ..visual.patches import Cell, Family, Grid, Plan, Shown, row_by_row, unsupported
from .single import patch_size

_MARKERS = {"<img>": "start", "</img>": "end"}


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    return tiled(loaded, inputs, shown, round(patch_size(loaded) / float(loaded.model.config.downsample_ratio)))


def tiled(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown, cell: int) -> Plan:
    """Tiles, then the whole image, all in square cells.

    Args:
        loaded: the model.
        inputs: its processor's outputs.
        shown: the image.
        cell: pixels along the side of what one visual token covers.

    Raises:
        UnsupportedModelError: another number of pictures than the image's shape calls for.
    """
    pictures = inputs["pixel_values"]
    height, width = map(int, pictures.shape[-2:])
    tiled = pictures.shape[0] > shown.total
    counts = [_pictures(loaded, size, tiled) for size in (*shown.before, shown.size)]
    first = sum(count for count, _, _ in counts[:-1])
    count, rows, cols = counts[-1]
    own = pictures[first : first + count]
    if own.shape[0] != count or (shown.total == 1 and pictures.shape[0] != count):
        raise unsupported(loaded, f"its processor returned {pictures.shape[0]} pictures; expected {count}")
    spans = cells_of(height // cell, cell), cells_of(width // cell, cell)
    canvas = unprocessed(*shown.size).resized(rows * height, cols * width)
    tiles = [
        Grid("tile", canvas.windowed(row * height, col * width, height, width), *spans, own[row * cols + col])
        for row in range(rows)
        for col in range(cols)
    ]
    if count == 1:
        tiles = []
    whole = Grid("thumbnail" if tiles else "image", unprocessed(*shown.size).resized(height, width), *spans, own[-1])
    cells: list[Cell] = []
    for number in (*range(1, len(tiles) + 1), 0):
        cells.extend(row_by_row(number, len(spans[0]), len(spans[1])))
    return Plan((whole, *tiles), cells)


def _pictures(loaded: LoadedModel, size: tuple[int, int], tiled: bool) -> tuple[int, int, int]:
    """How many pictures the processor makes of an image, and rows and columns of its tiles."""
    processor: Any = loaded.processor
    settings = processor.image_processor
    if not tiled:
        return 1, 1, 1
    tile = int(settings.size["height"]), int(settings.size["width"])
    cols, rows = get_optimal_tiled_canvas((size[1], size[0]), tile, settings.min_patches, settings.max_patches)
    return (rows * cols + 1 if rows * cols > 1 else 1), rows, cols


FAMILY = Family(types=("internvl",), plan=plan, markers=_MARKERS, bounded=None)
