"""The rules that decide every figure: which word names what."""

import pytest

from lensbank.evaluate.matching import Concept, ConceptIndex, any_names, bare, is_nameable, names, plural, singular

DOG = Concept("dog", ("puppy", "hound"), ("animal", "pet"))
TRUCK = Concept("fire truck", ("fire engine",), ("vehicle",))


@pytest.mark.parametrize(
    ("word", "several"),
    [("dog", "dogs"), ("fox", "foxes"), ("bus", "buses"), ("church", "churches"), ("dish", "dishes")]
    + [("cherry", "cherries"), ("key", "keys"), ("mouse", "mice"), ("person", "people"), ("leaf", "leaves")]
    + [("sheep", "sheep"), ("snowman", "snowmen"), ("human", "humans"), ("fire truck", "fire trucks"), ("y", "ys")]
    + [("wine glass", "wine glasses"), ("Child", "children")],
)
def test_plurals(word, several):
    assert plural(word) == several


@pytest.mark.parametrize("word", ["dog", "Dog", "DOGS", "puppy", "Puppies", "hounds", "dog's", "Dog’s", " dog "])
def test_names_synonyms_and_plurals_in_any_case_name_a_thing(word):
    assert bare(word) in DOG.strict


@pytest.mark.parametrize("word", ["hotdog", "do", "dogma", "doggy", "", "cat", "animal", "wolf", "dog'", "pup"])
def test_nothing_fuzzier_does(word):
    assert bare(word) not in DOG.strict


@pytest.mark.parametrize("word", ["animal", "Animals", "pets", "dog", "puppies"])
def test_hypernyms_name_it_loosely(word):
    assert bare(word) in DOG.loose


@pytest.mark.parametrize(
    ("word", "strict", "loose"),
    [("firetruck", True, True), ("fire-truck", True, True), ("Firetrucks", True, True), ("fire-engines", True, True)]
    + [("truck", False, True), ("trucks", False, True), ("engine", False, True), ("vehicle", False, True)]
    + [("fire", False, False), ("car", False, False)],
)
def test_a_name_of_several_words_is_not_named_by_one_of_them(word, strict, loose):
    assert (bare(word) in TRUCK.strict, bare(word) in TRUCK.loose) == (strict, loose)


def test_without_hypernyms_loose_is_strict():
    assert Concept("dog", ("puppy",)).loose == Concept("dog", ("puppy",)).strict == names("dog", ("puppy",))


def test_any_of_several_words():
    assert any_names(["the", "a", "puppies"], DOG.strict)
    assert not any_names(["the", "cat"], DOG.strict) and not any_names([], DOG.strict)


def test_an_index_names_concepts_by_number():
    index = ConceptIndex([DOG, TRUCK, Concept("engine")])
    assert index.strict(["the", "Puppy", "engine"]) == {0, 2}
    assert index.loose(["animals", "engine"]) == {0, 1, 2}
    assert index.strict([]) == index.strict(["cat"]) == frozenset()


@pytest.mark.parametrize(
    ("name", "word"),
    [("fire_truck", "firetruck"), ("fire_truck", "fire-truck"), ("bow_(weapon)", "bow"), ("bow_(weapon)", "bows")]
    + [
        ("aerosol can/spray can", "spray-can"),
        ("a/b", "B"),
        ("Fire-Truck", "firetruck"),
        ("traffic  light", "trafficlight"),
    ]
    + [
        ("cr\u00eape", "cre\u0302pe"),
        ("T-shirt", "t\u2011shirt"),
        ("fire truck", "fire\u2011truck"),
        ("T-shirt", "tshirts"),
    ]
    + [("jack-o'-lantern", "jack-o\u2019-lantern"), ("skis", "ski"), ("ski", "skis"), ("person", "persons")]
    + [
        ("person", "people"),
        ("people", "person"),
        ("scissors", "scissors"),
        ("scissors", "scissor"),
        ("knives", "knife"),
    ]
    + [("cherries", "cherry"), ("boxes", "box"), ("wine_glasses", "wineglass"), ("(bear)", "bear"), ("fish", "fishes")]
    + [("hero", "heroes"), ("heroes", "hero"), ("cactus", "cacti"), ("people", "persons"), ("scarves", "scarfs")]
    + [("dog", "(dog"), ("dog", "dog,"), ("dog", '"Dogs"'), ("foot\u00adball", "football"), ("__dog__", "dog")],
)
def test_names_as_data_sets_write_them(name, word):
    assert any_names([word], Concept(name).strict)


@pytest.mark.parametrize(
    ("name", "word"),
    [("news", "new"), ("bus", "bu"), ("glass", "glas"), ("bow_(weapon)", "weapon"), ("fire_truck", "truck")]
    + [("lens", "len"), ("cr\u00eape", "crepe"), ("iris", "iri"), ("cactus", "cactu"), ("T-shirt", "shirt")],
)
def test_what_only_looks_like_a_name(name, word):
    assert not any_names([word], Concept(name).strict)


def test_singulars():
    assert [singular(word) for word in ("dogs", "mice", "wine glasses", "dog", "bus")] == [
        "dog",
        "mouse",
        "wine glass",
        None,
        None,
    ]


def test_names_that_no_word_can_equal():
    assert [is_nameable(Concept(name)) for name in ("dog", "fire truck", "---", "\U0001f415", "7")] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert is_nameable(Concept("---", ("dash",)))
