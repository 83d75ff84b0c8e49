"""From a processed image's pixels back to the original's: undo a processor's resize, crop and pad.

The steps are read from the image processor's settings and worked out in exact fractions, so that
the boxes of a grid share their edges and tile the image without gaps. :func:`verify_steps` then
runs the processor on test pictures whose colours *are* coordinates: a processor that does
something else is found out before it can shift a box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.image_utils import get_image_size_for_max_height_width

from schemas.errors import ImageError, UnsupportedModelError
from schemas.results import PixelBox

#: Largest picture that a processor may make on the way: more is a very long thin image.
MAX_RESIZED_PIXELS = 2**28
# Mean error allowed between the read and the measured coordinates, as a share of the side. Wrong
# crops and swapped axes are off by several per cent; colour rounding and resampling by half of one.
_TOLERANCE = 0.015
_PROBES = ((160, 96), (96, 160))
_verified: WeakSet[Any] = WeakSet()


@dataclass(frozen=True)
class Axis:
    """One direction. Coordinates are edges: 0 is before the first pixel.

    Attributes:
        original: pixels of the original image.
        size: pixels of the processed image.
        scale: original pixels per processed pixel.
        offset: original coordinate of the processed image's edge; negative where padding was added.
    """

    original: int
    size: int
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def resized(self, size: int) -> Axis:
        """After resampling to ``size`` pixels."""
        return replace(self, size=size, scale=self.scale * self.size / size)

    def windowed(self, start: int, size: int) -> Axis:
        """After cutting ``size`` pixels out from ``start`` (negative: padding in front)."""
        return replace(self, size=size, offset=self.offset + start * self.scale)

    def edges(self, cells: int) -> list[float]:
        """The ``cells + 1`` edges of equal cells, in original pixels, kept inside the image."""
        at = (self.offset + self.scale * self.size * Fraction(i, cells) for i in range(cells + 1))
        return [float(min(max(x, Fraction(0)), Fraction(self.original))) for x in at]


@dataclass(frozen=True)
class PixelMap:
    """Where the pixels of a processed image come from."""

    x: Axis
    y: Axis

    def boxes(self, rows: int, cols: int) -> Iterator[tuple[int, int, PixelBox | None]]:
        """``(row, col, box)`` of every cell, row by row; no box where a cell is padding only."""
        xs, ys = self.x.edges(cols), self.y.edges(rows)
        for row in range(rows):
            for col in range(cols):
                empty = xs[col] == xs[col + 1] or ys[row] == ys[row + 1]
                yield row, col, None if empty else PixelBox(xs[col], ys[row], xs[col + 1], ys[row + 1])

    def visible(self) -> PixelBox:
        """The part of the original image that the processor keeps."""
        (x0, x1), (y0, y1) = self.x.edges(1), self.y.edges(1)
        return PixelBox(x0, y0, x1, y1)


def pixel_map(image_processor: Any, width: int, height: int) -> PixelMap:
    """Work out what an image processor does to an image of ``width`` × ``height`` pixels.

    Knows the steps of transformers' standard processors, in their order: pad to a square (LLaVA's),
    resize, crop the centre, pad at the right and bottom.

    Raises:
        ImageError: the image is so elongated that resizing it would need gigabytes.
        UnsupportedModelError: a size that is none of transformers' kinds.
    """
    x, y = Axis(width, width), Axis(height, height)
    pads_first = hasattr(image_processor, "pad_to_square")
    if pads_first and _on(image_processor, "do_pad"):
        side = max(width, height)
        x, y = (axis.windowed(-((side - axis.size) // 2), side) for axis in (x, y))
    if _on(image_processor, "do_resize"):
        new_height, new_width = _resized(image_processor, y.size, x.size)
        if new_height * new_width > MAX_RESIZED_PIXELS:
            raise ImageError(
                f"The image of {width} x {height} pixels is too long and thin: "
                f"the model's processor would make it {new_width} x {new_height}.",
                "Cut it into pieces.",
            )
        x, y = x.resized(new_width), y.resized(new_height)
    if _on(image_processor, "do_center_crop"):
        crop, torchvision = image_processor.crop_size, getattr(image_processor, "backend", "") == "torchvision"
        x = x.windowed(_crop_start(x.size, int(crop["width"]), torchvision), int(crop["width"]))
        y = y.windowed(_crop_start(y.size, int(crop["height"]), torchvision), int(crop["height"]))
    pad = getattr(image_processor, "pad_size", None)
    if not pads_first and _on(image_processor, "do_pad") and pad:
        x, y = x.windowed(0, int(pad["width"])), y.windowed(0, int(pad["height"]))
    return PixelMap(x, y)


def verify_steps(image_processor: Any) -> None:
    """Check :func:`pixel_map` against what the processor does to two small test pictures.

    Raises:
        UnsupportedModelError: they disagree.
    """
    if image_processor in _verified:
        return
    for width, height in _PROBES:
        _verify_one(image_processor, width, height)
    _verified.add(image_processor)


def processed_size(pixel_values: Tensor, image_processor: Any, mapped: PixelMap) -> tuple[int, int]:
    """Height and width of the one processed image.

    Raises:
        UnsupportedModelError: not one picture, or another size than the settings promise.
    """
    if pixel_values.ndim != 4 or pixel_values.shape[0] != 1:
        raise _unlike(image_processor, f"it gave pixels of shape {tuple(pixel_values.shape)}, not one picture")
    height, width = int(pixel_values.shape[2]), int(pixel_values.shape[3])
    if (height, width) != (mapped.y.size, mapped.x.size):
        raise _unlike(image_processor, f"it gave {width} x {height} pixels, not {mapped.x.size} x {mapped.y.size}")
    return height, width


def _on(image_processor: Any, setting: str) -> bool:
    return bool(getattr(image_processor, setting, False))


def _resized(image_processor: Any, height: int, width: int) -> tuple[int, int]:
    """Height and width after the resize step."""
    size = {key: value for key, value in dict(image_processor.size).items() if value}
    if "shortest_edge" in size:
        if "longest_edge" in size:
            new = get_size_with_aspect_ratio((height, width), size["shortest_edge"], size["longest_edge"])
            return int(new[0]), int(new[1])
        short, edge = min(height, width), int(size["shortest_edge"])
        return (int(edge * height / short), edge) if width <= height else (edge, int(edge * width / short))
    if "max_height" in size and "max_width" in size:
        new = get_image_size_for_max_height_width((height, width), size["max_height"], size["max_width"])
        return int(new[0]), int(new[1])
    if "height" in size and "width" in size:
        return int(size["height"]), int(size["width"])
    raise _unlike(image_processor, f"its size is {size}")


def _crop_start(size: int, crop: int, torchvision: bool) -> int:
    """First pixel of a centre crop. Where the image is smaller, the two backends round apart."""
    if crop > size and torchvision:
        return -((crop - size) // 2)
    return (size - crop) // 2


def _verify_one(image_processor: Any, width: int, height: int) -> None:
    """Colours as coordinates: red grows to the right, green downwards; black and white calibrate."""
    ramp = np.zeros((height, width, 3), dtype=np.uint8)
    ramp[..., 0] = (255 * (np.arange(width) + 0.5) / width).round()[None, :]
    ramp[..., 1] = (255 * (np.arange(height) + 0.5) / height).round()[:, None]
    black, seen, white = (
        _pixels(image_processor, picture) for picture in (np.zeros_like(ramp), ramp, np.full_like(ramp, 255))
    )
    mapped = pixel_map(image_processor, width, height)
    processed_size(seen, image_processor, mapped)
    share = ((seen - black) / (white - black))[0]
    for axis, values in ((mapped.x, share[0]), (mapped.y, share[1].T)):
        centres = float(axis.offset) + float(axis.scale) * (torch.arange(axis.size) + 0.5)
        other = mapped.y if axis is mapped.x else mapped.x
        across = float(other.offset) + float(other.scale) * (torch.arange(other.size) + 0.5)
        inside = (centres > 0) & (centres < axis.original)
        measured = values[(across > 0) & (across < other.original)][:, inside] * axis.original
        error = (measured - centres[inside]).abs().mean() / axis.original
        if not error < _TOLERANCE:  # NaN, too: padding where the image should be
            raise _unlike(image_processor, "a test picture came out elsewhere than its settings say")


def _pixels(image_processor: Any, picture: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    pixels: Tensor = image_processor(images=Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    if pixels.ndim != 4 or pixels.shape[:2] != (1, 3):
        raise _unlike(image_processor, f"it gave pixels of shape {tuple(pixels.shape)}, not one picture")
    return pixels.float()


def _unlike(image_processor: Any, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"Pixels cannot be traced back through {type(image_processor).__name__}: {why}.",
        "Add a file for this model family to models/families/ and register it in models/visual_tokens.py.",
    )
