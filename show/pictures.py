"""Images as they are shown beside their readings: which are a reading's, and small enough to embed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import TypeAlias

from PIL import Image

from ..schemas.results import Reading

#: What a reading is drawn on: a picture of each of its images, or of its only one; ``None`` for what there is none of.
Drawn: TypeAlias = Image.Image | Sequence[Image.Image | None] | None

# Drawings and screenshots this small stay exact; photographs become JPEG.
_MAX_PNG = 400_000
_QUALITY = 88
# Strips of an image that tell whether it is small as PNG, and how much larger it may seem than it is: the quick
# compression of a few rows finds less to share.
_STRIPS, _STRIP_ROWS = 4, 16
_QUICK_SHARE = 3


def of_images(reading: Reading, drawn: Drawn) -> list[Image.Image | None]:
    """A picture of each image of a reading, of any size; those that are not given are its own, if it has any."""
    given = [drawn] if isinstance(drawn, Image.Image) else list(drawn or ())
    own = reading.pictures
    return [
        given[number] if number < len(given) else own[number] if number < len(own) else None
        for number in range(len(reading.images))
    ]


def sources(reading: Reading) -> list[str]:
    """The names of a reading's images, or its text."""
    return [image.source for image in reading.images] or [reading.source]


def encoded(image: Image.Image) -> tuple[bytes, str]:
    """An RGB image as a file's bytes and kind: ``png`` where that is small, else ``jpeg``. No metadata goes along."""
    if _may_be_small(image):
        data = _saved(image, "PNG", optimize=True)
        if len(data) <= _MAX_PNG:
            return data, "png"
    return jpeg(image), "jpeg"


def _may_be_small(image: Image.Image) -> bool:
    """Whether a PNG file is worth a try: of a photograph it takes seconds, and a strip of it tells as much."""
    strips = _STRIPS * _STRIP_ROWS
    if image.height <= 2 * strips:
        return True
    some = Image.new(image.mode, (image.width, strips))
    for number in range(_STRIPS):
        top = (image.height - _STRIP_ROWS) * number // (_STRIPS - 1)
        some.paste(image.crop((0, top, image.width, top + _STRIP_ROWS)), (0, number * _STRIP_ROWS))
    size = len(_saved(some, "PNG", compress_level=1)) * image.height / strips
    return size <= _QUICK_SHARE * _MAX_PNG


def jpeg(image: Image.Image) -> bytes:
    """An RGB image as a JPEG file's bytes. No metadata goes along."""
    return _saved(image, "JPEG", quality=_QUALITY, optimize=True, subsampling=0)


def data_url(image: Image.Image) -> str:
    """An RGB image as a ``data:`` URL, encoded as above."""
    data, kind = encoded(image)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = BytesIO()
    plain = Image.new(image.mode, image.size)  # without what the file said beside its pixels
    plain.paste(image)
    plain.save(file, form, **options)
    return file.getvalue()
