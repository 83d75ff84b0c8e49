"""Full words from character spans."""

import time

import pytest

from lensbank.schemas.words import (
    folded,
    is_unspaced,
    is_word,
    stands_alone,
    token_span,
    visible,
    visible_span,
    word_of,
    word_span,
)


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
        ("a (dog barks", "(dog", "dog"),
        ("he said “The end", "“The", "The"),
        ("end.The", ".The", "The"),
        ("end.The", "end.", "end"),
        ("yes/no", "/no", "no"),
        ("a (hotdog)", "(hot", "hotdog"),
        ("go –the end", "–the", "the"),
        ("some of the dogs", "of the", "the"),
        ("the dog's bone", "'s", "dog's"),
        ("dog- and cat", "dog-", "dog"),
        ("can’t", "t", "can’t"),
        ("a foot\u00adball", "foot", "foot\u00adball"),
        ("می\u200cخوابد", "خوابد", "می\u200cخوابد"),
        ("पक्\u200dका घर", "का", "पक्\u200dका"),
        ("word\u200bword", "word", "word"),
        ("two\u2060words", "words", "two\u2060words"),
        ("cafe\u0301 x", "\u0301", "cafe\u0301"),
        ("cafe\u0301 x", "cafe", "cafe\u0301"),
        ("פְּרִי טוב", "י", "פְּרִי"),
        ('צה"ל בא', "ל", 'צה"ל'),
        ("צה״ל בא", "צה", "צה״ל"),
        ("בית־ספר", "ספר", "בית־ספר"),
        ("ի՞նչ է", "նչ", "ի՞նչ"),
        ("ｶﾞｽ", "ｶ", "ｶﾞ"),
        ("ｶﾞｽ", "ﾞ", "ｶﾞ"),
        ("น้ำ", "น", "น้"),
        ("น้ำ", "\u0e49", "น้"),
        ("ไทยcat", "ยcat", "cat"),
        ("猫が好き。犬", "好き。犬", "犬"),
        ("葛\U000e0100城", "葛\U000e0100", "葛"),
        ("ខ្មែរ", "ខ", "ខ្"),
        ("བོད་ཡིག", "ཡིག", "ཡིག"),
        ("한국어를 ", "국어", "한국어를"),
        ("محـمد", "مد", "محـمد"),
        ("it cost $3.50.", "50", "3.50"),
        ("1,000,000 men", "1", "1,000,000"),
        ("in 1984.In", "1984", "1984"),
        ("a 3.5mm plug", "mm", "3.5mm"),
        ("👩\u200d🚀 waves", "🚀", "👩\u200d🚀"),
        ("a 👋🏽!", "👋", "👋🏽"),
        ("🇩🇪🇫🇷", "🇫", "🇫🇷"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴", "🏴\U000e0067\U000e0062\U000e007f"),
        ("1️⃣ one", "1", "1️⃣"),
    ],
)
def test_word_span(sentence, piece, word):
    start, end = word_span(sentence, *span_of(sentence, piece))
    assert sentence[start:end] == word


def test_door_and_doorway_are_told_apart():
    sentence = "a doorway and a door"
    assert sentence[slice(*word_span(sentence, *span_of(sentence, "door", 0)))] == "doorway"
    assert sentence[slice(*word_span(sentence, *span_of(sentence, "door", 1)))] == "door"


@pytest.mark.parametrize(
    "char",
    [
        "\u200b",
        "\u200d",
        "\u200c",
        "\u00ad",
        "\ufeff",
        "\ufe0f",
        "\u3164",
        "\uffa0",
        "\u2800",
        "\u200f",
        "\x07",
        "\u034f",
    ],
)
def test_what_is_invisible_is_no_word_and_no_part_of_one(char):
    assert visible_span(f"a {char} b", 2, 3) == (3, 3)
    assert word_span(f"a {char} b", 2, 3) == (3, 3) and not is_word(f"a {char} b", 2, 3)
    assert visible_span(f"{char}dog{char}", 0, 5)[0] == 1
    assert word_span(f"{char}dog{char}", 0, 5) == (1, 4)
    assert not stands_alone(char) and visible(f" {char} ") == ""


def test_signs_that_are_seen_are_not_invisible_although_they_are_format_characters():
    assert visible("\u0600") == "\u0600"  # the Arabic number sign


def test_marks_that_no_token_covers_belong_to_the_token_before_them():
    text = "our cafe\u0301 here"
    assert token_span(text, 3, 8, 9) == (4, 9) and word_of(text, 3, 8, 9) == (4, 9, True)
    # A tokenizer that reads the mark by itself: the letters before it complete nothing.
    assert token_span(text, 3, 8, 8) == (4, 8) and word_of(text, 3, 8, 8) == (4, 9, False)
    assert word_of(text, 8, 9, 9) == (4, 9, True)


def test_long_words_are_read_once():
    text = "a" * 200_000 + " b"
    began = time.thread_time()
    assert all(word_of(text, at, at + 1, at + 1)[:2] == (0, 200_000) for at in range(0, 200_000, 200))
    # 1,000 tokens one by one, from the middle outwards, would look at 200 million characters.
    assert time.thread_time() - began < 10


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
    assert [is_unspaced(char) for char in "猫のก日ｶｰa가 "] == [True] * 6 + [False] * 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Dog", "dOG", True),
        ("STRASSE", "straße", True),
        ("café", "cafe\u0301", True),
        ("CAFE\u0301", "café", True),
        ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
        ("foot\u00adball", "Football", True),
        ("می\u200cخوابد", "میخوابد", True),
        ("محـمد", "محمد", True),
        ("T\u2011shirt", "t-shirt", True),
        ("don’t", "don't", True),
        ("❤\ufe0f", "❤", True),
        ("ـ", "", False),
        ("café", "cafe", False),
        ("dog", "dogs", False),
        ("dog", "dog's", False),
        ("", " ", False),
    ],
)
def test_what_counts_as_the_same_word(one, other, same):
    assert (folded(one) == folded(other)) is same
