"""What LLaVA-NeXT and LLaVA-OneVision share: an overview, then tiles joined to one large grid.

The image is seen twice. First squeezed into one square picture (view 0). Then resized into the best of
some fixed resolutions, padded, and cut into square tiles; the model joins the tiles' features to one
large grid, drops rows or columns that lie in the padding, and puts a newline token after every row
(view 1). Which rows and columns are dropped is asked of transformers' own function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import image_processing_utils as processing
from transformers.image_utils import ChannelDimension
from transformers.models.llava_next import modeling_llava_next as modeling

from ..loading import LoadedModel
from ..visual.geometry import PixelMap, Span, cells_of, unprocessed
from ..visual.patches import Cell, Grid, Plan, Shown, row_by_row, unsupported, vision_config
from .single import class_tokens, drops_a_patch, patch_size

_best: Any = processing.select_best_resolution
_fitted: Any = processing.get_patch_output_size
_unpad: Any = modeling.unpad_image

#: Rows and columns of the large grid, after the model has made it coarser; by default as they are.
Coarsened = Callable[[int, int], tuple[int, int]]


def plan(
    loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown, coarsened: Coarsened = lambda *grid: grid
) -> Plan:
    """The overview row by row, then the large grid with a newline after every row.

    Raises:
        UnsupportedModelError: tiles of another size than the tower's, or with a class token, or without a patch.
    """
    _require_patches_alone(loaded)
    side, patch = int(vision_config(loaded).image_size), patch_size(loaded)
    per_side = side // patch
    pictures = inputs["pixel_values"][shown.number]
    height, width = _best_resolution(loaded, shown.size)
    _require_square(loaded, pictures, side)
    down, across = height // side, width // side
    if pictures.shape[0] < 1 + down * across:
        raise unsupported(loaded, f"its processor returned {pictures.shape[0]} pictures; expected {1 + down * across}")
    overview = Grid(
        "thumbnail",
        unprocessed(*shown.size).resized(side, side),
        cells_of(per_side, patch),
        cells_of(per_side, patch),
        pictures[0],
    )
    kept_rows, kept_cols = _unpadded(shown.size, down * per_side, across * per_side)
    rows, cols = coarsened(len(kept_rows), len(kept_cols))
    overview_cells = tuple(row_by_row(0, per_side, per_side))
    if rows * cols == 0:  # so thin an image that the model drops all of the large grid but its newlines
        return Plan((overview,), (*overview_cells, *("newline",) * rows))
    large = Grid(
        "image",
        _padded(shown.size, height, width),
        _spans(kept_rows, rows, per_side, side, patch),
        _spans(kept_cols, cols, per_side, side, patch),
        _joined(pictures[1 : 1 + down * across], down, across),
    )
    return Plan((overview, large), (*overview_cells, *_with_newlines(1, rows, cols)))


def _require_patches_alone(loaded: LoadedModel) -> None:
    """Tiles can be joined only where the tower's features are their patches, no more and no less."""
    full = getattr(loaded.model.config, "vision_feature_select_strategy", "default") == "full"
    if full and class_tokens(loaded):
        raise unsupported(
            loaded,
            "vision_feature_select_strategy 'full' keeps the class token of its vision tower beside the patches of "
            "every tile, and transformers joins tiles of patches alone",
            "Set it to 'default' in config.json and processor_config.json if the model was trained so.",
        )
    if not full and not class_tokens(loaded):
        raise drops_a_patch(loaded)


def _with_newlines(grid: int, rows: int, cols: int) -> Iterator[Cell | str]:
    for row in range(rows):
        yield from ((grid, row, col) for col in range(cols))
        yield "newline"


def _best_resolution(loaded: LoadedModel, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the canvas, from the resolutions that model and processor must agree on."""
    config: Any = loaded.model.config
    processor: Any = loaded.processor
    allowed = [list(map(int, pair)) for pair in config.image_grid_pinpoints]
    if allowed != [list(map(int, pair)) for pair in processor.image_processor.image_grid_pinpoints]:
        raise unsupported(loaded, "its model and its processor list different image_grid_pinpoints")
    best = _best((size[1], size[0]), allowed)
    return int(best[0]), int(best[1])


def _require_square(loaded: LoadedModel, pictures: Tensor, side: int) -> None:
    """Tiles must be as large as the tower's pictures: else the processor resizes or crops each again."""
    processor: Any = loaded.processor
    size = {key: value for key, value in dict(processor.image_processor.size).items() if value}
    if set(size.values()) != {side} or tuple(pictures.shape[-2:]) != (side, side):
        raise unsupported(
            loaded,
            f"its vision tower expects {side} x {side} pixels, but its processor makes {tuple(pictures.shape[-2:])} "
            f"for the size {size}",
        )


def _padded(size: tuple[int, int], height: int, width: int) -> PixelMap:
    """Resized to fit into the canvas, padded on both sides."""
    stand_in = np.broadcast_to(np.uint8(0), (3, size[1], size[0]))
    new_height, new_width = _fitted(stand_in, (height, width), ChannelDimension.FIRST)
    resized = unprocessed(*size).resized(new_height, new_width)
    return resized.windowed(-((height - new_height) // 2), -((width - new_width) // 2), height, width)


def _unpadded(size: tuple[int, int], rows: int, cols: int) -> tuple[range, range]:
    """The rows and columns of the joined grid that the model keeps."""
    numbered = torch.arange(rows * cols).reshape(1, rows, cols)
    kept = _unpad(numbered, (size[1], size[0]))[0]
    if not kept.numel():
        return range(kept.shape[0]), range(kept.shape[1])
    first, last = int(kept[0, 0]), int(kept[-1, -1])
    return range(first // cols, last // cols + 1), range(first % cols, last % cols + 1)


def _spans(kept: range, count: int, per_side: int, side: int, patch: int) -> tuple[Span, ...]:
    """What ``count`` equal parts of the kept rows (or columns) cover, in pixels of the canvas.

    A tile's patches may end before the tile does, so the joined grid has gaps.
    """
    edges = [kept.start + Fraction(len(kept) * i, count) for i in range(count + 1)]
    return tuple(
        (_pixel(start, int(start // 1) // per_side, per_side, side, patch),
         _pixel(end, (-int(-end // 1) - 1) // per_side, per_side, side, patch))
        for start, end in zip(edges, edges[1:], strict=False)
    )  # fmt: skip


def _pixel(at: Fraction, tile: int, per_side: int, side: int, patch: int) -> Fraction:
    """An edge counted in patches, as seen from a tile, in pixels."""
    return tile * side + (at - tile * per_side) * patch


def _joined(tiles: Tensor, down: int, across: int) -> Tensor:
    """Tiles ``[n, 3, side, side]`` as one picture."""
    side = tiles.shape[-1]
    return tiles.reshape(down, across, 3, side, side).permute(2, 0, 3, 1, 4).reshape(3, down * side, across * side)
