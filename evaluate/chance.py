"""What a lens that never looks at the image would get: its words against what lies under patches of other images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Numbers = frozenset[int]


class Chance:
    """The expectation over a random object patch of another image of the group.

    Every object patch of the other images is as likely: so a thing counts by the patches that it covers,
    and a patch under several boxes offers all of their things at once, as it does where words are judged
    on their own image.

    Args:
        under: image → patch → numbers of the concepts under it; empty for background.
    """

    def __init__(self, under: Sequence[Sequence[Numbers]]) -> None:
        """Count the object patches with the same things under them."""
        self._own = [Counter(things for things in patches if things) for patches in under]
        self._all: Counter[Numbers] = sum(self._own, Counter())
        self._objects = self._all.total()
        self._having: dict[int, set[Numbers]] = {}
        for things in self._all:
            for number in things:
                self._having.setdefault(number, set()).add(things)
        self._met: dict[Numbers, tuple[set[Numbers], int]] = {}

    def others(self, image: int) -> int:
        """How many object patches the other images have; without any there is no chance level."""
        return self._objects - self._own[image].total()

    def of(self, named: Numbers, image: int) -> float:
        """How likely words that name these concepts name a thing under a random object patch elsewhere."""
        others = self.others(image)
        if not named or not others:
            return 0.0
        if named not in self._met:
            meeting: set[Numbers] = set().union(*(self._having.get(number, ()) for number in named))
            self._met[named] = meeting, sum(self._all[things] for things in meeting)
        meeting, patches = self._met[named]
        return (patches - sum(n for things, n in self._own[image].items() if things in meeting)) / others
