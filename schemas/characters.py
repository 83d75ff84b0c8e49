"""What a character does to the words around it: the one table behind every rule about words.

The kinds follow Unicode's rules for word boundaries and grapheme clusters (UAX 29), as far as the standard
library's character data go: a letter with the marks on it is one, format characters (joiners, soft
hyphens) are looked through, and characters that show nothing are no part of anything.
"""

from __future__ import annotations

import unicodedata
from typing import Final

#: Letters, and numbers that are no decimal digits, of a script with spaces between words.
LETTER: Final = "L"
DIGIT: Final = "D"
#: Vowels and final consonants of decomposed Hangul: letters that compose with the one before them.
JAMO: Final = "H"
#: Letters and digits of a script without spaces between words.
UNSPACED: Final = "U"
#: Belongs to the character before it: accents, vowel signs, Hebrew points.
MARK: Final = "M"
#: Likewise, and shows nothing by itself: variation selectors and their like.
SELECTOR: Final = "V"
#: Shows nothing and does not part a word: soft hyphen, zero-width non-joiner, directional marks.
FORMAT: Final = "F"
#: The zero-width joiner: a format character that also joins emoji.
ZWJ: Final = "Z"
#: Inside a word between letters: apostrophes, hyphens, middle dots.
JOINER: Final = "J"
#: Between two letters of Hebrew, where it stands for gershayim.
QUOTE: Final = "Q"
#: Between two digits: decimal points, separators of thousands.
POINT: Final = "N"
HEBREW: Final = "E"
SYMBOL: Final = "S"
SKIN_TONE: Final = "T"
#: Two of these are one flag.
REGIONAL: Final = "R"
#: Shows nothing and parts words: white space, the zero-width space, fillers, control characters.
BLANK: Final = "B"
#: Punctuation, and everything else that is seen.
OTHER: Final = "O"

#: Kinds that show nothing.
INVISIBLE: Final = frozenset((BLANK, FORMAT, ZWJ, SELECTOR))
#: Kinds that a word of a script with spaces is made of.
SPELLING: Final = frozenset((LETTER, DIGIT, JAMO, HEBREW))
#: Kinds that belong to what stands before them.
EXTENDING: Final = frozenset((MARK, SELECTOR, JAMO))

#: Written for one another, for those who compare: apostrophes and hyphens.
APOSTROPHES: Final = "'’‘ʼ＇"
HYPHENS: Final = "-‐‑－﹣"

# What category and name do not say.
_EXCEPTIONS: dict[str, str] = {
    # With those of Armenian, which stand on a vowel inside the word, and of Hebrew (maqaf, gershayim).
    JOINER: "'’‘＇-‐‑－﹣··‧\u055a\u055b\u055c\u055e\u055f\u058a\u05be\u05f4",
    POINT: ".,．，٫٬",
    QUOTE: '"',
    ZWJ: "\u200d",
    # Hebrew geresh; the half-width voiced marks of katakana.
    MARK: "\u05f3\uff9e\uff9f",
    # Zero-width space; the blank pattern of Braille, a symbol by category, and fillers of Hangul, letters.
    BLANK: "\u200b\u2800\u3164\uffa0\u2065\ufff0\ufff1\ufff2\ufff3\ufff4\ufff5\ufff6\ufff7\ufff8",
    # Stand for a consonant or vowel that a syllable of old Hangul lacks.
    FORMAT: "\u115f\u1160",
    # Signs around numbers and names, which are seen, although their category is that of format characters.
    OTHER: "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd",
    SELECTOR: "\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f",
}
_RANGES: tuple[tuple[str, int, int], ...] = (
    (SELECTOR, 0xFE00, 0xFE0F),
    (SELECTOR, 0xE0100, 0xE01EF),
    (SELECTOR, 0xE0020, 0xE007F),  # tags: the flag of Scotland is a black flag and six of these
    (JAMO, 0x1161, 0x11FF),
    (JAMO, 0xD7B0, 0xD7FF),
    (SKIN_TONE, 0x1F3FB, 0x1F3FF),
    (REGIONAL, 0x1F1E6, 0x1F1FF),
)
_UNSPACED_NAMES = (
    *("CJK", "IDEOGRAPHIC", "VERTICAL IDEOGRAPHIC", "HIRAGANA", "HENTAIGANA", "KATAKANA", "HALFWIDTH KATAKANA"),
    *("BOPOMOFO", "YI SYLLABLE", "TANGUT", "NUSHU", "KHITAN", "THAI", "LAO", "KHMER", "MYANMAR", "AHOM"),
    *("TAI LE", "NEW TAI LUE", "TAI THAM", "TAI VIET", "JAVANESE", "BALINESE"),
)


def kinds(text: str) -> str:
    """The kind of each character of a text, as a string of the same length."""
    return text.translate(_TABLE)


def kind(char: str) -> str:
    """The kind of one character: one of the letters above."""
    return _TABLE[ord(char)]


class _Table(dict[int, str]):
    """Code point → kind, filled in as characters are met."""

    def __missing__(self, code: int) -> str:
        found = self[code] = _by_category(chr(code))
        return found


def _by_category(char: str) -> str:
    category = unicodedata.category(char)
    if category[0] == "M":
        return MARK
    if category[0] in "LN":
        name = unicodedata.name(char, "")
        if name.startswith(_UNSPACED_NAMES):
            return UNSPACED
        if category == "Nd":
            return DIGIT
        return HEBREW if name.startswith("HEBREW") else LETTER
    if category == "Cf":
        return FORMAT
    if char.isspace() or category == "Cc":
        return BLANK
    return SYMBOL if category in ("So", "Sk", "Cn") else OTHER


_TABLE = _Table(
    {ord(char): of for of, chars in _EXCEPTIONS.items() for char in chars}
    | {code: of for of, first, last in _RANGES for code in range(first, last + 1)}
)
