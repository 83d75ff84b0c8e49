"""The measure of the lens: which word names what, which patch shows what, what is chance."""

import math

import pytest

from demo.make_images import HELDOUT, IMAGES
from demo.matching import any_names, names, names_of, plural, word_at
from demo.measures import (
    Count,
    PatchWords,
    background,
    chance,
    chance_recall,
    concrete,
    elsewhere,
    objects_under,
    patch_words,
    recall,
    share,
)
from demo.share import Group, caption_table, groups, lens_table, spoken_words
from demo.sprites import Concept
from demo.truth import Picture, Thing
from lensbank.schemas.results import Neighbor, PixelBox, TokenReading

DOG = Thing("dog", ("puppy", "hound"), (0, 0, 100, 100))
CAR = Thing("car", ("automobile",), (90, 0, 200, 100))
BUS = Thing("bus", (), (0, 0, 60, 60))
STREET = Picture("street.png", "scene", ("noto",), True, 210, 140, (DOG, CAR))
STATION = Picture("station.png", "scene", ("noto",), True, 210, 140, (BUS, DOG))


def token(row, col, *words, box=None):
    box = box or PixelBox(col * 30, row * 20, col * 30 + 30, row * 20 + 20)
    neighbors = tuple(Neighbor(word, word, 1, word, 0, 1, 0, True, 0.5, 8, "c", "c:1", f"{word}") for word in words)
    return TokenReading(row * 7 + col, f"{row},{col}", 0, row, col, box, 1.0, neighbors)


@pytest.mark.parametrize(
    ("word", "several"),
    [("dog", "dogs"), ("mouse", "mice"), ("fox", "foxes"), ("cherry", "cherries"), ("key", "keys")]
    + [("leaf", "leaves"), ("tomato", "tomatoes"), ("avocado", "avocados"), ("church", "churches"), ("bus", "buses")],
)
def test_plurals(word, several):
    assert plural(word) == several


def test_a_word_names_a_thing_by_name_synonym_and_plural_in_any_case():
    dog = names("dog", ("puppy", "hound"))
    for word in ("dog", "Dog", "DOGS", "puppy", "Puppies", "hounds", "dog's", "Dog’s"):
        assert any_names([word], dog), word
    for word in ("hotdog", "do", "dogma", "doggy", "", "cat", "animal", "wolf"):
        assert not any_names([word], dog), word
    assert any_names(["the", "a", "puppies"], dog) and not any_names([], dog)
    assert names_of(Concept("dog", ("puppy", "hound"), {})) == dog


@pytest.mark.parametrize(
    ("text", "span", "word"),
    [("A fire-truck stands", (2, 6), "fire-truck"), ("the dog's tail", (3, 7), "dog's"), ("snails.", (2, 6), "snails")]
    + [("end.", (3, 4), "."), ("well -", (4, 6), "-"), ("(cat)", (1, 4), "cat")],
)
def test_the_whole_word_around_a_token(text, span, word):
    assert word_at(text, *span) == word


def test_objects_under_a_patch_by_its_centre():
    things = (DOG, CAR)
    assert objects_under(PixelBox(0, 0, 30, 20), things) == (0,)
    assert objects_under(PixelBox(80, 40, 110, 60), things) == (0, 1)  # centre 95
    assert objects_under(PixelBox(85, 40, 115, 60), things) == (1,)  # centre 100: ends are exclusive
    assert objects_under(PixelBox(0, 90, 30, 110), things) == ()  # centre 100
    assert objects_under(PixelBox(0, 89, 30, 109), things) == (0,)
    # A view of a larger picture has patches of any place and size.
    assert objects_under(PixelBox(150.5, 10.25, 155.5, 20.25), things) == (1,)


def test_words_and_objects_of_each_patch():
    read = patch_words([token(0, 0, "Dog", "the"), token(6, 6, "sky"), token(2, 3, "x")], STREET)
    assert read == [PatchWords(("Dog", "the"), (0,)), PatchWords(("sky",), ()), PatchWords(("x",), (1,))]
    with pytest.raises(ValueError, match="has no box"):
        patch_words([TokenReading(0, "dog", None, None, None, None, 1.0, ())], STREET)


