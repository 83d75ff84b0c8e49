"""From a token's characters to the full word they belong to.

The paper shows *full words* to its judge (section 4): a reader of "affe" cannot know that
the sentence said "giraffe". A word is the longest run of letters, marks and digits around the
token's last letter or digit; apostrophes, hyphens and characters that show nothing count where they are
inside it, and so do the points of a number. What else a token holds is left out first: of ``(dog``
the word is ``dog``, of a token of several words the last.

Scripts written without spaces (Han, kana, Thai, Lao, Khmer, Burmese ...) have no such run: there the
token's own characters are the word. A token without a letter or digit is its own word; of an emoji that is
made of several characters, all of it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from .characters import (
    APOSTROPHES,
    BLANK,
    EXTENDING,
    FORMAT,
    HYPHENS,
    INVISIBLE,
    MARK,
    UNSPACED,
    ZWJ,
    kind,
    kinds,
)

#: Version of these rules; on a bank's record. 1: the token as it is was walked outwards.
RULES = 2

# Patterns over the kinds of a sentence's characters (schemas/characters.py), not over the characters.
_MARKS = "(?:[MVFZ]*M)?"
_UNIT = f"[LDHE]{_MARKS}"
_WORD = re.compile(rf"{_UNIT}(?:[VFZ]*{_UNIT}|[VFZ]*J[VFZ]*{_UNIT}|(?<=E)Q(?=E){_UNIT}|(?<=D)N(?=D){_UNIT})*")
_ALONE = re.compile(rf"(?:{_WORD.pattern}|U{_MARKS}[VFZ]*)+")
_CLUSTER = re.compile("RR|[STR][MVT]*(?:Z[ST][MVT]*)*|[JQNO][MV]+")
_SOLID = frozenset("LDHEU")
_INSIDE = frozenset("MVFZ")
_TATWEEL = "\u0640"  # lengthens the line between two letters of Arabic
_SAME = str.maketrans({**dict.fromkeys(APOSTROPHES[1:], APOSTROPHES[0]), **dict.fromkeys(HYPHENS[1:], HYPHENS[0])})


class Word(NamedTuple):
    """The word of a token.

    Attributes:
        start: its first character in the sentence.
        end: one past its last; equal to ``start`` where the token shows nothing.
        is_complete: whether the token completes it, and it is more than digits or punctuation.
    """

    start: int
    end: int
    is_complete: bool


class _Read(NamedTuple):
    """A sentence's kinds of characters, its words of scripts with spaces, and what else is of several characters."""

    kinds: str
    words: list[tuple[int, int]]
    clusters: list[tuple[int, int]]


@lru_cache(maxsize=16)
def _read(sentence: str) -> _Read:
    """A sentence as the rules see it; its tokens come one after another."""
    found = kinds(sentence)
    words = [match.span() for match in _WORD.finditer(found)]
    clusters = [] if sentence.isascii() else [match.span() for match in _CLUSTER.finditer(found)]
    return _Read(found, words, clusters)


def visible_span(sentence: str, start: int, end: int) -> tuple[int, int]:
    """The span less what shows nothing at its ends; empty (start == end) where nothing is visible."""
    while start < end and kind(sentence[start]) in INVISIBLE:
        start += 1
    while end > start and kind(sentence[end - 1]) in (BLANK, FORMAT, ZWJ):
        end -= 1
    return start, end


def visible(text: str) -> str:
    """The text less what shows nothing at its ends."""
    return text[slice(*visible_span(text, 0, len(text)))]


def token_span(sentence: str, start: int, end: int, next_start: int | None = None) -> tuple[int, int]:
    """A token's visible characters, with the marks on its last letter.

    A tokenizer that composes characters before it reads them (NFC) gives offsets that end before the marks
    of decomposed text, although the token has read them.

    Args:
        sentence: the whole sentence.
        start: first character of the token, as the tokenizer has it.
        end: one past its last.
        next_start: where the tokenizer says that the next token starts; ``None`` where there is none.
    """
    start, end = visible_span(sentence, start, end)
    limit = len(sentence) if next_start is None else next_start
    while start < end < limit and kind(sentence[end]) in EXTENDING:
        end += 1
    return start, end


