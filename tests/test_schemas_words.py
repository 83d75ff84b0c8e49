"""Full words from character spans."""

import pytest

from lensbank.schemas.words import folded, is_unspaced, is_word, stands_alone, visible_span, word_span


def span_of(sentence, piece, occurrence=0):
    start = -1
    for _ in range(occurrence + 1):
        start = sentence.index(piece, start + 1)
    return start, start + len(piece)


@pytest.mark.parametrize(
    ("sentence", "piece", "word"),
    [
        ("a doorway and a door", "way", "doorway"),
        ("the giraffe eats", "gir", "giraffe"),
        ("the dog's bone", "dog", "dog's"),
        ("a well-known fact", "known", "well-known"),
        ("a dog - a cat", "-", "-"),
        ("wait, dog!", ",", ","),
        ("une école fermée", "ferm", "fermée"),
        ("cafe\u0301 noir", "cafe", "cafe\u0301"),
        ("in 1999 it", "19", "1999"),
        ("a red 🚒 truck", "🚒", "🚒"),
        ("i ❤️ it", "❤️", "❤️"),
        ("我喜欢猫和狗", "猫", "猫"),
        ("東京タワー", "東京", "東京"),
        (" spaced  out ", " spaced ", "spaced"),
        ("'quoted'", "quoted", "quoted"),
        ("-dash", "dash", "dash"),
    ],
)
def test_word_span(sentence, piece, word):
    start, end = word_span(sentence, *span_of(sentence, piece))
    assert sentence[start:end] == word


def test_door_and_doorway_are_told_apart():
    sentence = "a doorway and a door"
    assert sentence[slice(*word_span(sentence, *span_of(sentence, "door", 0)))] == "doorway"
    assert sentence[slice(*word_span(sentence, *span_of(sentence, "door", 1)))] == "door"


def test_white_space_shows_nothing():
    assert visible_span("a  b", 1, 3) == (3, 3)
    assert word_span("a  b", 1, 3) == (3, 3)
    assert not is_word("a  b", 1, 3)


@pytest.mark.parametrize(
    ("sentence", "piece", "expected"),
    [
        ("the giraffe", "gir", False),
        ("the giraffe", "affe", True),
        ("the giraffe", " giraffe", True),
        ("in 1999", "1999", False),
        ("the mp3 player", "3", True),
        ("wait!", "!", False),
        ("我喜欢猫", "猫", True),
    ],
)
def test_is_word(sentence, piece, expected):
    assert is_word(sentence, *span_of(sentence, piece)) is expected


def test_one_character_over_several_tokens_counts_once():
    sentence = "我"  # a byte-level tokenizer may use three tokens, each with the span (0, 1)
    assert [is_word(sentence, 0, 1, nxt) for nxt in (0, 0, None)] == [False, False, True]


@pytest.mark.parametrize("text", ["dog", "Don't", "fire-truck", "où", "3D", "猫", "हिन्दी"])
def test_words_that_stand_alone(text):
    assert stands_alone(text)


@pytest.mark.parametrize("text", ["", "dog,", "two dogs", "-dog", "dog'", "42", "...", "<s>", "a.b", "\ufffd"])
def test_what_is_no_word_by_itself(text):
    assert not stands_alone(text)


def test_scripts_without_spaces():
    assert [is_unspaced(char) for char in "猫のก日a가 "] == [True, True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Dog", "dOG", True),
        ("STRASSE", "straße", True),
        ("café", "cafe\u0301", True),
        ("CAFE\u0301", "café", True),
        ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
        ("café", "cafe", False),
        ("dog", "dogs", False),
        ("dog", "dog's", False),
        ("", " ", False),
    ],
)
def test_what_counts_as_the_same_word(one, other, same):
    assert (folded(one) == folded(other)) is same
