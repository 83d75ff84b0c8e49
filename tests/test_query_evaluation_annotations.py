"""Annotation files as people have them: read, or refused with the reason."""

import json

import pytest
from evaluation_fixtures import box, thing, write_coco

from lensbank.evaluate.annotations import find_images, read_annotations, things_under
from lensbank.evaluate.matching import Concept
from lensbank.schemas.errors import InputError


def test_a_coco_file(tmp_path):
    first, second = read_annotations(write_coco(tmp_path / "a.json"), tmp_path / "images")
    assert (first.name, first.path, first.size) == ("a.png", tmp_path / "images" / "a.png", (40, 10))
    assert (second.name, second.size, second.things, second.group) == ("sub/b.png", None, (), "all images")
    dog, truck = first.things
    assert dog.concept == Concept("dog", (), ("animal",)) and dog.box == box(0, 0, 20, 10) and not dog.crowd
    # A category that is its own supercategory is no hypernym of itself.
    assert truck.concept == Concept("fire truck", ("fire engine",)) and truck.crowd
    assert truck.box == box(20.5, 0, 30, 10)


def test_groups_and_a_word_list(tmp_path):
    words = tmp_path / "words.json"
    words.write_text(json.dumps({"dog": {"synonyms": ["puppy", "hound"], "hypernyms": ["pet"]}, "cat": {}}))
    images = [{"id": 7, "file_name": "a.png", "group": "street"}]
    file = write_coco(tmp_path / "a.json", images=images)
    (image,) = read_annotations(file, tmp_path, words)
    assert image.group == "street"
    assert image.things[0].concept == Concept("dog", ("puppy", "hound"), ("animal", "pet"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "no list 'images'"),
        ({"images": [{"id": 7}]}, "entry 0 of 'images' has no 'file_name'"),
        ({"categories": ["dog"]}, "entry 0 of 'categories' has no 'id'"),
        ({"images": [{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]}, "the same id"),
        ({"categories": [{"id": 2, "name": " "}]}, "empty name"),
        ({"categories": [{"id": 2, "name": "dog", "synonyms": "puppy"}]}, "'synonyms' of 'dog' is no list"),
        ({"categories": [{"id": 2, "name": "dog"}]}, "annotation 2 names an image or a category that is not listed"),
        (
            {"annotations": [{"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, 0, 5]}]},
            "annotation 3 has the box",
        ),
        ({"annotations": [{"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, "9", 5]}]}, "expected \\[x, y"),
    ],
)
def test_what_is_no_annotation_file(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_annotations(write_coco(tmp_path / "a.json", **changes), tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "expected a JSON object, found list")])
def test_what_is_no_json_object(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_annotations(tmp_path / "a.json", tmp_path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_annotations(tmp_path / "gone.json", tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        find_images(tmp_path / "gone")
    with pytest.raises(InputError, match="no image in"):
        find_images(tmp_path)


def test_a_folder_of_images(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", "sub/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [image.name for image in find_images(tmp_path)] == ["a.jpg", "b.PNG", "sub/c.webp"]


def test_a_patch_is_on_the_things_whose_boxes_hold_its_centre():
    dog, car = Concept("dog"), Concept("car")
    things = (thing(dog, 0, 0, 100, 100), thing(car, 90, 0, 200, 100))
    assert things_under(box(0, 0, 30, 20), things) == (0,)
    assert things_under(box(80, 40, 110, 60), things) == (0, 1)
    assert things_under(box(85, 40, 115, 60), things) == (1,)  # centre 100: ends are exclusive
    assert things_under(box(0, 90, 30, 110), things) == ()
