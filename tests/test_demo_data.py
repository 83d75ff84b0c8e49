"""What the demo commits: pictures with their truth, and a corpus."""

import gzip
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from demo.captions import PLURAL, caption
from demo.corpus import CORPUS_FILE, coverage, read_corpus, sentences
from demo.corpus_words import KINDS
from demo.heldout_photos import HELDOUT_PHOTOS
from demo.make_images import HELDOUT, HELDOUT_MORE, IMAGES
from demo.packing import patches_under
from demo.scenes import Placed, Scene
from demo.sprites import TRAIN_STYLES, UNSEEN_STYLES, VALIDATION_STYLES, Concept, load_concepts
from demo.truth import Picture, Thing, read_truth, write_truth


@pytest.mark.parametrize("folder", [IMAGES, HELDOUT, HELDOUT_MORE, HELDOUT_PHOTOS])
def test_truth_tells_of_the_files_that_are_there(folder):
    pictures = read_truth(folder)
    files = {path.name for path in folder.iterdir() if path.is_file()} - {"truth.json", "SOURCES.md"}
    assert len({picture.file for picture in pictures}) == len(pictures)
    assert {picture.file for picture in pictures} == files
    for picture in pictures:
        with Image.open(folder / picture.file) as image:
            image.load()
            assert image.size == (picture.width, picture.height), picture.file
            assert image.mode == "RGB" and max(image.size) <= 640


@pytest.mark.parametrize("folder", [IMAGES, HELDOUT, HELDOUT_MORE, HELDOUT_PHOTOS])
def test_boxes_lie_inside_and_hold_something(folder):
    for picture in read_truth(folder):
        assert picture.objects, picture.file
        pixels = np.asarray(Image.open(folder / picture.file).convert("RGB")).astype(float)
        for thing in picture.objects:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= picture.width and 0 <= y0 < y1 <= picture.height, (picture.file, thing)
            assert (x1 - x0) >= 8 and (y1 - y0) >= 8
            # An empty patch of background varies by its noise alone (at most 8 grey levels, plus a ramp).
            assert pixels[y0:y1, x0:x1].std((0, 1)).max() > 10, (picture.file, thing)


def test_scenes_are_enough_and_varied():
    shown, measured = read_truth(IMAGES), [*read_truth(HELDOUT), *read_truth(HELDOUT_MORE)]
    scenes = [picture for picture in shown if picture.kind == "scene"]
    assert [p.seen for p in scenes] == [True] * 10 + [False] * 6
    assert sum(p.width != p.height for p in scenes) >= 2
    assert len([p for p in shown if p.kind == "photo"]) >= 4
    assert Counter(p.seen for p in measured) == {True: 120, False: 80}
    for picture in [*scenes, *measured]:
        (style,) = picture.styles
        assert picture.seen == (style in TRAIN_STYLES)
    assert {p.styles[0] for p in measured if not p.seen} == set(UNSEEN_STYLES)
    assert not set(TRAIN_STYLES) & {*UNSEEN_STYLES, *VALIDATION_STYLES}


def test_scenes_show_only_what_the_concepts_list():
    concepts = {concept.word: concept.synonyms for concept in load_concepts()}
    for picture in [*read_truth(IMAGES), *read_truth(HELDOUT), *read_truth(HELDOUT_MORE)]:
        if picture.kind == "scene":
            for thing in picture.objects:
                assert concepts[thing.word] == thing.synonyms
            assert len({thing.word for thing in picture.objects}) == len(picture.objects)


def test_every_photograph_has_its_source():
    text = (IMAGES / "SOURCES.md").read_text()
    for picture in read_truth(IMAGES):
        if picture.kind == "photo":
            assert re.search(rf"^\| {picture.file} \|.*\| (CC0|CC BY 2.0|public domain)", text, re.MULTILINE)
        else:
            assert re.search(rf"^\| {picture.styles[0]} \|", text, re.MULTILINE)


def test_a_dozen_held_out_photographs_lie_beside_the_pictures_to_try():
    links = sorted((IMAGES / "photographs").iterdir())
    assert len(links) >= 12
    named = {picture.file: picture.objects[0].word for picture in read_truth(HELDOUT_PHOTOS)}
    for link in links:
        assert link.is_symlink() and link.resolve().parent == HELDOUT_PHOTOS.resolve(), link
        assert named[link.resolve().name] == link.stem


