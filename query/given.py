"""Images as Python programs have them: files, bytes, Pillow's images, arrays of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from PIL import Image

from ..schemas.checking import require_kind
from ..schemas.errors import ImageError, UsageError
from .images import MAX_PIXELS, OpenedImage, open_bytes, open_image, opened_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    #: What :func:`opened` takes.
    GivenImage = str | Path | bytes | OpenedImage | Image.Image | NDArray[np.generic]


def opened(image: GivenImage, max_pixels: int = MAX_PIXELS) -> OpenedImage:
    """An image that can be shown to a model.

    Args:
        image: a path (``-`` is standard input), a file's bytes, an image of Pillow, or an array ``[height, width]`` or
            ``[height, width, 1, 3 or 4]`` of uint8, or of floats from 0 to 1. What came from no file is named
            ``image``, and its ``sha256`` is that of its size and pixels in RGB.
        max_pixels: refuse more than this.

    Raises:
        ImageError: as :func:`query.images.open_image`; an array of another shape or type.
    """
    if isinstance(image, OpenedImage):
        return image
    if isinstance(image, bytes | bytearray | memoryview):
        return open_bytes(bytes(image), "image", max_pixels)
    if isinstance(image, Image.Image):
        named = Path(str(getattr(image, "filename", "") or "image")).name
        return _of_pixels(opened_pixels(image, named, max_pixels))
    if isinstance(image, str | Path):
        return open_image(image, max_pixels)
    return _of_pixels(opened_pixels(_from_array(image), "image", max_pixels))


def given_states(states: Mapping[int, Any], dim: int) -> dict[int, NDArray[np.float32]]:
    """Query layer → hidden states as a program has them: arrays, tensors or lists of numbers, ``[n, dim]``.

    Raises:
        UsageError: they are none.
    """
    import numpy as np

    require_kind(states, Mapping, "states", "a table from layers to arrays [n, dim]")
    found = {}
    for layer, rows in states.items():
        try:
            array = np.asarray(rows, dtype=np.float32)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise UsageError(f"The states of layer {layer!r} are not an array of numbers: {error}.") from error
        if not isinstance(layer, SupportsIndex) or isinstance(layer, bool) or array.ndim != 2 or array.shape[1] != dim:
            shape = " x ".join(map(str, array.shape)) or "a number"
            raise UsageError(
                f"The states of layer {layer!r} have shape {shape}; expected [n, {dim}] with n of at least 0."
            )
        found[index(layer)] = array
    return found


def _of_pixels(image: OpenedImage) -> OpenedImage:
    pixels = f"{image.width} x {image.height} RGB\n".encode() + image.image.tobytes()
    return replace(image, sha256=hashlib.sha256(pixels).hexdigest())


def _from_array(given: Any) -> Image.Image:
    import numpy as np

    if not hasattr(given, "__array__"):
        raise ImageError(
            f"A {type(given).__name__} was given as an image; expected a path, bytes, an image of Pillow or an array."
        )
    pixels = np.asarray(given)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not fits or 0 in pixels.shape:
        raise ImageError(
            f"An array of shape {tuple(pixels.shape)} was given as an image; expected [height, width] or "
            "[height, width, channels] with 1, 3 or 4 channels.",
            "Move the channels to the end: np.moveaxis(array, 0, -1)." if pixels.ndim == 3 else "",
        )
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not 0 <= low <= high <= 1:  # NaN is neither
            raise ImageError(f"An array of floats from {low:g} to {high:g} was given; expected 0 to 1, or uint8.")
        pixels = np.rint(pixels * 255).astype(np.uint8)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype != np.uint8:
        raise ImageError(f"An array of {pixels.dtype} was given as an image; expected uint8, or floats from 0 to 1.")
    return Image.fromarray(np.ascontiguousarray(pixels))
