"""Ends of sentences in scripts that the sentence-splitter package does not know, by their own punctuation.

The package splits at ``.``, ``?`` and ``!`` before a capital letter, which Latin, Greek, Cyrillic and Armenian letters
have. Other scripts have signs of their own (``。``, ``।``, ``؟``), which end a sentence wherever they stand, or the
same three signs before a space. Some mark no sentences at all: their text is not split, and that is said.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

#: Scripts with capital letters, as the names of their characters begin; a text without letters goes with them.
CASED = ("", "LATIN", "GREEK", "CYRILLIC", "ARMENIAN")
#: Scripts in which a space, or nothing, stands between sentences.
_UNMARKED = ("THAI", "LAO", "TIBETAN", "TAI", "NEW TAI LUE", "AHOM", "JAVANESE", "BALINESE", "SUNDANESE", "BUGINESE")
#: Letters that are looked at to tell a text's script.
_LOOKED_AT = 2000
_CLOSERS = "\"'”’»›」』）)\\]】》〉"
_CLOSING = f"[{_CLOSERS}]*(?![{_CLOSERS}])"
# Ideographic, Devanagari (danda), Arabic, Urdu, Ethiopic, Armenian, Khmer, Burmese, Mongolian, Syriac, Ol Chiki, N'Ko.
_OWN = "。｡！？．।॥؟۔።፧፨։។៕။᠃᠉܀᱾᱿߹"
# Behind a closing bracket Japanese may go on: 「そう。」と言った.
_OWN_END = re.compile(rf"[{_OWN}][{_OWN}!?]*{_CLOSING}(?![{_OWN}!?])(?!(?<=[」』）])[ぁ-ん])")
_IDEOGRAPHIC = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_SHARED_END = re.compile(rf"[.!?…]+{_CLOSING}(?=\s)|[!?]+{_CLOSING}(?=[{_IDEOGRAPHIC}])")
_LINE_BREAK = re.compile(rf"(?<=[{_IDEOGRAPHIC}])\s*\n\s*(?=[{_IDEOGRAPHIC}])")
_REFERENCE = re.compile(r"[.!?][\"”’»]?(?:\[\d+\])+(?=\s+[\"“‘«]?[^\W\d_])")
#: Titles before names; and of Arabic and Hebrew, single letters.
_TITLES = frozenset(("डॉ", "श्री", "प्रो", "ডা", "ড", "டாக்டர்"))
_ABJADS = ("ARABIC", "HEBREW", "SYRIAC")


def pieces(text: str) -> list[tuple[int, int, str]]:
    """Parts of a text that end where a sentence certainly does.

    Returns:
        ``(start, end, script)``; together the whole text. Of a script with capital letters (an empty
        string) a part may still hold several sentences. Other parts hold one, unless nothing marks them
        in their script, whose name is then given (``Thai``).
    """
    found, start = [], 0
    for end in [*(match.end() for match in _OWN_END.finditer(text)), len(text)]:
        part = text[start:end]
        if not part.strip():
            continue
        script = script_of(part)
        if script in CASED:
            cuts = [match.end() for match in _REFERENCE.finditer(part)]
        else:
            cuts = [match.end() for match in _SHARED_END.finditer(part) if not _is_short(part, match.start(), script)]
        for cut in sorted({*cuts, len(part)}):
            if text[start : start + cut].strip() and start < end:
                found.append((start, end - len(part) + cut, _unmarked(script)))
            start = end - len(part) + cut
    return found


def unwrapped(text: str) -> str:
    """The text without the line breaks between characters that no space stands between (Han, kana)."""
    return text if text.isascii() else _LINE_BREAK.sub("", text)


def script_of(text: str) -> str:
    """The script of most letters of a text, as their names begin (``THAI``); empty where it has none."""
    counts: Counter[str] = Counter()
    for char in text[:_LOOKED_AT]:
        if char.isalpha():
            counts[_script(char)] += 1
    return counts.most_common(1)[0][0] if counts else ""


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    name = unicodedata.name(char, "")
    return next((one for one in (*CASED[1:], *_UNMARKED, *_ABJADS) if name.startswith(one)), name.split(" ")[0])


def _unmarked(script: str) -> str:
    return script.title() if script in _UNMARKED else ""


def _is_short(text: str, at: int, script: str) -> bool:
    """Whether the full stop at this place belongs to an abbreviation or a number."""
    if text[at] != ".":
        return False
    word = re.split(r"\s", text[:at].rstrip())[-1] if at else ""
    return word in _TITLES or word.isdecimal() or (script in _ABJADS and len(word) == 1)
