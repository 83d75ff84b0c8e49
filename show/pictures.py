"""Images as they are shown beside their readings: small enough to embed, in the original's proportions."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL import Image

# Drawings and screenshots this small stay exact; photographs become JPEG.
_MAX_PNG = 400_000
_QUALITY = 88


def encoded(image: Image.Image) -> tuple[bytes, str]:
    """An RGB image as a file's bytes and kind: ``png`` where that is small, else ``jpeg``. No metadata goes along."""
    data = _saved(image, "PNG", optimize=True)
    if len(data) <= _MAX_PNG:
        return data, "png"
    return jpeg(image), "jpeg"


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
