"""From a processed image's pixels back to the original's: undo a processor's resize, crop and pad.

The steps are read from the image processor's settings and worked out in exact fractions, so that
the boxes of a grid share their edges. `models.visual.tracing` then holds what was worked out against
what the processor does to pictures whose colours *are* coordinates.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.image_utils import get_image_size_for_max_height_width

from ...schemas.errors import ImageError, UnsupportedModelError
from ...schemas.results import PixelBox

#: Largest picture that a processor may make on the way: more is a very long thin image.
MAX_RESIZED_PIXELS = 2**28
#: From one edge to another, in pixels: edge 0 is before the first pixel.
Span = tuple[Fraction, Fraction]


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

    def clipped(self, span: Span) -> Span:
        """A span of processed pixels, in original pixels, kept inside the image."""
        start, end = (min(max(self.offset + self.scale * at, Fraction(0)), Fraction(self.original)) for at in span)
        return start, end


@dataclass(frozen=True)
class PixelMap:
    """Where the pixels of a processed image come from."""

    x: Axis
    y: Axis

    def box(self, row: Span, col: Span) -> PixelBox | None:
        """What of the original image lies under part of the processed one; ``None`` where it is padding only."""
        (x0, x1), (y0, y1) = self.x.clipped(col), self.y.clipped(row)
        return None if x0 == x1 or y0 == y1 else PixelBox(float(x0), float(y0), float(x1), float(y1))

    def visible(self) -> PixelBox:
        """The part of the original image that the processor keeps."""
        (x0, x1), (y0, y1) = (axis.clipped((Fraction(0), Fraction(axis.size))) for axis in (self.x, self.y))
        return PixelBox(float(x0), float(y0), float(x1), float(y1))

    def resized(self, height: int, width: int) -> PixelMap:
        """After resampling."""
        return PixelMap(self.x.resized(width), self.y.resized(height))

    def windowed(self, top: int, left: int, height: int, width: int) -> PixelMap:
        """After cutting a window out (negative ``top`` and ``left``: padding in front)."""
        return PixelMap(self.x.windowed(left, width), self.y.windowed(top, height))


def unprocessed(width: int, height: int) -> PixelMap:
    """The original image itself."""
    return PixelMap(Axis(width, width), Axis(height, height))


def even(count: int, size: int | Fraction) -> tuple[Span, ...]:
    """``count`` equal parts of ``size`` pixels."""
    return tuple((Fraction(size) * i / count, Fraction(size) * (i + 1) / count) for i in range(count))


def cells_of(count: int, pixels: int) -> tuple[Span, ...]:
    """``count`` parts of ``pixels`` each, from the first pixel on."""
    return even(count, count * pixels)


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
                f"The image of {width} x {height} pixels is too long and narrow: the model's processor would make it "
                f"{new_width} x {new_height}.",
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


def require_bounded(image_processor: Any, width: int, height: int) -> None:
    """Refuse an image that a standard processor would make unbearably large; call it before processing.

    Raises:
        ImageError: see :func:`pixel_map`.
    """
    with suppress(UnsupportedModelError):  # no standard processor: what it makes of the image is not known
        pixel_map(image_processor, width, height)


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


def _unlike(image_processor: Any, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "lensbank cannot find out which pixels a patch covers with the image processor "
        f"{type(image_processor).__name__}: {why}.",
        "Add a file for this model family to models/families/; docs/adding-a-model.md explains how.",
    )
