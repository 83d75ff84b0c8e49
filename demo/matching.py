"""When does a word name an object: its word, a synonym, or a plural of one. Nothing fuzzier."""

from __future__ import annotations

from functools import cache

from demo.sprites import Concept

_IRREGULAR = {"mouse": "mice", "wolf": "wolves", "knife": "knives", "leaf": "leaves", "sheep": "sheep"}


def plural(word: str) -> str:
    """The plural of an English noun of ours."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    if word in {"tomato", "potato"}:
        return word + "es"
    return word + "s"


def names_of(concept: Concept) -> frozenset[str]:
    """Lower-case words that name the concept."""
    return _names(concept.word, concept.synonyms)


@cache
def _names(word: str, synonyms: tuple[str, ...]) -> frozenset[str]:
    singular = (word, *synonyms)
    return frozenset({*singular, *(plural(name) for name in singular)})


def word_at(text: str, start: int, end: int) -> str:
    """The whole word around characters start..end (leading blanks of the span are skipped)."""
    while start < end and text[start].isspace():
        start += 1
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] in "'-"):
        start -= 1
    while end < len(text) and (text[end].isalnum() or text[end] in "'-") and text[end - 1 : end].isalnum():
        end += 1
    return text[start:end]
