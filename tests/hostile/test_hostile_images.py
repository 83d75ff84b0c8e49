"""Damaged and odd image files: a picture, or one clear sentence; never a traceback, a hang or a gigabyte."""

import io
import random

import numpy as np
import pytest
from hostile import bounded, damaged, many
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lensbank.query.images import open_image
from lensbank.schemas.errors import ImageError

LIMIT = 1 << 20  # pixels


def _saved(form, mode="RGB", frames=1, **options):
    pixels = np.random.default_rng(len(form)).integers(0, 255, (13, 17, 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA").convert(mode)
    more = {"save_all": True, "append_images": [image.rotate(90 * n) for n in range(1, frames)]} if frames > 1 else {}
    out = io.BytesIO()
    image.save(out, form, **more, **options)
    return out.getvalue()


EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 6, "a description"
GOOD = {
    "png": _saved("PNG"),
    "png-palette": _saved("PNG", "P"),
    "png-grey-alpha": _saved("PNG", "LA"),
    "png-16": _saved("PNG", "I;16"),
    "apng": _saved("PNG", frames=3),
    "jpeg": _saved("JPEG", exif=EXIF),
    "jpeg-progressive": _saved("JPEG", progressive=True),
    "jpeg-cmyk": _saved("JPEG", "CMYK"),
    "gif": _saved("GIF", "P", frames=3),
    "webp": _saved("WEBP", "RGBA"),
    "webp-frames": _saved("WEBP", frames=2, lossless=True),
    "tiff": _saved("TIFF"),
    "tiff-lzw": _saved("TIFF", compression="tiff_lzw"),
    "tiff-pages": _saved("TIFF", "L", frames=2),
    "bmp": _saved("BMP"),
    "ppm": _saved("PPM"),
    "tga": _saved("TGA"),
    "ico": _saved("ICO"),
}


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_the_originals_are_pictures(tmp_path, kind):
    (tmp_path / "image").write_bytes(GOOD[kind])
    opened = open_image(tmp_path / "image")
    assert opened.image.mode == "RGB" and opened.image.size in ((17, 13), (13, 17), (16, 16))


@many(share=3, few=150)
@given(kind=st.sampled_from(sorted(GOOD)), seed=st.integers(0, 2**32 - 1))
def test_damaged_images(tmp_path_factory, kind, seed):
    rng = random.Random(seed)
    content = damaged(rng, GOOD[kind])
    if rng.random() < 0.1:  # half of one and half of another
        other = GOOD[rng.choice(sorted(GOOD))]
        content = content[: len(content) // 2] + other[len(other) // 2 :]
    path = tmp_path_factory.mktemp("i") / "image"
    path.write_bytes(content)
    with bounded():
        try:
            opened = open_image(path, LIMIT)
        except ImageError as error:
            assert error.message and "\n" not in error.message and "Traceback" not in str(error)
        else:
            assert opened.image.mode == "RGB" and opened.image.size == (opened.width, opened.height)
            assert 0 < opened.width * opened.height <= LIMIT
            np.asarray(opened.image)
    assert path.read_bytes() == content
