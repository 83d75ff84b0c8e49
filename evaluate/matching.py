"""When does a word name a thing? The rules behind every figure that is measured without a judge.

A word names a thing **strictly** if it is the thing's name, one of its synonyms, or the plural or
singular of one of these. Words are compared as everywhere (:func:`schemas.words.folded`): upper and lower
case, composed and decomposed letters, any hyphen or apostrophe are the same; a final 's and
punctuation around a word are taken off. A name of several words (``fire truck``, ``fire_truck``)
is named by the words written together or with hyphens (``firetruck``, ``fire-truck``), never by one of
them. Of a name with an explanation (``bow_(weapon)``) the explanation does not count, of a name that
gives several (``aerosol can/spray can``) each counts.

It names the thing **loosely** if it does so strictly, if it is a hypernym of it (``animal`` for
dog: a COCO supercategory, or from the user's word list) or the plural of one, or if it is the
last word of the name or of a synonym (``truck``: in English a fire truck is a truck).

Nothing fuzzier: no stems, no edit distance. A fox called a wolf is a miss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from ..schemas import words

_IRREGULAR = {
    "mouse": "mice", "goose": "geese", "tooth": "teeth", "foot": "feet", "ox": "oxen", "child": "children",
    "person": "people", "wolf": "wolves", "knife": "knives", "leaf": "leaves", "loaf": "loaves", "shelf": "shelves",
    "calf": "calves", "half": "halves", "wife": "wives", "thief": "thieves", "elf": "elves", "scarf": "scarves",
    "hoof": "hooves", "tomato": "tomatoes", "potato": "potatoes", "sheep": "sheep", "hero": "heroes", "die": "dice",
}  # fmt: skip
_SINGULAR = {several: one for one, several in _IRREGULAR.items() if several != one}
_ALSO = {
    "person": ("persons",), "fish": ("fish", "fishes"), "cactus": ("cacti",), "octopus": ("octopi",),
    "scarf": ("scarfs",), "bus": ("busses",), "quiz": ("quizzes",), "die": ("dies",), "deer": ("deer",),
    "aircraft": ("aircraft",),
}  # fmt: skip
# They end as plurals do and are none.
_NO_PLURALS = frozenset(
    "gas lens news canvas atlas christmas species series pancreas iris tennis oasis basis axis crisis pelvis mantis "
    "trellis debris chassis".split()
)
# Punctuation around a word; apostrophes belong to it, and so does what is nothing but punctuation.
_AROUND = re.compile(r"^[^\w'\u2019]+(?=.*\w)|(?<=\w)[^\w'\u2019\u0300-\u036f]+$")
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
        spoken = [name for given in (self.name, *self.synonyms) for name in plain_names(given)]
        heads = tuple(name.split()[-1] for name in spoken if " " in name)
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


def singular(word: str) -> str | None:
    """What an English noun is the plural of; ``None`` where it is none."""
    rest, space, last = word.rpartition(" ")
    last = words.folded(last)
    one = _SINGULAR.get(last)
    if one is None and last.endswith("s") and not last.endswith(("ss", "us")) and last not in _NO_PLURALS:
        endings = ((last[:-3] + "y",) if last.endswith("ies") else ()) + (last[:-2], last[:-1])
        one = next((form for form in endings if len(form) > 1 and plural(form) == last), None)
    return None if one is None else f"{rest}{space}{one}"


def plain_names(given: str) -> list[str]:
    """The names that an annotation's name stands for, as they are spoken: single spaces, no explanation in brackets."""
    without = re.sub(r"[(\[][^)\]]*[)\]]", " ", given)
    # What stands in brackets alone is the name.
    parts = (without if any(map(str.isalnum, without)) else given).split("/")
    spoken = [" ".join(re.split(r"[\s_]+", part.strip().strip("_"))) for part in parts]
    return [name for name in dict.fromkeys(spoken) if name]


@cache
def names(word: str, synonyms: tuple[str, ...] = ()) -> frozenset[str]:
    """Every word that names a thing of this name and these synonyms, folded."""
    spoken = [name for given in (word, *synonyms) for name in plain_names(given)]
    forms: list[str] = []
    for name in spoken:
        one = singular(name)
        forms += [name, plural(name), *_ALSO.get(words.folded(one or name), ()), *([one] if one else [])]
    joined = re.compile(r"[ \-\u2010\u2011]")
    return frozenset(
        bare(form) for name in forms for form in (name, name.replace(" ", "-"), joined.sub("", name)) if form
    )


def is_nameable(concept: Concept) -> bool:
    """Whether a word can equal one of the names: words have letters or digits."""
    given = (concept.name, *concept.synonyms)
    return any(any(map(str.isalnum, name)) for one in given for name in plain_names(one))


@cache
def bare(word: str) -> str:
    """The word as names are compared: folded, without what stands around it and a final ``'s``."""
    return words.folded(_AROUND.sub("", word)).removesuffix("'s")


def any_names(said: Iterable[str], accepted: frozenset[str]) -> bool:
    """Whether one of the words is among the accepted names."""
    return any(bare(word) in accepted for word in said)


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

    def strict(self, said: Iterable[str]) -> frozenset[int]:
        """Numbers of the concepts that at least one of the words names strictly."""
        return frozenset().union(*(self._strict.get(bare(word), ()) for word in said))

    def loose(self, said: Iterable[str]) -> frozenset[int]:
        """Likewise, loosely."""
        return frozenset().union(*(self._loose.get(bare(word), ()) for word in said))
