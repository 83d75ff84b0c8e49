"""Annotation files as people have them: read, or refused with the reason."""

import json

import pytest
from evaluation_fixtures import box, thing, write_coco
from PIL import Image

from lensbank.evaluate.annotations import find_images, read_annotations, things_under
from lensbank.evaluate.matching import Concept
from lensbank.schemas.errors import InputError


def test_a_coco_file(tmp_path):
    first, second = read_annotations(write_coco(tmp_path / "a.json"), tmp_path / "images").images
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
    (image,) = read_annotations(file, tmp_path, words).images
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
        ({"categories": [{"id": 2, "name": None}]}, "empty name"),
        ({"categories": [{"id": 2, "name": "dog", "synonyms": "puppy"}]}, "'synonyms' of 'dog' is not a list"),
        ({"categories": [{"id": 2, "name": "dog"}]}, "has a category that is not in 'categories'"),
        (
            {"annotations": [{"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, 5]}]},
            "annotation 3 has the box",
        ),
        ({"annotations": [{"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, "9", 5]}]}, "expected \\[x, y"),
    ],
)
def test_what_is_no_annotation_file(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_annotations(write_coco(tmp_path / "a.json", **changes), tmp_path)


def one_object(tmp_path, row, images=None, **entry):
    """The only object of a file, and what is said of it."""
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    data = {
        "images": images or [{"id": 1, "file_name": "a.png", **entry}],
        "categories": [{"id": 2, "name": "dog"}],
        "annotations": [{"id": 3, "image_id": 1, "category_id": 2, **row}],
    }
    (tmp_path / "a.json").write_text(json.dumps(data))
    found = read_annotations(tmp_path / "a.json", tmp_path)
    return [thing.box for image in found.images for thing in image.things], found.notes


BOX = {"bbox": [3, 5, 40, 20]}


@pytest.mark.parametrize("ids", [(1, 1.0), (1.0, 1), ("1", 1), (1.0, "1"), ("a", "a")])
def test_ids_are_the_same_however_they_are_written(tmp_path, ids):
    assert one_object(tmp_path, {**BOX, "image_id": ids[1]}, id=ids[0]) == ([box(3, 5, 43, 25)], ())
    assert one_object(tmp_path, {**BOX, "category_id": 2.0}) == ([box(3, 5, 43, 25)], ())


@pytest.mark.parametrize(
    ("outline", "expected"),
    [
        ([[3, 5, 43, 5, 43, 25, 3, 25]], (3, 5, 43, 25)),
        ([[3, 5, 10, 5, 3, 9], [30, 20, 43, 20, 30, 25]], (3, 5, 43, 25)),
        # Packed by pycocotools, whose own boxes these are.
        ({"size": [40, 60], "counts": "m3d0d0" + "0" * 77 + "Se0"}, (3, 5, 43, 25)),
        ({"size": [40, 60], "counts": "`<X6Xh1"}, (10, 0, 15, 40)),
        ({"size": [40, 60], "counts": "oZ21"}, (59, 39, 60, 40)),
        (
            {
                "size": [40, 60],
                "counts": "e<1h00G070K030O0O030K070G0;0C0?0_O0c00[O0g00WO0k00SO0o00oN0S1110OOmN0Q10QO0m00UO0i00YO0e00"
                "]O0a00A0cU1",
            },
            (10, 5, 30, 31),
        ),
        ({"size": [40, 60], "counts": [283, 9, 2108]}, (7, 3, 8, 12)),
    ],
)
@pytest.mark.parametrize("without", [{}, {"bbox": None}, {"bbox": []}])
def test_an_outline_without_a_box_gives_one(tmp_path, outline, expected, without):
    assert one_object(tmp_path, {"segmentation": outline, **without}) == ([box(*expected)], ())


@pytest.mark.parametrize("outline", [None, [], [[]], "x", {"size": [40, 60], "counts": "\n"}, {"counts": [5]}])
def test_annotations_with_neither_are_counted_and_refused_where_there_are_no_others(tmp_path, outline):
    with pytest.raises(InputError, match="1 annotations have neither a box nor a readable segmentation"):
        one_object(tmp_path, {"segmentation": outline})


def test_annotations_of_other_images_are_left_out_and_counted(tmp_path):
    file = write_coco(tmp_path / "a.json")
    data = json.loads(file.read_text())
    more = [{**data["annotations"][0], "id": 90 + n, "image_id": "elsewhere"} for n in range(3)]
    file.write_text(json.dumps({**data, "annotations": [*data["annotations"], *more]}))
    found, plain = read_annotations(file, tmp_path), read_annotations(write_coco(tmp_path / "b.json"), tmp_path)
    assert found.images == plain.images
    said = "3 annotations have an image that is not in 'images' and were left out (the first: annotation 90)."
    assert found.notes == (*plain.notes, said) or said in found.notes
    with pytest.raises(InputError, match="no usable annotation: 1 annotations have an image that is not in 'images'"):
        one_object(tmp_path, {**BOX, "image_id": 9})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"version": "5", "shapes": [], "imagePath": "a.png"}', "of LabelMe"),
        ('{"a.png12": {"filename": "a.png", "regions": []}}', "of the VGG Image Annotator"),
        ('[{"image": "a.png", "annotations": []}]', "of CreateML"),
        ('{"images": [], "annotations": [{"id": 1, "image_id": 1, "caption": "a dog"}]}', "of captions"),
        ('{"annotations": [{"image_id": 1, "segments_info": []}]}', "of COCO's panoptic task"),
        ("<annotation><object/></annotation>", "Pascal VOC"),
        ("ImageID,Source,LabelName,XMin\n", "Open Images"),
        ("0 0.5 0.5 0.1 0.1\n", "of YOLO"),
    ],
)
def test_files_of_other_tools_are_named(tmp_path, text, says):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=f"{says}.*COCO"):
        read_annotations(tmp_path / "a.json", tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "expected an object, found")])
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


def coco(folder, boxes, images=None, categories=None, **more):
    """A file of one image `a.png`, 100 x 80, that is there, and boxes of category 1."""
    Image.new("RGB", (100, 80)).save(folder / "a.png")
    images = images or [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}]
    annotations = [{"id": n, "image_id": 1, "category_id": 1, "bbox": box, **more} for n, box in enumerate(boxes, 10)]
    data = {"images": images, "categories": categories or [{"id": 1, "name": "dog"}], "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder / "annotations.json"


def boxes_of(found):
    return [one.box for image in found.images for one in image.things]


def test_boxes_without_area_are_left_out_and_counted(tmp_path):
    found = read_annotations(coco(tmp_path, [[0, 0, 50, 0], [10, 10, 20, 30], [5, 5, 0, 9]]), tmp_path)
    assert boxes_of(found) == [box(10, 10, 30, 40)]
    assert found.notes == ("2 boxes have no area and were left out (the first: annotation 10).",)


def test_boxes_that_reach_beyond_are_cut_and_those_outside_left_out(tmp_path):
    boxes = [[90, 10, 40, 20], [10, 10, 20, 20], [120, 5, 10, 10], [10, 20, 20, 20], [0, 0, 100.4, 80.3], [1, 1, 9, 9]]
    found = read_annotations(coco(tmp_path, boxes), tmp_path)
    assert boxes_of(found)[0] == box(90, 10, 100, 30) and len(boxes_of(found)) == 5
    assert boxes_of(found)[3] == box(0, 0, 100, 80)  # by rounding: no word about it
    assert [note[:20] for note in found.notes] == ["1 boxes are complete", "1 boxes extend beyon"]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.25]], "look like fractions of width and height.*Multiply"),
        ([[60, 40, 95, 75], [10, 10, 60, 60]], r"look like corners.*would end at 155, 115.*\[60, 40, 35, 35\]"),
        ([[60, 40, 95, 75], [300, 10, 60, 60]], "2 of 2 boxes .* extend beyond .* another size"),
        ([[30, 30, -10, 5], [1, 1, 5, 5]], "not negative"),
    ],
)
def test_boxes_in_another_unit_are_refused_with_both_readings(tmp_path, boxes, message):
    with pytest.raises(InputError, match=message):
        read_annotations(coco(tmp_path, boxes), tmp_path)


