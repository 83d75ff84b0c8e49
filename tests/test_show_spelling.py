"""Tokens that are no word can be told apart wherever they are shown."""

from dataclasses import replace

import pytest
from page_readings import text_reading

from lensbank.schemas.results import VocabularyToken
from lensbank.show.grids import shown_label, shown_word
from lensbank.show.spelling import spelled

SPELT = [
    ("", "Ġ", "␣"),
    ("", "▁", "␣"),
    ("", "ĠĠĠ", "␣␣␣"),
    ("", "Ġ" * 8, "␣×8"),
    ("", "ĊĊ", "↵↵"),
    ("\n", "Ċ", "↵"),
    ("\t", "ĉ", "⇥"),
    (" ", "", "␣"),
    (",", "Ġ,", "“,”"),
    ("...", "...", "“...”"),
    ("$", "$", "“$”"),
    ("\\xe5\\xb9", "å¹", "<0xE5><0xB9>"),
    ("\ufffd", "<0xE2>", "<0xE2>"),
    ("<0x0A>", "<0x0A>", "<0x0A>"),
    ("", "âĢĭ", "U+200B"),
    ("\u202e,", ",", "“,”"),
]


@pytest.mark.parametrize(("text", "token", "shown"), SPELT)
def test_what_cannot_be_seen_or_told_apart_is_spelt(text, token, shown):
    assert spelled(text, token) == shown
    assert shown_word(VocabularyToken(text, token, 1, 0.5, None)) == shown


@pytest.mark.parametrize("word", ["dog", "dog's", "犬", "🐕", "3.5", "<|im_end|>", "can\\x't", "naïve", "[id 7]"])
def test_words_are_left_as_they_are(word):
    assert spelled(word, word) is None


@pytest.mark.parametrize(
    ("label", "shown"),
    [("Ġdog", "␣dog"), ("▁dog", "␣dog"), ("dog", "dog"), ("Ġ,", "“,”"), ("Ċ", "↵"), ("Ã©", "é"), ("ĠĠx", "␣␣x")],
)
def test_a_text_tokens_own_string_shows_its_space(label, shown):
    reading = text_reading()
    token = replace(reading.layers[0].tokens[0], label=label, char_start=None, char_end=None)
    assert shown_label(reading, token) == shown


@pytest.mark.parametrize(
    ("text", "label", "shown"),
    [
        ("👨", "ð", "<0xF0>"),
        ("ש", "×", "<0xD7>"),
        ("é", "©", "<0xA9>"),
        ("a é", "aĠÃ", "a <0xC3>"),
        ("ðat", "ðat", "ðat"),  # of a vocabulary that has the letter
        ("É", "é", "é"),
        ("e\u0301", "é", "é"),
        ("é", "Ã©", "é"),
    ],
)
def test_a_part_of_a_character_is_shown_as_its_bytes_not_as_the_letter_that_stands_for_them(text, label, shown):
    reading = replace(text_reading(), source=text)
    token = replace(reading.layers[0].tokens[0], label=label, char_start=0, char_end=len(text))
    assert shown_label(reading, token) == shown
