"""What a judge sees of a patch: the whole image with a red box, and what is in the box alone."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

from ...query.images import open_image
from ...query.pixels import reduced
from ...schemas.errors import InputError
from ...schemas.results import PixelBox
from ...show.pictures import encoded, jpeg
from ..annotations import AnnotatedImage
from ..records import ImageWords, Patch

#: Recorded with answers: pictures made another way are other questions.
RECIPE = "box of three patches each way, image to 1024 px, crop 224 to 768 px"
#: Longest side of the image in pixels; longest and shortest side of the crop.
IMAGE_SIDE, CROP_SIDE, CROP_MIN = 1024, 768, 224
RED = (230, 0, 0)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file's bytes and its kind, ``png`` or ``jpeg``."""

    data: bytes
    kind: str

    @property
    def url(self) -> str:
        """As a ``data:`` URL."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode('ascii')}"


def region(box: PixelBox, width: int, height: int) -> PixelBox:
    """A patch with its eight neighbours: its own size more on every side, as far as the image goes.

    The paper's judge sees this region (arXiv 2602.00462, evaluation).
    """
    wide, high = box.x1 - box.x0, box.y1 - box.y0
    return PixelBox(
        max(0.0, box.x0 - wide), max(0.0, box.y0 - high), min(width, box.x1 + wide), min(height, box.y1 + high)
    )


def boxed(image: Image.Image, box: PixelBox) -> Image.Image:
    """The image, reduced where it is large, with a red line around a region; the line lies outside of it."""
    shown = reduced(image, IMAGE_SIDE).copy()
    scale = shown.width / image.width
    line = max(2, round(max(shown.size) / 250))
    corners = (box.x0 * scale - line, box.y0 * scale - line, box.x1 * scale + line - 1, box.y1 * scale + line - 1)
    # At the image's edge the line would be out of sight: there it is drawn just inside.
    x0, y0 = (max(0, round(at)) for at in corners[:2])
    x1, y1 = min(shown.width - 1, round(corners[2])), min(shown.height - 1, round(corners[3]))
    ImageDraw.Draw(shown).rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=RED, width=line)
    return shown


def cropped(image: Image.Image, box: PixelBox) -> Image.Image:
    """A region alone: enlarged where it is small, reduced where it is large."""
    x0, y0 = min(int(box.x0), image.width - 1), min(int(box.y0), image.height - 1)
    crop = image.crop((x0, y0, max(x0 + 1, round(box.x1)), max(y0 + 1, round(box.y1))))
    factor = min(max(1.0, CROP_MIN / min(crop.size)), CROP_SIDE / max(crop.size))
    if factor <= 1:
        return reduced(crop, CROP_SIDE)
    size = (max(1, round(crop.width * factor)), max(1, round(crop.height * factor)))
    return crop.resize(size, Image.Resampling.BICUBIC)


class Pictures:
    """Pictures of patches; those of the last few patches are kept, since questions about one come together.

    Args:
        images: those that were read.
        found: what was read of them, in the same order.
        max_pixels: of an image.
        only_jpeg: no PNG, even where that is small.
    """

    def __init__(
        self, images: Sequence[AnnotatedImage], found: Sequence[ImageWords], max_pixels: int, only_jpeg: bool = False
    ) -> None:
        """Nothing is opened yet."""
        self._images, self._found, self._max_pixels = images, found, max_pixels
        self._encoded = (lambda image: (jpeg(image), "jpeg")) if only_jpeg else encoded
        self._made = lru_cache(maxsize=16)(self._make)

    def of(self, place: int, patch: Patch) -> tuple[Picture, Picture]:
        """The marked image and the crop. No name or metadata of the file goes along.

        Raises:
            InputError: the file is not the one that was read.
        """
        return self._made(place, patch)

    def _make(self, place: int, patch: Patch) -> tuple[Picture, Picture]:
        opened = open_image(self._images[place].path, self._max_pixels)
        if opened.sha256 != self._found[place].sha256:
            raise InputError(f"{self._images[place].name} has changed since it was read.", "Give another --out.")
        box = region(patch.box, opened.width, opened.height)
        whole, crop = boxed(opened.image, box), cropped(opened.image, box)
        return Picture(*self._encoded(whole)), Picture(*self._encoded(crop))