def word_of(sentence: str, start: int, end: int, next_start: int | None = None) -> Word:
    """The full word of a token, and whether the token completes it.

    The last piece of a split word completes it, since its state has read the whole word; the earlier
    pieces do not. Byte-level tokenizers split one character over several tokens with the same span; only
    the last of them completes it.

    Args:
        sentence: the whole sentence.
        start: first character of the token.
        end: one past its last.
        next_start: where the next token starts; ``None`` where there is none.
    """
    start, end = token_span(sentence, start, end, next_start)
    if start == end:
        return Word(start, end, False)
    read = _read(sentence)
    anchor = _last_letter(read.kinds, start, end)
    if anchor is None:
        return Word(_enclosing(read.clusters, start)[0], _enclosing(read.clusters, end - 1)[1], False)
    if read.kinds[anchor] == UNSPACED:
        first, last = _unspaced_run(read.kinds, start, anchor)
    else:
        first, last = _enclosing(read.words, anchor)
    complete = last <= end and (next_start is None or next_start >= last)
    return Word(first, last, complete and any(map(str.isalpha, sentence[first:last])))


def word_span(sentence: str, start: int, end: int) -> tuple[int, int]:
    """The character span of the full word of the token ``sentence[start:end]``; see :func:`word_of`."""
    return word_of(sentence, start, end)[:2]


def is_word(sentence: str, start: int, end: int, next_start: int | None = None) -> bool:
    """Whether a token *completes* a word that is more than digits or punctuation; see :func:`word_of`."""
    return word_of(sentence, start, end, next_start).is_complete


def _last_letter(found: str, start: int, end: int) -> int | None:
    """Where a token's last letter or digit is; that of a mark without one is the letter it sits on."""
    for at in range(end - 1, start - 1, -1):
        if found[at] in _SOLID:
            return at
        if found[at] == MARK:
            base = at
            while base > 0 and found[base] in _INSIDE:
                base -= 1
            if found[base] in _SOLID:
                return base
    return None


def _unspaced_run(found: str, start: int, anchor: int) -> tuple[int, int]:
    """The token's own characters of an unspaced script up to the last of them, each with its marks."""
    first = at = anchor
    while at > 0 and (found[at] in _INSIDE or at > start) and (found[at - 1] == UNSPACED or found[at - 1] in _INSIDE):
        at -= 1
        if found[at] == UNSPACED:
            first = at
    last = at = anchor + 1
    while at < len(found) and found[at] in _INSIDE:
        at += 1
        if found[at - 1] == MARK:
            last = at
    return first, last


def _enclosing(spans: list[tuple[int, int]], at: int) -> tuple[int, int]:
    """The span that holds a character, or the character alone."""
    place = bisect_right(spans, at, key=itemgetter(0)) - 1
    return spans[place] if place >= 0 and at < spans[place][1] else (at, at + 1)


@lru_cache(maxsize=65536)
def folded(word: str) -> str:
    """The same for all spellings of a word: upper and lower case, composed and decomposed, any apostrophe or hyphen.

    Unicode's full case folding: ``STRASSE`` is ``straße``. What shows nothing (soft hyphens, joiners) does not
    count. Accents, inflections and what stands around a word make it another: ``cafe`` and ``café``, ``dog``
    and ``dogs``, ``dog`` and ``dog's`` are different.
    """
    if word.isascii():
        return word.lower()
    shown = "".join(char for char, of in zip(word, kinds(word), strict=True) if of not in INVISIBLE or of == BLANK)
    shown = shown.replace(_TATWEEL, "") or shown or word
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", shown.translate(_SAME)).casefold())


def stands_alone(text: str) -> bool:
    """Whether a text is one word: letters (at least one), marks, digits; inside also apostrophes, hyphens."""
    return _ALONE.fullmatch(kinds(text)) is not None and any(map(str.isalpha, text))


def is_unspaced(char: str) -> bool:
    """Whether the character belongs to a script that is written without spaces between words."""
    return kind(char) == UNSPACED
