"""When does a word name an object? The strict rule of `lensbank evaluate`, for every figure about the demo model.

Names and synonyms are listed in data/concepts.json or a truth.json; the rule itself is
evaluate/matching.py's.
"""

from __future__ import annotations

from demo.sprites import Concept
from lensbank.evaluate.matching import any_names, folded, names, plural

__all__ = ["any_names", "folded", "names", "names_of", "plural", "word_at"]


def names_of(concept: Concept) -> frozenset[str]:
    """Every word that names the concept, folded."""
    return names(concept.word, concept.synonyms)


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
