"""When does a word name an object? The one rule that every figure about the demo model uses.

A word names an object if it is the object's name, one of its synonyms (both listed in
data/concepts.json or a truth.json), or the plural of one of these. Upper and lower case are the
same; a final 's is taken off. Nothing fuzzier: a fox called a wolf is a miss, and so is a car
called a vehicle.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from demo.sprites import Concept

_IRREGULAR = {"mouse": "mice", "wolf": "wolves", "knife": "knives", "leaf": "leaves", "sheep": "sheep"}
_IRREGULAR |= {"woman": "women", "person": "people", "tomato": "tomatoes", "potato": "potatoes", "loaf": "loaves"}


def plural(word: str) -> str:
    """The plural of an English noun of ours."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def names_of(concept: Concept) -> frozenset[str]:
    """Every word that names the concept, folded."""
    return names(concept.word, concept.synonyms)


@cache
def names(word: str, synonyms: tuple[str, ...]) -> frozenset[str]:
    """Every word that names a thing of this name and these synonyms, folded."""
    singular = (word, *synonyms)
    return frozenset(folded(name) for name in (*singular, *map(plural, singular)))


def folded(word: str) -> str:
    """The word as it is compared."""
    return word.casefold().removesuffix("'s").removesuffix("’s")


def any_names(words: Iterable[str], accepted: frozenset[str]) -> bool:
    """Whether one of the words is among the accepted names."""
    return any(folded(word) in accepted for word in words)


def word_at(text: str, start: int, end: int) -> str:
    """The whole word around characters start..end (leading blanks of the span are skipped).

    Apostrophes and hyphens between letters belong to a word. A span without letters or digits is
    a word of its own.
    """
    while start < end and text[start].isspace():
        start += 1
    if not any(character.isalnum() for character in text[start:end]):
        return text[start:end]
    while start > 0 and _continues(text, start - 1):
        start -= 1
    while end < len(text) and _continues(text, end):
        end += 1
    return text[start:end]


def _continues(text: str, at: int) -> bool:
    """Whether the character belongs to the word beside it."""
    inside = 0 < at < len(text) - 1 and text[at - 1].isalnum() and text[at + 1].isalnum()
    return text[at].isalnum() or (text[at] in "'’-" and inside)
