"""What the photographs' figures are held against: the tower's own head, chance by kind, a second set of pictures."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from demo import ceiling, chance, stamps
from demo.photo_cells import Head
from demo.sprites import load_concepts
from lensbank.evaluate.annotations import AnnotatedImage, Thing
from lensbank.evaluate.matching import Concept
from lensbank.evaluate.records import ImageWords
from lensbank.schemas.results import PixelBox

DOG, CAT = Concept("dog", ("puppy",)), Concept("cat")


def image(path, name, concept, box=(0, 0, 70, 35)):
    return AnnotatedImage(path, name, "photographs", (Thing(concept, PixelBox(*map(float, box))),), (70, 70))


def test_the_cells_of_a_picture_cover_it_row_by_row():
    cells = ceiling.patches(320, 245)
    assert len(cells) == 49 and [(cell.row, cell.col) for cell in cells[6:8]] == [(0, 6), (1, 0)]
    assert cells[8].box == PixelBox(45.714, 35.0, 91.429, 70.0)
    assert cells[48].box == PixelBox(274.286, 210.0, 320.0, 245.0)


def test_the_heads_concepts_are_counted_under_the_thing(tmp_path, monkeypatch):
    Image.new("RGB", (70, 70), "white").save(tmp_path / "dog.png")
    sure = torch.zeros(49, 6)
    sure[:14, 0] = 9  # dog in the two upper rows
    sure[14:, 1] = 9  # cat below, where the third row still is the dog
    monkeypatch.setattr(ceiling, "features", lambda tower, pixels: sure.numpy()[None])
    words = ("dog", "cat", "bus", "car", "hat", "pen")
    head = Head(torch.eye(6), torch.zeros(6), torch.eye(6), words)
    shown = image(tmp_path / "dog.png", "dog.png", DOG)
    found = ceiling.named(head, None, shown)
    assert found.words[1]["head"][0] == ("dog",) and found.words[5]["head"][20][0] == "cat"
    line = ceiling.table([shown], [found]).splitlines()[2]
    # Cells whose centre lies in the upper 35 of 70 pixels: three rows, the last of them on the middle line left out.
    assert line.startswith("| photographs | 1 | 21 | 1 | 66.7 %")


def said(name, patches, words):
    return ImageWords(name, "0", 70, 70, patches, {8: {"latent": words}}, {}, {8: {"latent": ()}})


def test_chance_is_told_apart_by_kind(tmp_path):
    cells = ceiling.patches(70, 70)
    images = [image(tmp_path, name, concept) for name, concept in (("a", DOG), ("b", DOG), ("c", CAT))]
    words = [said(name, cells, (("Dogs",),) * 49) for name in "abc"]
    found = chance.parts(images, words)
    # A dog's picture meets one of a dog and one of a cat; the cat's two of dogs, which is luck.
    assert found.every == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found.strangers == pytest.approx((0 + 0 + 1) / 3)
    assert found.alike == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert found.kinds == [("dog", 2), ("cat", 1)] and found.layer == 8
    with pytest.raises(ValueError, match="two pictures"):
        chance.parts(images[:1], words[:1])


def test_a_stamp_is_boxed_by_what_is_visible():
    art = np.zeros((100, 200, 4), np.uint8)
    art[20:60, 50:150] = (200, 0, 0, 255)
    ground, box = stamps.stamped(Image.fromarray(art))
    assert ground.size == (220, 120) and box == (60, 30, 160, 70)
    assert ground.getpixel((5, 5)) == (255, 255, 255) and ground.getpixel((100, 50)) == (200, 0, 0)
    with pytest.raises(ValueError, match="without a visible pixel"):
        stamps.stamped(Image.new("RGBA", (8, 8)))


def test_stamps_become_annotated_pictures(tmp_path):
    things = json.loads(stamps.THINGS.read_text())
    assert len(things) >= 70 and set(things.values()) <= {concept.word for concept in load_concepts()}
    (tmp_path / "animals" / "dogs").mkdir(parents=True)
    name = next(name for name, word in things.items() if word == "dog")
    path = tmp_path / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA", (40, 20), "brown").save(path)
    count, missing = stamps.write_stamps(tmp_path, tmp_path / "out")
    assert count == 1 and len(missing) == len(things) - 1
    written = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert written["annotations"][0]["bbox"] == [2, 2, 40, 20]
    assert written["categories"][0]["name"] == "dog" and "puppy" in written["categories"][0]["synonyms"]
    assert (tmp_path / "out" / written["images"][0]["file_name"]).is_file()
