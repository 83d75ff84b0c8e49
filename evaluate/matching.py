"""When does a word name a thing? The rules behind every figure that is measured without a judge.

A word names a thing **strictly** if it is the thing's name, one of its synonyms, or the plural of
one of these. Upper and lower case are the same, a final 's is taken off. A name of several words
(``fire truck``) is named by the words written together or with hyphens (``firetruck``,
``fire-truck``), never by one of them.

It names the thing **loosely** if it does so strictly, if it is a hypernym of it (``animal`` for
dog: a COCO supercategory, or from the user's word list) or the plural of one, or if it is the
last word of the name or of a synonym (``truck``: in English a fire truck is a truck).

Nothing fuzzier: no stems, no edit distance. A fox called a wolf is a miss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

_IRREGULAR = {
    "mouse": "mice", "goose": "geese", "tooth": "teeth", "foot": "feet", "ox": "oxen", "child": "children",
    "person": "people", "wolf": "wolves", "knife": "knives", "leaf": "leaves", "loaf": "loaves", "shelf": "shelves",
    "calf": "calves", "half": "halves", "wife": "wives", "thief": "thieves", "elf": "elves", "scarf": "scarves",
    "hoof": "hooves", "tomato": "tomatoes", "potato": "potatoes", "sheep": "sheep",
}  # fmt: skip
_REGULAR_MAN = ("human", "shaman", "ottoman", "talisman", "german", "roman")


@dataclass(frozen=True)
class Concept:
    """A kind of thing, and the words that name it.

    Attributes:
        name: as the annotations have it; may be of several words.
        synonyms: other names of the same thing.
        hypernyms: names of what it is a kind of.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    hypernyms: tuple[str, ...] = ()

    @cached_property
    def strict(self) -> frozenset[str]:
        """Folded words that name it strictly."""
        return names(self.name, self.synonyms)

    @cached_property
    def loose(self) -> frozenset[str]:
        """Folded words that name it loosely; those that do so strictly included."""
        heads = tuple(name.split()[-1] for name in (self.name, *self.synonyms) if len(name.split()) > 1)
        wider = (*self.hypernyms, *heads)
        return self.strict | names(wider[0], wider[1:]) if wider else self.strict


def plural(word: str) -> str:
    """The plural of an English noun; of several words, that of the last."""
    rest, space, last = word.rpartition(" ")
    if space:
        return f"{rest} {plural(last)}"
    folded_word = word.casefold()
    if folded_word in _IRREGULAR:
        return _IRREGULAR[folded_word]
    if folded_word.endswith("man") and folded_word not in _REGULAR_MAN:
        return word[:-2] + "en"
    if folded_word.endswith(("s", "x", "ch", "sh", "z")):
        return word + "es"
    if folded_word.endswith("y") and len(word) > 1 and folded_word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


@cache
def names(word: str, synonyms: tuple[str, ...] = ()) -> frozenset[str]:
    """Every word that names a thing of this name and these synonyms, folded."""
    singular = (word, *synonyms)
    spelled = [form for name in singular for form in (name, plural(name))]
    return frozenset(folded(form) for name in spelled for form in (name, name.replace(" ", "-"), name.replace(" ", "")))


def folded(word: str) -> str:
    """The word as it is compared."""
    return word.strip().casefold().removesuffix("'s").removesuffix("’s")


def any_names(words: Iterable[str], accepted: frozenset[str]) -> bool:
    """Whether one of the words is among the accepted names."""
    return any(folded(word) in accepted for word in words)


class ConceptIndex:
    """Which of many concepts words name, by their numbers.

    Args:
        concepts: the concepts; their order gives the numbers.
    """

    def __init__(self, concepts: Iterable[Concept]) -> None:
        """Turn the concepts' names round."""
        self.concepts = tuple(concepts)
        self._strict: dict[str, set[int]] = {}
        self._loose: dict[str, set[int]] = {}
        for number, concept in enumerate(self.concepts):
            for word in concept.strict:
                self._strict.setdefault(word, set()).add(number)
            for word in concept.loose:
                self._loose.setdefault(word, set()).add(number)

    def strict(self, words: Iterable[str]) -> frozenset[int]:
        """Numbers of the concepts that at least one of the words names strictly."""
        return frozenset().union(*(self._strict.get(folded(word), ()) for word in words))

    def loose(self, words: Iterable[str]) -> frozenset[int]:
        """Likewise, loosely."""
        return frozenset().union(*(self._loose.get(folded(word), ()) for word in words))
