"""Molmo 2: an overview, then one large grid from overlapping tiles; 2 x 2 patches pooled into one token.

View 0 is the whole image squeezed into one square picture, view 1 the whole image stretched onto a canvas
of tiles. The tiles overlap, but each patch of the canvas is taken from one tile only: the processor's
``image_token_pooling`` lists, for every visual token, the patches it pools, in canvas order; -1 stands where the
grid has no more patches. Column, start and end tokens are tokens of their own. All image tokens of a prompt
attend to each other in both directions. Features are added to the embedding of ``<im_patch>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..loading import LoadedModel
from ..visual.geometry import Span, unprocessed
from ..visual.patches import Family, Grid, Plan, Shown, row_by_row, unsupported
from .single import patch_size

_MARKERS = {"<im_start>": "start", "<low_res_im_start>": "start", "<im_end>": "end", "<im_col>": "newline"}
_NOTE = (
    "The visual tokens of a prompt attend to each other in both directions, so each state can depend on all of them."
)


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    counts = inputs.get("image_grids")
    if counts is None:
        raise unsupported(loaded, "its processor returned no image_grids")
    low_rows, low_cols, rows, cols = counts[shown.number].tolist()
    first = sum(a * b + c * d for a, b, c, d in counts[: shown.number].tolist())
    middle = first + low_rows * low_cols
    pooling = inputs["image_token_pooling"]
    low = _grid(loaded, inputs, shown, "thumbnail", pooling[first:middle], low_rows, low_cols)
    large = _grid(loaded, inputs, shown, "image", pooling[middle : middle + rows * cols], rows, cols)
    return Plan((low, large), (*row_by_row(0, low_rows, low_cols), *row_by_row(1, rows, cols)))


def _grid(
    loaded: LoadedModel,
    inputs: Mapping[str, Tensor],
    shown: Shown,
    kind: str,
    pooling: Tensor,
    rows: int,
    cols: int,
) -> Grid:
    """A grid of pooled patches, put together from the patches that its tokens pool."""
    processor: Any = loaded.processor
    down, across = map(int, processor.image_processor.pooling_size)
    index = pooling.reshape(rows, cols, down, across).permute(0, 2, 1, 3).reshape(rows * down, cols * across)
    real = index >= 0
    row_range, col_range = _range(real.any(1)), _range(real.any(0))
    index = index[row_range.start : row_range.stop, col_range.start : col_range.stop]
    patch = patch_size(loaded)
    patches = inputs["pixel_values"].flatten(0, 1)[index.long()]
    picture = patches.reshape(*index.shape, patch, patch, 3).permute(4, 0, 2, 1, 3)
    height, width = index.shape[0] * patch, index.shape[1] * patch
    return Grid(
        kind,
        unprocessed(*shown.size).resized(height, width),
        _spans(rows, down, row_range, patch),
        _spans(cols, across, col_range, patch),
        picture.reshape(3, height, width),
    )


def _range(present: Tensor) -> range:
    """Where a row of the padded grid holds patches."""
    where = torch.nonzero(present).flatten()
    return range(int(where[0]), int(where[-1]) + 1)


def _spans(count: int, pooled: int, patches: range, patch: int) -> tuple[Span, ...]:
    """What each token covers, without the padding around the grid."""
    return tuple(
        (
            Fraction(max(i * pooled - patches.start, 0) * patch),
            Fraction(min((i + 1) * pooled - patches.start, len(patches)) * patch),
        )
        for i in range(count)
    )


FAMILY = Family(
    types=("molmo2",),
    plan=plan,
    markers=_MARKERS,
    layer_zero="the connector's output plus the embedding of <im_patch>",
    notes=(_NOTE,),
    bounded=None,
)