def test_sizes_that_the_file_does_not_say_are_those_of_the_images(tmp_path):
    with pytest.raises(InputError, match="look like corners"):
        read_annotations(coco(tmp_path, [[60, 40, 95, 75]], images=[{"id": 1, "file_name": "a.png"}]), tmp_path)


@pytest.mark.parametrize(
    ("value", "crowd"), [(0, False), ("0", False), (None, False), (False, False), (1, True), ("1", True)]
)
def test_crowds_however_they_are_written(tmp_path, value, crowd):
    found = read_annotations(coco(tmp_path, [[1, 1, 9, 9]], iscrowd=value), tmp_path)
    assert [one.crowd for one in found.images[0].things] == [crowd]
    assert any("iscrowd" in note for note in found.notes) == crowd  # all of them are


def test_what_crowd_cannot_be(tmp_path):
    with pytest.raises(InputError, match="iscrowd 'maybe'"):
        read_annotations(coco(tmp_path, [[1, 1, 9, 9]], iscrowd="maybe"), tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "http://x.org/val2017/a.png",
        "C:\\Users\\me\\a.png",
        "/home/me/images/a.png",
        "http://x.org/my%20folder/a.png?s=1",
    ],
)
@pytest.mark.parametrize("key", ["file_name", "coco_url"])
def test_images_are_found_by_the_last_parts_of_their_names(tmp_path, key, name):
    images = [{"id": 1, key: name, "width": 100, "height": 80}]
    found = read_annotations(coco(tmp_path, [[1, 1, 9, 9]], images=images), tmp_path)
    name = name.removesuffix("?s=1")  # what signs an address is nobody's to read
    assert found.images[0].path == tmp_path / "a.png" and found.images[0].name == name
    assert found.notes == (f"1 images were found by the last parts of their paths (the first: {name}).",)


