"""Pixels of any mode as 8-bit RGB, and pictures of bearable size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Longest side of an image that is shown. Boxes stay in pixels of the original.
MAX_SIDE = 1600


class UnclearPixels(ValueError):
    """Pixel values whose black and white cannot be known; the text completes "The image X ..."."""


def to_rgb(image: Image.Image) -> Image.Image:
    """An image as 8-bit RGB: transparency on white, wide grey channels scaled, never clipped.

    Raises:
        UnclearPixels: numbers that are neither 8-bit, 16-bit nor a share of one.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        grey = _eight_bits(values)
        clear = image.info.get("transparency")
        if isinstance(clear, int):  # one value of the original depth, as PNG declares it
            grey[values == clear] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        # Pre-multiplied modes must go back through their plain ones.
        plain = {"RGBa": "RGBA", "La": "LA"}.get(image.mode)
        rgba = (image.convert(plain) if plain else image).convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values ``[height, width]`` of 16-bit integers, wider integers, or floats, as 8-bit."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise UnclearPixels(f"has grey values from {low:g} to {high:g}; expected 0 to 65535")
    if values.dtype.kind == "f" and high <= 1:
        scale = 255.0
    elif values.dtype.itemsize == 2:
        scale = 1 / 257  # declared as 16-bit, however dark it is
    elif high <= 255:
        scale = 1.0
    elif high <= 65535:
        scale = 1 / 257
    else:
        raise UnclearPixels(f"has grey values from {low:g} to {high:g}; expected 0 to 65535")
    return np.rint(values.astype(np.float64) * scale).astype(np.uint8)


def reduced(image: Image.Image, side: int = MAX_SIDE) -> Image.Image:
    """The image with no side longer than ``side`` pixels; itself where it is small enough."""
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(length * side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