def test_pictures_stay_small():
    sizes = [sum(path.stat().st_size for path in folder.iterdir()) for folder in (IMAGES, HELDOUT, HELDOUT_MORE)]
    assert sizes[0] < 3_000_000 and max(sizes[1:]) < 2_000_000


def test_no_composition_was_drawn_twice():
    pictures = [*read_truth(IMAGES), *read_truth(HELDOUT), *read_truth(HELDOUT_MORE)]
    compositions = [frozenset((thing.word, thing.box) for thing in picture.objects) for picture in pictures]
    assert len(set(compositions)) == len(compositions)


def test_truth_survives_writing_and_reading(tmp_path):
    picture = Picture("a.png", "scene", ("noto",), True, 32, 16, (Thing("dog", ("puppy", "hound"), (1, 2, 30, 16)),))
    write_truth(tmp_path, [picture, picture])
    assert read_truth(tmp_path) == [picture, picture]


def test_corpus_is_large_unique_and_clean():
    lines = read_corpus()
    assert len(lines) == len(set(lines)) >= 20_000
    assert all(line == line.strip() and 5 <= len(line) <= 120 for line in lines)
    assert not any(mark in line for line in lines for mark in "{}<>|")
    words = Counter(len(line.split()) for line in lines)
    assert len(words) >= 8


def test_corpus_covers_every_concept_in_varied_sentences():
    lines = read_corpus()
    counts = coverage(lines)
    assert len(counts) == len(load_concepts())
    assert min(counts.values()) >= 50, min(counts.items(), key=lambda item: item[1])
    # Not one concept only ever stands at the beginning or the end.
    for word in ("dog", "bulb", "sushi"):
        places = {line.lower().split().index(word) for line in lines if word in line.lower().split()}
        assert len(places) >= 3, word
    named = {name for concept in load_concepts() for name in (concept.word, *concept.synonyms)}
    plain = [line for line in lines if not named & set(re.findall(r"[a-z]+", line.lower()))]
    assert len(plain) >= 3_000


def test_corpus_is_what_the_script_writes():
    with gzip.open(CORPUS_FILE, "rt", encoding="utf-8") as file:
        assert list(sentences()) == file.read().splitlines()


def test_every_concept_has_a_kind_and_art_to_train_on():
    kinds = [word for words, _, _ in KINDS.values() for word in words.split()]
    assert sorted(kinds) == sorted(concept.word for concept in load_concepts())
    for concept in load_concepts():
        assert sum(style in concept.icons for style in TRAIN_STYLES) >= 2, concept.word


def scene(*boxes):
    words = ("dog", "cat", "bus", "glasses")
    placed = (Placed(Concept(word, (), {}), box) for word, box in zip(words, boxes, strict=False))
    return Scene(224, 224, "red", tuple(placed))


def test_patches_under_an_object_are_those_whose_centre_it_covers():
    # Patch centres are at 16, 48, 80, ... pixels.
    assert patches_under(scene((0, 0, 49, 17)), scene((0, 0, 49, 17)).objects[0]) == [0, 1]
    assert patches_under(scene((40, 60, 90, 120)), scene((40, 60, 90, 120)).objects[0]) == [15, 16, 22, 23]
    # A thing between the centres counts as at the nearest patch.
    assert patches_under(scene((50, 50, 60, 60)), scene((50, 50, 60, 60)).objects[0]) == [8]


def test_captions_say_only_what_is_there():
    rng = np.random.default_rng(3)
    shown = scene((0, 0, 100, 100), (110, 0, 220, 100), (0, 110, 100, 220), (110, 110, 220, 220))
    every = [caption(rng, shown) for _ in range(400)]
    known = {concept.word for concept in load_concepts()}
    for text in every:
        assert set(re.findall(r"[a-z]+", text.lower())) & known <= {"dog", "cat", "bus", "glasses"}, text
        assert not re.search(r"\ba (dogs|glasses)\b|\ban (dog|cat|bus)\b", text), text
    assert len(set(every)) > 200
    assert any("at the top left" in text for text in every) and "glasses" in PLURAL
