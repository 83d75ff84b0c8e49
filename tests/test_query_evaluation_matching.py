"""The rules that decide every figure: which word names what."""

import pytest

from lensbank.evaluate.matching import Concept, ConceptIndex, any_names, folded, names, plural

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
    assert folded(word) in DOG.strict


@pytest.mark.parametrize("word", ["hotdog", "do", "dogma", "doggy", "", "cat", "animal", "wolf", "dog'", "pup"])
def test_nothing_fuzzier_does(word):
    assert folded(word) not in DOG.strict


@pytest.mark.parametrize("word", ["animal", "Animals", "pets", "dog", "puppies"])
def test_hypernyms_name_it_loosely(word):
    assert folded(word) in DOG.loose


@pytest.mark.parametrize(
    ("word", "strict", "loose"),
    [("firetruck", True, True), ("fire-truck", True, True), ("Firetrucks", True, True), ("fire-engines", True, True)]
    + [("truck", False, True), ("trucks", False, True), ("engine", False, True), ("vehicle", False, True)]
    + [("fire", False, False), ("car", False, False)],
)
def test_a_name_of_several_words_is_not_named_by_one_of_them(word, strict, loose):
    assert (folded(word) in TRUCK.strict, folded(word) in TRUCK.loose) == (strict, loose)


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
