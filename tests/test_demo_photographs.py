"""Photographs for the demo: out of a resource file, named cell by cell, and learned from."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from demo import photo_cells
from demo.features import FEATURES
from demo.heldout_photos import HELDOUT_PHOTOS, THINGS, read_credits
from demo.photo_cells import CLASSES, FOLDERS, Head, folder_thing, named_cells, photographs
from demo.photo_fit import BACKGROUND, DRAWINGS, NORM, Lesson, fit, nearest_is_right, targets
from demo.projector import apply_projector
from demo.rcc import read_resources
from demo.scenes import Placed, Scene
from demo.sprites import load_concepts
from demo.truth import read_truth
from demo.vision import PIXEL_MEAN, PIXEL_STD


def resource_file(members):
    """A version 1 file of one folder `a` that holds members; every second one is compressed."""
    names, data, nodes = b"", b"", []
    texts = ["a", *members]
    places = []
    for text in texts:
        places.append(len(names))
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
    nodes.append(struct.pack(">IHII", 0, 2, 1, 1))
    nodes.append(struct.pack(">IHII", places[0], 2, len(members), 2))
    for number, (place, content) in enumerate(zip(places[1:], members.values(), strict=True)):
        packed = struct.pack(">I", len(content)) + zlib.compress(content) if number % 2 else content
        nodes.append(struct.pack(">IHHHI", place, number % 2, 0, 0, len(data)))
        data += struct.pack(">I", len(packed)) + packed
    tree = b"".join(nodes)
    head = struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(tree), 20 + len(tree) + len(data))
    return head + tree + data + names


def test_a_resource_file_gives_its_members_back(tmp_path):
    members = {"one.webp": b"picture" * 9, "README": b"text" * 50}
    (tmp_path / "x.rcc").write_bytes(resource_file(members))
    assert dict(read_resources(tmp_path / "x.rcc")) == {f"/a/{name}": content for name, content in members.items()}
    (tmp_path / "y.rcc").write_bytes(b"PK\x03\x04 no such thing")
    with pytest.raises(ValueError, match="no Qt resource file"):
        list(read_resources(tmp_path / "y.rcc"))


def test_credits_are_read_by_paragraph():
    found = read_credits(
        "Copyright: A\nSource: https://a\nLicense: CC0-1.0\nFiles:\none.webp\ntwo.webp\n\n"
        "Copyright: B\nLicense: CC-BY-SA 4.0\nFiles: three.webp\n\nnothing said\nfour.webp\n"
    )
    assert {name: credit.licence for name, credit in found.items()} == {
        "one.webp": "CC0-1.0",
        "two.webp": "CC0-1.0",
        "three.webp": "CC-BY-SA 4.0",
    }


def test_held_out_photographs_are_free_boxed_and_many():
    pictures, sources = read_truth(HELDOUT_PHOTOS), (HELDOUT_PHOTOS / "SOURCES.md").read_text()
    assert len(pictures) >= 100 and len(json.loads(THINGS.read_text())) == len(pictures)
    for picture in pictures:
        row = next(line for line in sources.splitlines() if line.startswith(f"| {picture.file} |"))
        assert "CC0" in row or "public domain" in row.lower(), row
        assert picture.kind == "photo" and not picture.seen and picture.objects
        with Image.open(HELDOUT_PHOTOS / picture.file) as image:
            assert image.size == (picture.width, picture.height) and max(image.size) <= 320
    words = {thing.word for picture in pictures for thing in picture.objects}
    assert len(words) >= 40 and len(words & {concept.word for concept in load_concepts()}) >= 20


def test_tables_name_concepts():
    words = {concept.word for concept in load_concepts()}
    classes = json.loads(CLASSES.read_text())
    assert set(classes) <= words and all(0 <= c < 1000 for own in classes.values() for c in own)
    assert set(json.loads(FOLDERS.read_text()).values()) <= words


HEAD = Head(torch.eye(4), torch.zeros(4), torch.eye(4)[:, :3], ("dog", "cat", "anchor"))


def test_cells_are_named_by_the_head_and_by_their_folder():
    cells = torch.zeros(49, 4)
    cells[:10, 0] = 9  # sure of dog
    cells[10:20, 1] = 9  # sure of cat
    cells[20:, 3] = 9  # of something that is no concept
    names, empty = named_cells(HEAD, cells, None, True)
    assert names.tolist() == [0] * 10 + [1] * 10 + [-1] * 29
    assert empty.tolist() == [False] * 20 + [True] * 29
    assert named_cells(HEAD, cells, "cat", False)[0].tolist() == [-1] * 10 + [1] * 10 + [-1] * 29
    without_class = Head(
        torch.eye(4), torch.zeros(4), torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]), HEAD.words
    )
    middle = named_cells(without_class, cells, "anchor", True)[0]
    assert (middle == 2).nonzero().flatten().tolist() == [16, 17, 18, 23, 24, 25, 30, 31, 32]
    assert (named_cells(without_class, cells, "anchor", False)[0] == -1).all()


def test_folders_name_what_they_hold(tmp_path):
    words = [concept.word for concept in load_concepts()]
    for folder, thing in (("Motorbikes", "motorcycle"), ("t-shirt", "shirt"), ("dog", "dog"), ("misc", None)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "1.jpg"
        Image.new("RGB", (4, 4)).save(path)
        assert folder_thing(path, words) == thing
    # The part of a data set that is learned from is no railway, and what holds it may still name the thing.
    for place, thing in (("train/a.jpg", "train"), ("data/train/Lime/a.jpg", None), ("dog/train/7/a.jpg", "dog")):
        assert folder_thing(Path(place), words) == thing
    found = photographs([tmp_path], 1, np.random.default_rng(0))
    assert len(found) == 4 and len({path.parent for path in found}) == 4


def test_photographs_are_learned_and_drawings_kept():
    torch.manual_seed(0)
    words = [concept.word for concept in load_concepts()]
    shapes = {
        "linear_1.weight": (16, FEATURES),
        "linear_1.bias": (16,),
        "linear_2.weight": (16, 16),
        "linear_2.bias": (16,),
    }
    old = {name: torch.randn(shape) / shape[-1] ** 0.5 for name, shape in shapes.items()}
    concepts = load_concepts()
    scenes = [Scene(224, 224, "red", (Placed(concepts[n % len(words)], (0, 0, 128, 128)),)) for n in range(len(words))]
    table = torch.randn(len(scenes), 49, FEATURES)
    aims, nowhere = targets(old, scenes, table)
    assert aims.shape == (len(words), 16) and torch.allclose(aims.norm(dim=-1), torch.tensor(NORM))
    kinds = torch.randn(3, FEATURES) * 2
    names = torch.randint(3, (600,))
    lesson = Lesson(
        kinds[names] + torch.randn(600, FEATURES) / 4,
        names,
        torch.randn(BACKGROUND, FEATURES),
        table[:40].flatten(0, 1),
        aims,
        nowhere,
        kinds,
        torch.arange(3),
    )
    new = fit(old, lesson, 60)

    def cosine(projector, cells, wanted):
        return torch.cosine_similarity(apply_projector(projector, cells), wanted, dim=-1).mean()

    assert cosine(new, lesson.cells, aims[names]) > 0.8 > cosine(old, lesson.cells, aims[names])
    drawn = lesson.drawings[:DRAWINGS]
    assert cosine(new, drawn, apply_projector(old, drawn)) > 0.8
    once, again, other = (fit(old, lesson, 2, seed)["linear_1.weight"] for seed in (3, 3, 4))
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_cells_kept_back_are_counted_where_their_concept_is_nearest():
    axes, none = torch.eye(3), torch.zeros(3)
    same = {"linear_1.weight": axes, "linear_1.bias": none, "linear_2.weight": axes, "linear_2.bias": none}
    cells, names = axes[[0, 1, 2, 0]] * 2, torch.tensor([0, 1, 2, 1])
    lesson = Lesson(cells, names, cells, cells, axes * NORM, none, cells, names)
    assert nearest_is_right(same, lesson) == 0.75


def test_photographs_kept_back_are_written_apart(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, shade in zip(paths, (10, 20, 30), strict=True):
        Image.new("L", (20, 20), shade).save(path)
    head = Head(torch.eye(4, FEATURES), torch.zeros(4), HEAD.groups, HEAD.words)

    def dog_above_and_the_shade(tower, pixels):
        cells = np.zeros((len(pixels), 49, FEATURES), np.float16)
        cells[:, :10, 0] = 9
        cells[:, 10:, 3] = 9
        cells[:, :, 9] = np.round(pixels.mean((1, 2, 3)) * PIXEL_STD + PIXEL_MEAN)[:, None]
        return cells

    monkeypatch.setattr(photo_cells, "features", dog_above_and_the_shade)
    monkeypatch.setattr(photo_cells, "load_head", lambda vision: head)
    monkeypatch.setattr(photo_cells, "load_vision_tower", lambda vision: None)
    out, rng = tmp_path / "cells.pt", np.random.default_rng(0)
    assert photo_cells.write_cells(paths, {paths[1]}, tmp_path, out, rng) == {"dog": 40}
    found = torch.load(out, weights_only=True)
    # Whole and as a crop; background of what is learned from alone.
    assert sorted(found["cells"][:, 9].tolist()) == [10] * 20 + [30] * 20
    assert sorted(set(found["background"][:, 9].tolist())) == [10, 30]
    assert found["kept_cells"][:, 9].tolist() == [20] * 20 and found["kept_names"].tolist() == [0] * 20
