import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from lensbank.models.families.single import sized
from lensbank.models.visual.geometry import even, pixel_map
from lensbank.models.visual.patches import Grid
from lensbank.models.visual.tracing import verify_grids
from lensbank.schemas.errors import ImageError, UnsupportedModelError
from lensbank.schemas.results import PixelBox

SQUARE = EfficientNetImageProcessorPil(size={"height": 64, "width": 64})
WIDE = SiglipImageProcessorPil(size={"height": 32, "width": 96})
CROP = CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48})
CROP_MORE = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 40, "width": 56})
CROP_LESS = CLIPImageProcessorPil(size={"shortest_edge": 31}, crop_size={"height": 48, "width": 48})
PAD_FIRST = LlavaImageProcessorPil(
    size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}, do_pad=True, do_center_crop=True
)
BOUNDED = CLIPImageProcessorPil(size={"shortest_edge": 48, "longest_edge": 60}, do_center_crop=False)
FITTED = SiglipImageProcessorPil(size={"max_height": 48, "max_width": 48})
AS_IS = SiglipImageProcessorPil(do_resize=False)
KNOWN = dict(
    square=SQUARE, wide=WIDE, crop=CROP, crop_more=CROP_MORE, crop_less=CROP_LESS, pad_first=PAD_FIRST,
    bounded=BOUNDED, fitted=FITTED, as_is=AS_IS,
)  # fmt: skip


def boxes(mapped, rows, cols):
    """Of equal cells, row by row."""
    ys, xs = even(rows, mapped.y.size), even(cols, mapped.x.size)
    return {(row, col): mapped.box(ys[row], xs[col]) for row in range(rows) for col in range(cols)}


def verify_steps(processor):
    """What a family's file does with one picture per image."""

    def look(image):
        pixels = processor(images=image, return_tensors="pt")["pixel_values"]
        mapped = sized(processor, pixels[0], pixel_map(processor, *image.size))
        return [Grid("image", mapped, (), (), pixels[0])]

    verify_grids(look, processor)


def test_a_plain_resize_divides_the_original():
    found = boxes(pixel_map(SQUARE, 200, 100), 2, 4)
    assert found[0, 0] == PixelBox(0, 0, 50, 50)
    assert found[1, 3] == PixelBox(150, 50, 200, 100)


@pytest.mark.parametrize(("width", "height"), [(640, 427), (427, 640), (7, 3), (1, 1), (1001, 333)])
@pytest.mark.parametrize("grid", [(7, 7), (3, 9), (27, 27)])
def test_boxes_tile_the_image_exactly(width, height, grid):
    rows, cols = grid
    found = boxes(pixel_map(SQUARE, width, height), rows, cols)
    for (row, col), box in found.items():
        assert box.x0 == (0 if col == 0 else found[row, col - 1].x1)
        assert box.y0 == (0 if row == 0 else found[row - 1, col].y1)
        assert box.x1 > box.x0
        assert box.y1 > box.y0
        assert (col < cols - 1) or box.x1 == width
        assert (row < rows - 1) or box.y1 == height


def test_a_centre_crop_is_accounted_for():
    """200 x 100 becomes 96 x 48, of which columns 24 to 71 are kept: pixels 50 to 150."""
    mapped = pixel_map(CROP, 200, 100)
    assert mapped.visible() == PixelBox(50, 0, 150, 100)
    assert boxes(mapped, 2, 2)[0, 1] == PixelBox(100, 0, 150, 50)


def test_a_tall_image_is_cropped_at_the_top_and_bottom():
    assert pixel_map(CROP, 100, 200).visible() == PixelBox(0, 50, 100, 150)


def test_padding_to_a_square_leaves_empty_cells_without_a_box():
    """100 x 50 in a square of 100: a quarter above and below is padding."""
    found = boxes(pixel_map(PAD_FIRST, 100, 50), 4, 4)
    assert [found[row, 0] is None for row in range(4)] == [True, False, False, True]
    assert found[1, 0] == PixelBox(0, 0, 25, 25)
    assert found[2, 3] == PixelBox(75, 25, 100, 50)


def test_a_cell_that_is_half_padding_is_clipped_to_the_image():
    assert boxes(pixel_map(PAD_FIRST, 100, 50), 2, 2)[0, 0] == PixelBox(0, 0, 50, 25)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(("width", "height"), [(160, 96), (50, 111), (47, 47)])
def test_a_marked_rectangle_is_found_where_its_box_says(name, width, height):
    """Through the real processor: what is bright in the processed picture comes from the mark."""
    processor = KNOWN[name]
    mapped = pixel_map(processor, width, height)
    left, top, right, bottom = width // 4, height // 4, width // 2, height // 3 + 4
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[top:bottom, left:right] = 255
    plain, seen = (
        processor(images=Image.fromarray(p), return_tensors="pt")["pixel_values"][0, 0]
        for p in (np.zeros_like(picture), picture)
    )
    bright = (seen - plain) > (seen - plain).max() / 2
    ys, xs = bright.any(1).nonzero().flatten(), bright.any(0).nonzero().flatten()
    for axis, first, last, low, high in (
        (mapped.x, xs[0], xs[-1] + 1, left, right),
        (mapped.y, ys[0], ys[-1] + 1, top, bottom),
    ):
        half_pixel = max(1.0, float(axis.scale)) / 2 + 0.51
        visible = [float(at) for at in axis.clipped((0, axis.size))]
        assert float(axis.offset + axis.scale * int(first)) == pytest.approx(max(low, visible[0]), abs=half_pixel)
        assert float(axis.offset + axis.scale * int(last)) == pytest.approx(min(high, visible[1]), abs=half_pixel)


@pytest.mark.parametrize("name", KNOWN)
def test_processors_that_do_what_their_settings_say_are_trusted(name):
    verify_steps(KNOWN[name])


class Flipping(SiglipImageProcessorPil):
    def resize(self, image, *args, **kwargs):
        return super().resize(image[..., ::-1], *args, **kwargs)


class Transposing(SiglipImageProcessorPil):
    def resize(self, image, *args, **kwargs):
        return super().resize(image.transpose(0, 2, 1), *args, **kwargs)


class CroppingTheCorner(CLIPImageProcessorPil):
    def center_crop(self, image, size, **kwargs):
        return image[:, : size["height"], : size["width"]]


@pytest.mark.parametrize(
    "processor",
    [
        Flipping(size={"height": 64, "width": 64}),
        Transposing(size={"height": 64, "width": 64}),
        CroppingTheCorner(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}),
    ],
)
def test_a_processor_that_does_something_else_is_found_out(processor):
    with pytest.raises(UnsupportedModelError, match="the pixels of a test picture were not where.*adding-a-model"):
        verify_steps(processor)


def test_a_size_that_the_settings_do_not_promise_is_refused():
    pixels = SQUARE(images=Image.new("RGB", (30, 20)), return_tensors="pt")["pixel_values"]
    with pytest.raises(UnsupportedModelError, match="returned 64 x 64 pixels; expected 96 x 32"):
        sized(WIDE, pixels[0], pixel_map(WIDE, 30, 20))


def test_a_thread_of_an_image_is_refused_before_it_fills_the_memory():
    with pytest.raises(ImageError, match=r"1 x 200000 pixels is too long and narrow.*48 x 9600000"):
        pixel_map(CROP, 1, 200_000)
