"""From a token's characters to the full word they belong to.

The paper shows *full words* to its judge (section 4): a reader of "affe" cannot know that
the sentence said "giraffe". A word is the longest run of letters, marks and digits around the
token, apostrophes and hyphens inside it included. Scripts written without spaces
(Han, kana, Thai, Lao, Khmer, Burmese) have no such run: there the token's own characters are
the word. A token that is no letter or digit is its own word.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_JOINERS = frozenset("'’-‐‑·")
_VARIATION_SELECTORS = frozenset("\ufe0e\ufe0f")  # marks by category, but they dress emoji
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "IDEOGRAPHIC", "BOPOMOFO")


@lru_cache(maxsize=65536)
def _kind(char: str) -> str:
    """'letter', 'unspaced', 'joiner' or 'other' for one character."""
    if char in _JOINERS:
        return "joiner"
    if unicodedata.category(char)[0] not in "LMN" or char in _VARIATION_SELECTORS:
        return "other"
    return "unspaced" if unicodedata.name(char, "").startswith(_UNSPACED) else "letter"


def visible_span(sentence: str, start: int, end: int) -> tuple[int, int]:
    """The span less its surrounding white space; empty (start == end) where nothing is visible."""
    while start < end and sentence[start].isspace():
        start += 1
    while end > start and sentence[end - 1].isspace():
        end -= 1
    return start, end


def word_span(sentence: str, start: int, end: int) -> tuple[int, int]:
    """The character span of the full word that contains ``sentence[start:end]``.

    Args:
        sentence: the whole sentence.
        start: first character of the token (white space around it is ignored).
        end: one past its last character.

    Returns:
        ``(word_start, word_end)``; equal numbers where the token shows nothing.
    """
    start, end = visible_span(sentence, start, end)
    if start == end:
        return start, end
    kinds = {_kind(char) for char in sentence[start:end]}
    if "letter" not in kinds:
        return start, end
    while start > 0 and _extends(sentence, start - 1, -1):
        start -= 1
    while end < len(sentence) and _extends(sentence, end, +1):
        end += 1
    return start, end


def _extends(sentence: str, index: int, step: int) -> bool:
    """Whether the character at ``index`` continues a word that is being walked in ``step``."""
    kind = _kind(sentence[index])
    if kind == "letter":
        return True
    beyond = index + step
    return kind == "joiner" and 0 <= beyond < len(sentence) and _kind(sentence[beyond]) == "letter"


def is_word(sentence: str, start: int, end: int, next_start: int | None = None) -> bool:
    """Whether a token *completes* a word that is more than digits or punctuation.

    The last piece of a split word counts, since its state has read the whole word; the earlier
    pieces do not.

    Args:
        sentence: the whole sentence.
        start: first character of the token.
        end: one past its last character.
        next_start: first visible character of the next token. Byte-level tokenizers split one
            character over several tokens with the same span; only the last of them completes it.
    """
    start, end = visible_span(sentence, start, end)
    word = sentence[slice(*word_span(sentence, start, end))]
    if not any(unicodedata.category(char)[0] == "L" for char in word):
        return False
    return end == word_span(sentence, start, end)[1] and (next_start is None or next_start >= end)


@lru_cache(maxsize=65536)
def folded(word: str) -> str:
    """The same for all spellings of a word in upper and lower case, and in composed or decomposed characters.

    Unicode's full case folding: ``STRASSE`` is ``straße``. Accents, inflections and what stands around a
    word make it another: ``cafe`` and ``café``, ``dog`` and ``dogs``, ``dog`` and ``dog's`` are different.
    """
    if word.isascii():
        return word.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", word).casefold())


def stands_alone(text: str) -> bool:
    """Whether a text is one word: letters (at least one), marks, digits; inside also apostrophes, hyphens."""
    kinds = [_kind(char) for char in text]
    if not kinds or "other" in kinds or "joiner" in (kinds[0], kinds[-1]):
        return False
    return any(unicodedata.category(char)[0] == "L" for char in text)


def is_unspaced(char: str) -> bool:
    """Whether the character belongs to a script that is written without spaces between words."""
    return _kind(char) == "unspaced"
