"""Tokens that are no word can be told apart wherever they are shown."""

import pytest

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
    assert shown_label(label) == shown
