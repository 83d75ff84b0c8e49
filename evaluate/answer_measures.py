"""How often the words at an answer's positions name a thing of the image, beside what is said there; with controls.

A position is *named* if one of its words strictly names a thing that its image is annotated with, wherever in the
image. *Own* is the same of the word that the position stands in, *emitted* of the word that the model goes on with.
The control of each, *shuffled*: the same words against all things of another image of the group, as the expectation
over those images (:mod:`evaluate.chance`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .annotations import AnnotatedImage
from .answer_records import AnswerWords
from .chance import Chance
from .matching import ConceptIndex
from .statistics import ClusteredShares, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


def answers_summary(images: Sequence[AnnotatedImage], answers: Sequence[AnswerWords], tokens: int) -> dict[str, Any]:
    """The figures of the answers, as plain data.

    Args:
        images: annotations of the images that were answered, each with a thing.
        answers: what was said, in the same order.
        tokens: of each answer, at most.

    Returns:
        ``tokens``, and ``results``: a row for each group, lens and layer.

    Raises:
        ValueError: the two do not belong together.
    """
    if [image.name for image in images] != [found.name for found in answers]:
        raise ValueError("annotations and answers of different images")
    rows: list[dict[str, Any]] = []
    for group in dict.fromkeys(image.group for image in images):
        places = [i for i, image in enumerate(images) if image.group == group]
        rows += _Group([images[i] for i in places], [answers[i] for i in places]).rows(group)
    return {"tokens": tokens, "results": rows}


class _Group:
    """The counts of one group of images, ``[images]`` each."""

    def __init__(self, images: Sequence[AnnotatedImage], answers: Sequence[AnswerWords]) -> None:
        self._index = ConceptIndex(dict.fromkeys(thing.concept for image in images for thing in image.things))
        numbers = {concept: number for number, concept in enumerate(self._index.concepts)}
        self._present = [frozenset(numbers[thing.concept] for thing in image.things) for image in images]
        self._chance = Chance([[present] for present in self._present])
        self._shares = ClusteredShares(len(images))
        self._answers = answers
        self._positions = np.array([float(len(found.own)) for found in answers])
        alone = np.array([self._chance.others(place) == 0 for place in range(len(images))])
        self._exchanged = np.where(alone, 0.0, self._positions)

    def rows(self, group: str) -> list[dict[str, Any]]:
        """A row for each lens and layer."""
        own = self._counted([[(word,) for word in found.own] for found in self._answers])
        emitted = self._counted([[(word,) for word in found.emitted] for found in self._answers])
        first = self._answers[0].words
        lenses = dict.fromkeys(lens for at in first.values() for lens in at)
        return [
            self._row({"group": group, "lens": lens, "layer": layer}, self._of(layer, lens), own, emitted)
            for lens in lenses
            for layer in sorted(first)
        ]

    def _of(self, layer: int, lens: str) -> tuple[Floats, Floats]:
        return self._counted([found.words[layer][lens] for found in self._answers])

    def _row(
        self,
        place: Mapping[str, Any],
        named: tuple[Floats, Floats],
        own: tuple[Floats, Floats],
        emitted: tuple[Floats, Floats],
    ) -> dict[str, Any]:
        whole, exchanged = self._positions, self._exchanged
        above = self._shares.difference((named[0], whole), (named[1], exchanged))
        told = {"named": named, "own": own, "emitted": emitted}
        shares = {name: plain(self._shares.ratio(counts[0], whole)) for name, counts in told.items()}
        controls = {"shuffled": named, "own_shuffled": own, "emitted_shuffled": emitted}
        return {
            **place,
            "images": len(self._answers),
            "positions": int(whole.sum()),
            "shares": {**shares, "above_chance": plain(above)},
            "controls": {name: plain(self._shares.ratio(part[1], exchanged)) for name, part in controls.items()},
        }

    def _counted(self, said: Sequence[Sequence[Sequence[str]]]) -> tuple[Floats, Floats]:
        """Positions of each image whose words name a thing of it, and the expectation for another's things."""
        hits, shuffled = np.zeros(len(said)), np.zeros(len(said))
        for place, rows in enumerate(said):
            named = [self._index.strict(words) for words in rows]
            hits[place] = sum(bool(numbers & self._present[place]) for numbers in named)
            shuffled[place] = sum(self._chance.of(numbers, place) for numbers in named)
        return hits, shuffled
