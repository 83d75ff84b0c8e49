"""Check by experiment that pixels come from where a family's file says they come from.

The model's own processor is shown pictures whose colours *are* coordinates. One that flips, crops,
pads, tiles or reorders otherwise than was worked out is found before it can shift a box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...schemas.errors import UnsupportedModelError
from .geometry import Axis
from .patches import Grid

# Mean error allowed between the read and the measured coordinates, as a share of the side. Wrong
# crops and swapped axes are off by several per cent; colour rounding and resampling by half of one.
_TOLERANCE = 0.015
_PROBES = ((160, 96), (96, 160))


def verify_grids(look: Callable[[Image.Image], Sequence[Grid]], processor: Any) -> None:
    """Show test pictures to a processor and compare what came out with what was worked out.

    Args:
        look: from a picture to its grids, each with the pixels under it.
        processor: named in the error.

    Raises:
        UnsupportedModelError: they disagree.
    """
    for width, height in _PROBES:
        ramp = _coordinates(width, height)
        black, white = np.zeros_like(ramp), np.full_like(ramp, 255)
        shown = [look(Image.fromarray(picture)) for picture in (black, ramp, white)]
        for dark, seen, bright in zip(*shown, strict=True):
            _compare(dark.pixels.float(), seen, bright.pixels.float(), processor)


def _coordinates(width: int, height: int) -> NDArray[np.uint8]:
    """Red grows to the right, green downwards."""
    ramp = np.zeros((height, width, 3), dtype=np.uint8)
    ramp[..., 0] = (255 * (np.arange(width) + 0.5) / width).round()[None, :]
    ramp[..., 1] = (255 * (np.arange(height) + 0.5) / height).round()[:, None]
    return ramp


def _compare(dark: Tensor, seen: Grid, bright: Tensor, processor: Any) -> None:
    """The same grid of a black picture, of one of coordinates and of a white one."""
    mapped, pixels = seen.mapped, seen.pixels.float()
    if pixels.shape != (3, mapped.y.size, mapped.x.size) or dark.shape != pixels.shape:
        raise unlike(
            processor,
            f"it returned pixels of shape {tuple(pixels.shape)}; expected {(3, mapped.y.size, mapped.x.size)}",
        )
    (cols, x_at), (rows, y_at) = _inside(mapped.x), _inside(mapped.y)
    contrast = (bright - dark)[:2, rows][:, :, cols]
    share = (pixels - dark)[:2, rows][:, :, cols] / contrast
    known = ~contrast.isnan()
    red, green = share[0] * mapped.x.original - x_at[None, :], share[1] * mapped.y.original - y_at[:, None]
    for error, side, there in ((red, mapped.x.original, known[0]), (green, mapped.y.original, known[1])):
        # "not smaller" catches NaN, too: padding where the image should be.
        if there.any() and not error[there].abs().mean() / side < _TOLERANCE:
            raise unlike(processor, "the pixels of a test picture were not where its settings say")


def _inside(axis: Axis) -> tuple[Tensor, Tensor]:
    """Which pixels of the processed picture show the image, and the original coordinates of their centres."""
    centres = float(axis.offset) + float(axis.scale) * (torch.arange(axis.size) + 0.5)
    inside = (centres > 0) & (centres < axis.original)
    return inside, centres[inside]


def unlike(processor: Any, why: str) -> UnsupportedModelError:
    """The refusal to trust a processor."""
    return UnsupportedModelError(
        f"lensbank cannot find out which pixels a patch covers with the image processor {type(processor).__name__}: "
        f"{why}.",
        "Add a file for this model family to models/families/; docs/adding-a-model.md explains how.",
    )