def test_the_longest_end_of_a_name_counts(tmp_path):
    (tmp_path / "val").mkdir()
    Image.new("RGB", (100, 80)).save(tmp_path / "val" / "a.png")
    file = coco(tmp_path, [[1, 1, 9, 9]], images=[{"id": 1, "file_name": "/data/val/a.png"}])
    assert read_annotations(file, tmp_path).images[0].path == tmp_path / "val" / "a.png"


def test_entries_that_name_one_image_are_joined(tmp_path):
    images = [{"id": n, "file_name": "a.png", "width": 100, "height": 80} for n in (1, 2)]
    file = coco(tmp_path, [[1, 1, 9, 9]], images=images)
    data = json.loads(file.read_text())
    data["annotations"].append({"id": 5, "image_id": 2, "category_id": 1, "bbox": [20, 20, 9, 9]})
    file.write_text(json.dumps(data))
    found = read_annotations(file, tmp_path)
    assert len(found.images) == 1 and len(boxes_of(found)) == 2 and "joined" in found.notes[0]
    data["images"][1]["width"] = 50
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match="sizes or groups differ"):
        read_annotations(file, tmp_path)


def test_a_category_id_that_names_two_things_is_refused(tmp_path):
    same, other = [{"id": 1, "name": "dog"}] * 2, [{"id": 1, "name": "dog"}, {"id": 1, "name": "cat"}]
    assert boxes_of(read_annotations(coco(tmp_path, [[1, 1, 9, 9]], categories=same), tmp_path))
    with pytest.raises(InputError, match="category 1 is both 'dog' and 'cat'"):
        read_annotations(coco(tmp_path, [[1, 1, 9, 9]], categories=other), tmp_path)


def test_ids_as_text_and_a_byte_order_mark(tmp_path):
    file = coco(tmp_path, [[1, 1, 9, 9]], images=[{"id": "1", "file_name": "a.png"}])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert boxes_of(read_annotations(file, tmp_path)) == [box(1, 1, 10, 10)]
