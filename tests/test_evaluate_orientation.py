"""Photographs that cameras store lying on their side: boxes are where the things are in the upright picture."""

import json

import numpy as np
import pytest
from evaluation_fixtures import DOG, thing
from PIL import Image
from tiny_vlms import TINY

from lensbank.evaluate.annotations import AnnotatedImage, read_annotations
from lensbank.evaluate.orientation import upright
from lensbank.evaluate.run import read_and_gather
from lensbank.evaluate.sampling import ReadingOptions
from lensbank.models.loading import load_model
from lensbank.query.images import open_image
from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.progress import Silent

STORED = (60, 40)
BOX = (4, 8, 20, 28)  # x, y, width, height, in the stored picture


def photograph(path, orientation, size=STORED):
    image = Image.new("RGB", size, "white")
    image.paste("red", (BOX[0], BOX[1], BOX[0] + BOX[2], BOX[1] + BOX[3]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def coco(folder, orientation, size, box=BOX):
    photograph(folder / "a.png", orientation)
    width, height = size or (None, None)
    data = {
        "images": [{"id": 1, "file_name": "a.png", **({"width": width, "height": height} if size else {})}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": list(box)}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (folder / "annotations.json").write_text(json.dumps(data), encoding="utf-8")
    return list(read_annotations(folder / "annotations.json", folder).images)


def is_red(image, box):
    """Whether a box holds all that is red, and nothing else."""
    red = (np.asarray(open_image(image.path).image) == (255, 0, 0)).all(axis=-1)
    inside = red[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
    return bool(inside.all()) and red.sum() == inside.size == BOX[2] * BOX[3]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_the_stored_picture_are_turned_with_it(tmp_path, orientation):
    [image], notes = upright(coco(tmp_path, orientation, STORED))
    assert image.size == (40, 60) and is_red(image, image.things[0].box)
    assert notes == [
        "1 photographs are stored rotated (EXIF orientation) and have boxes of the stored picture, according to the "
        "annotated size: the boxes were turned upright with it (the first: a.png)."
    ]


def test_boxes_of_the_upright_picture_stay(tmp_path):
    box = (40 - 8 - 28, 4, 28, 20)  # turned by a quarter
    images = coco(tmp_path, 6, (40, 60), box)
    found, notes = upright(images)
    assert found == images and is_red(found[0], found[0].things[0].box)
    assert (
        len(notes) == 1
        and "boxes of the upright picture, according to the annotated size (the first: a.png)" in notes[0]
    )


@pytest.mark.parametrize(("orientation", "size"), [(2, STORED), (3, STORED), (4, STORED), (6, None)])
def test_where_sizes_do_not_tell_boxes_are_taken_for_upright_ones_and_that_is_said(tmp_path, orientation, size):
    images = coco(tmp_path, orientation, size)
    found, notes = upright(images)
    assert found == images and len(notes) == 1 and "does not show" in notes[0]


@pytest.mark.parametrize("orientation", [1, 0, 9])
def test_pictures_that_are_not_turned_need_no_note(tmp_path, orientation):
    images = coco(tmp_path, orientation, STORED)
    assert upright(images) == (images, [])


def test_what_cannot_be_read_is_left_to_whoever_opens_it(tmp_path):
    gone = AnnotatedImage(tmp_path / "gone.png", "gone.png", things=(thing(DOG, 0, 0, 1, 1),), size=STORED)
    plain = AnnotatedImage(photograph(tmp_path / "b.png", 6), "b.png")  # nothing is annotated: nothing to say
    assert upright([gone, plain]) == ([gone, plain], [])


def test_an_evaluation_compares_with_the_turned_boxes(tmp_path):
    """Before, such a file was refused: the sizes differ."""
    images = coco(tmp_path, 8, STORED)
    model = load_model(str(TINY["llava"].save(tmp_path / "vlm")), device="cpu", dtype="float32")
    with QuerySession(None, model, QueryOptions(lenses=("logit",), layers=(1,))) as session:
        done = read_and_gather(session, images, ReadingOptions(), tmp_path / "out", "ground-truth", Silent())
    assert (done.words[0].width, done.words[0].height) == (40, 60)
    assert is_red(done.images[0], done.images[0].things[0].box)
    assert any("turned upright" in note for note in done.notes)
