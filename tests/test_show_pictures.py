"""Pictures as they are embedded: drawings stay exact, photographs are not tried at length."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lensbank.show import pictures
from lensbank.show.pictures import encoded


def photograph(width, height):
    """Smooth, with the noise of a sensor."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noisy = np.asarray(smooth).astype(int) + rng.integers(-9, 10, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def drawing(width, height):
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    for number in range(0, width, 40):
        pen.line((number, 0, width - number, height), fill=(number % 256, 80, 160), width=3)
    return image


@pytest.mark.parametrize("size", [(1600, 1200), (1600, 90), (90, 1600), (300, 200)])
def test_a_drawing_stays_as_it_is(size):
    data, kind = encoded(drawing(*size))
    assert kind == "png" and Image.open(BytesIO(data)).convert("RGB").tobytes() == drawing(*size).tobytes()


def test_a_photograph_is_not_compressed_as_a_drawing_first(monkeypatch):
    tried = []
    plain = pictures._saved

    def counted(image, form, **options):
        tried.append((form, image.size))
        return plain(image, form, **options)

    monkeypatch.setattr(pictures, "_saved", counted)
    data, kind = encoded(photograph(1600, 1200))
    assert kind == "jpeg" and Image.open(BytesIO(data)).size == (1600, 1200)
    assert ("PNG", (1600, 1200)) not in tried  # seconds of a processor, while somebody waits for the first words
    assert encoded(photograph(200, 150))[1] == "png"  # small enough, whatever it shows
