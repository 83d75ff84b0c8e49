"""Does the bank hold the words at all? A concept without contexts cannot be found, whatever the model sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..schemas.filters import Condition
from ..store.bank import Bank
from .matching import Concept

#: Fewer contexts than this are few.
FEW_CONTEXTS = 5


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many rows of a bank name a concept.

    Attributes:
        name: of the concept.
        contexts: rows whose word names it strictly; for a name of several words also those of its
            last word in a sentence that has all of them.
    """

    name: str
    contexts: int


def coverage(bank: Bank, concepts: Iterable[Concept]) -> list[Coverage]:
    """Contexts of each concept, fewest first.

    Args:
        bank: an open bank; those of one ingest hold the same rows at every layer.
        concepts: what was asked about.

    Raises:
        StoreError: the database failed.
    """
    counted = [Coverage(concept.name, _contexts(bank, concept)) for concept in concepts]
    return sorted(counted, key=lambda one: (one.contexts, one.name))


def few_contexts_note(covered: Iterable[Coverage]) -> str | None:
    """A warning that names the concepts with few contexts; ``None`` where there are none."""
    listed = list(covered)
    few = [one for one in listed if one.contexts < FEW_CONTEXTS]
    if not few:
        return None
    named = ", ".join(f"{one.name} ({one.contexts})" for one in few[:12]) + (" ..." if len(few) > 12 else "")
    return (
        f"The bank has fewer than {FEW_CONTEXTS} contexts for {len(few)} of {len(listed)} concepts, so LatentLens can "
        f"hardly name them: {named}."
    )


def _contexts(bank: Bank, concept: Concept) -> int:
    words = sorted({form for word in concept.strict if " " not in word for form in _cased(word)})
    count = bank.count([Condition("word", "=", tuple(words))])
    for name in (concept.name, *concept.synonyms):
        if len(name.split()) > 1:
            last = tuple(sorted(_cased(name.split()[-1].casefold())))
            count += bank.count([Condition("sentence", "~", (name,)), Condition("word", "=", last)])
    return count


def _cased(word: str) -> set[str]:
    return {word, word.capitalize(), word.title(), word.upper()}