PATCHES = [
    PatchWords(("puppies", "the"), (0,)),  # names it
    PatchWords(("car",), (0,)),  # names another
    PatchWords(("car", "dog"), (0,)),  # names both: it counts once, for its own
    PatchWords(("sky",), (1,)),  # names nothing
    PatchWords(("dog", "car"), (0, 1)),  # on two objects: left out
    PatchWords(("Automobile",), ()),  # background
    PatchWords(("sky",), ()),
]


def test_counts_of_a_picture():
    assert concrete(PATCHES, STREET) == Count(2, 4)
    assert elsewhere(PATCHES, STREET) == Count(1, 4)
    assert background(PATCHES, STREET) == Count(1, 2)


def test_two_of_a_kind_are_not_others():
    twins = Picture("t.png", "photo", (), False, 210, 140, (DOG, Thing("dog", (), (110, 0, 200, 100))))
    assert elsewhere([PatchWords(("dog",), (1,))], twins) == Count(0, 1)
    assert concrete([PatchWords(("dog",), (1,))], twins) == Count(1, 1)


def test_chance_is_the_same_words_on_other_pictures():
    # STATION has a bus and a dog: of four patches, two say dog and none says bus; half of the objects are dogs.
    assert chance(PATCHES, [STATION]) == Count(2 / 2, 4)
    empty = Picture("e.png", "scene", (), True, 210, 140, (BUS,))
    assert chance(PATCHES, [STATION, empty]) == Count((1 + 0) / 2, 4)
    assert chance(PATCHES, []) == Count(0, 4)


def test_recall_of_captions():
    said = spoken_words("A puppy's bed, and two CARS.")
    assert said == ["a", "puppy's", "bed", "and", "two", "cars"]
    assert recall(said, STREET) == Count(2, 2)
    assert recall(spoken_words("A bus stop"), STREET) == Count(0, 2)
    assert chance_recall(said, STREET, [STATION]) == Count(1, 2)
    assert chance_recall(said, STREET, []) == Count(0, 2)


def test_share_weighs_patches_and_draws_pictures():
    counts = [Count(9, 10), Count(0, 30), Count(5, 10)]
    found = share(counts)
    assert found.percent == pytest.approx(28.0) and found.total == 50
    assert found.low < 10 and found.high > 60  # three pictures tell little
    assert share(counts) == found
    steady = share([Count(3, 10)] * 40)
    assert (steady.percent, steady.low, steady.high) == pytest.approx((30, 30, 30))
    assert math.isnan(share([Count(0, 0)]).percent) and share([Count(0, 0)]).total == 0


def test_tables():
    group = Group("seen styles", HELDOUT, (STREET, STATION))
    table = lens_table(group, {8: [PATCHES, [PatchWords(("bus",), (0,))]], 1: [PATCHES, []]})
    rows = table.splitlines()
    assert rows[0] == "**seen styles** (2 pictures)"
    assert rows[4].startswith("| 1 | 4 | 50.0 %") and rows[5].startswith("| 8 | 5 | 60.0 % (50 to 100)")
    table = caption_table([(group, ["a dog", "a dog and a bus"])])
    # Of the first picture one of two, of the second both.
    assert table.splitlines()[2] == "| seen styles | 4 | 75.0 % (50 to 100) | 50.0 % |"


def test_groups_are_what_they_say():
    seen, unseen, photographs = groups()
    assert (len(seen.pictures), len(unseen.pictures)) == (60, 40) and len(photographs.pictures) >= 4
    assert all(picture.seen for picture in seen.pictures) and not any(picture.seen for picture in unseen.pictures)
    assert {picture.kind for picture in photographs.pictures} == {"photo"} and photographs.folder == IMAGES
    assert [len(group.pictures) for group in groups(3)] == [3, 3, 3]
