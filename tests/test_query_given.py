"""Images as Python programs have them are the image that the file would be."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from lensbank.query.given import opened
from lensbank.schemas.errors import ImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def rgb(image):
    return np.asarray(opened(image).image)


def test_files_bytes_images_and_arrays_are_one_picture(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    for given in (path, str(path), path.read_bytes(), Image.open(path), Image.fromarray(PIXELS), PIXELS, PIXELS / 255):
        np.testing.assert_array_equal(rgb(given), PIXELS)
    of_file, of_bytes = opened(path), opened(path.read_bytes())
    assert of_file.sha256 == of_bytes.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (of_file.name, of_bytes.name, opened(Image.open(path)).name, opened(PIXELS).name) == (
        "a.png", "image", "a.png", "image",
    )  # fmt: skip
    assert opened(PIXELS).sha256 == opened(Image.fromarray(PIXELS)).sha256 != opened(PIXELS[::-1]).sha256
    assert opened(of_file) is of_file


def test_grey_and_transparent_arrays():
    grey = PIXELS[:, :, 0]
    for given in (grey, grey[:, :, None], Image.fromarray(grey)):
        np.testing.assert_array_equal(rgb(given), np.repeat(grey[:, :, None], 3, 2))
    clear = np.dstack([PIXELS, np.zeros((20, 30), np.uint8)])
    assert (rgb(clear) == 255).all()
    assert set(np.unique(rgb(np.eye(8, dtype=bool)))) == {0, 255}


def test_an_exif_turned_image_is_upright():
    turned = Image.fromarray(PIXELS)
    exif = turned.getexif()
    exif[0x0112] = 6
    assert opened(turned).image.size == (20, 30)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), "np.moveaxis"),
        (np.zeros((0, 3), np.uint8), "shape"),
        (np.zeros((4,), np.uint8), "shape"),
        (np.zeros((20, 30, 3), np.int64), "int64"),
        (np.full((20, 30), 1.5), "expected 0 to 1"),
        (np.full((20, 30), np.nan), "expected 0 to 1"),
        (np.array([["a"]]), "expected uint8"),
        (b"", "is empty"),
        (b"no picture", "not an image"),
        (7, "A int was given"),
        (None, "A NoneType was given"),
    ],
)
def test_what_is_no_image(given, message):
    with pytest.raises(ImageError, match=message):
        opened(given)


def test_too_many_pixels():
    for given in (PIXELS, Image.fromarray(PIXELS)):
        with pytest.raises(ImageError, match="Scale it down"):
            opened(given, 599)
