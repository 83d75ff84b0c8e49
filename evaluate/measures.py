"""Ground truth: how often the words of a patch name what lies under it, by layer, lens and category; with controls.

A patch is an *object patch* if its centre lies in the box of at least one thing, else a *background
patch*; patches whose centre lies in a region marked as a crowd and in no other box are left out.
An object patch is **concrete** if one of its words strictly names a thing under it, **global** if
none does and one strictly names a thing elsewhere in the image. Controls, for ``concrete``:

* *shuffled*, the chance level: the same words against the things under a random object patch of
  another image of the group (:mod:`evaluate.chance`);
* *random patches*: the words of another patch of the same image, drawn at random, against the things
  under this one: the expectation over all of them;
* *random vectors*: the words that the lens finds for random vectors of the same norm.

A control that cannot be computed is none, not zero: shuffled needs two images with object patches,
random patches an image of which two patches were read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .annotations import AnnotatedImage, Thing, things_under
from .chance import Chance, Numbers
from .matching import ConceptIndex
from .records import ImageWords, Patch, Words
from .statistics import ClusteredShares, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: Counts of one image at one layer through one lens; fractions are expectations.
COUNTED = (
    "objects", "concrete", "loose", "global", "background", "background_named",
    "exchanged", "shuffled", "shuffled_loose", "paired", "random_patches", "random_vectors",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PatchTruth:
    """What lies under the patches of one image, as concept numbers.

    Attributes:
        under: per patch; empty for background.
        left_out: patches that only a crowd region covers.
        present: every concept of the image.
    """

    under: tuple[Numbers, ...]
    left_out: frozenset[int]
    present: Numbers


@dataclass(frozen=True, slots=True)
class Measure:
    """One lens at one layer, over the images of a group.

    Attributes:
        layer: query layer.
        lens: name of the lens.
        object_patches: how many were judged.
        background_patches: likewise.
        concrete: share of object patches.
        loose: likewise, with hypernyms and head words.
        elsewhere: share of object patches that are global.
        background: share of background patches whose words name a thing of the image.
        shuffled: control.
        shuffled_loose: control for ``loose``.
        random_patches: control.
        random_vectors: control.
        above_chance: ``concrete`` less ``shuffled``.
    """

    layer: int
    lens: str
    object_patches: int
    background_patches: int
    concrete: Estimate | None
    loose: Estimate | None
    elsewhere: Estimate | None
    background: Estimate | None
    shuffled: Estimate | None
    shuffled_loose: Estimate | None
    random_patches: Estimate | None
    random_vectors: Estimate | None
    above_chance: Estimate | None


@dataclass(frozen=True, slots=True)
class Case:
    """One object patch.

    Attributes:
        image: its number in the group.
        patch: where it is.
        under: names of the things under it.
        named: those of them that the words name.
        words: what the lens says, best first.
        right: whether the best word alone names a thing under it.
        gap: how far the best word stands above its baseline; ``None`` where that is not known.
    """

    image: int
    patch: Patch
    under: tuple[str, ...]
    named: tuple[str, ...]
    words: Words
    right: bool
    gap: float | None


class GroundTruth:
    """The counts of one group of images, and the figures made of them.

    Args:
        images: the annotations.
        words: what the lenses said, in the same order.

    Raises:
        ValueError: the two do not belong together.
    """

    def __init__(self, images: Sequence[AnnotatedImage], words: Sequence[ImageWords]) -> None:
        """Count everything once."""
        if [image.name for image in images] != [found.name for found in words]:
            raise ValueError("annotations and words of different images")
        concepts = dict.fromkeys(thing.concept for image in images for thing in image.things)
        self.index = ConceptIndex(concepts)
        self.images = len(images)
        self._numbers = {concept: number for number, concept in enumerate(self.index.concepts)}
        self._shares = ClusteredShares(len(images))
        truths = [self._truth(image.things, found) for image, found in zip(images, words, strict=True)]
        self._truths, self._words = truths, list(words)
        self._chance = Chance([truth.under for truth in truths])
        self._counts: dict[tuple[int, str], dict[str, Floats]] = {}
        for place, (truth, found) in enumerate(zip(truths, words, strict=True)):
            for layer, lenses in found.words.items():
                for lens, rows in lenses.items():
                    counts = self._counts.setdefault((layer, lens), {k: np.zeros(len(images)) for k in COUNTED})
                    for name, count in self._count(place, truth, rows, found.random[layer][lens]).items():
                        counts[name][place] = count

    @property
    def layers(self) -> tuple[int, ...]:
        """Query layers, sorted."""
        return tuple(sorted({layer for layer, _ in self._counts}))

    @property
    def lenses(self) -> tuple[str, ...]:
        """Lenses, in the order of the record."""
        return tuple(dict.fromkeys(lens for _, lens in self._counts))

    def measure(self, layer: int, lens: str) -> Measure:
        """The figures of one lens at one layer."""
        counts = self._counts[layer, lens]
        objects, free, paired = counts["objects"], counts["background"], counts["paired"]
        exchanged = counts["exchanged"]

        def of_objects(name: str) -> Estimate | None:
            return self._shares.ratio(counts[name], objects)

        return Measure(
            layer=layer,
            lens=lens,
            object_patches=int(objects.sum()),
            background_patches=int(free.sum()),
            concrete=of_objects("concrete"),
            loose=of_objects("loose"),
            elsewhere=of_objects("global"),
            background=self._shares.ratio(counts["background_named"], free),
            shuffled=self._shares.ratio(counts["shuffled"], exchanged),
            shuffled_loose=self._shares.ratio(counts["shuffled_loose"], exchanged),
            random_patches=self._shares.ratio(counts["random_patches"], paired),
            random_vectors=of_objects("random_vectors"),
            above_chance=self._shares.difference((counts["concrete"], objects), (counts["shuffled"], exchanged)),
        )

    def cases(self, layer: int, lens: str) -> Iterator[Case]:
        """Every object patch, with what is under it and what the lens says of it at a layer."""
        concepts = self.index.concepts
        for place, (truth, found) in enumerate(zip(self._truths, self._words, strict=True)):
            gaps = found.gaps.get(layer, {}).get(lens, ())
            for i, said in enumerate(found.words.get(layer, {}).get(lens, ())):
                if under := truth.under[i]:
                    named = self.index.strict(said) & under
                    things, hit = (tuple(concepts[n].name for n in sorted(some)) for some in (under, named))
                    right = bool(self.index.strict(said[:1]) & under)
                    yield Case(place, found.patches[i], things, hit, said, right, gaps[i] if gaps else None)

    def share(self, part: Floats, whole: Floats) -> Estimate | None:
        """A share over the group's images, counts by image, with its interval."""
        return self._shares.ratio(part, whole)

    def mean(self, lens: str, name: str = "concrete", layers: Sequence[int] | None = None) -> Estimate | None:
        """The mean over layers of a share of object patches (a name of :data:`COUNTED`)."""
        chosen = self.layers if layers is None else layers
        counts = [self._counts[n, lens] for n in chosen]
        total = "exchanged" if name in ("shuffled", "shuffled_loose") else "objects"
        return self._shares.mean([(c[name], c[total]) for c in counts])

    def mean_above_chance(
        self, lens: str, layers: Sequence[int] | None = None, less: str | None = None
    ) -> Estimate | None:
        """Concrete less shuffled, mean of layers; ``less`` subtracts the same of another lens over the same images."""
        parts = []
        for name, sign in ((lens, 1), (less, -1)):
            if name is not None:
                counts = [self._counts[n, name] for n in (self.layers if layers is None else layers)]
                parts.append(([(c["concrete"], c["objects"]) for c in counts], sign))
                parts.append(([(c["shuffled"], c["exchanged"]) for c in counts], -sign))
        return self._shares.combined(parts)

    def lead(self, lens: str, other: str, layers: Sequence[int]) -> Estimate | None:
        """By how much one lens is more often concrete than another, mean of layers."""
        concrete = {
            name: [(self._counts[n, name]["concrete"], self._counts[n, name]["objects"]) for n in layers]
            for name in (lens, other)
        }
        return self._shares.combined([(concrete[lens], 1), (concrete[other], -1)])

    def _truth(self, things: Sequence[Thing], found: ImageWords) -> PatchTruth:
        sharp = [thing for thing in things if not thing.crowd]
        crowds = [thing for thing in things if thing.crowd]
        under = [frozenset(self._numbers[sharp[i].concept] for i in things_under(p.box, sharp)) for p in found.patches]
        left_out = {i for i, patch in enumerate(found.patches) if not under[i] and things_under(patch.box, crowds)}
        present = frozenset(self._numbers[thing.concept] for thing in things)
        return PatchTruth(tuple(under), frozenset(left_out), present)

    def _count(
        self, place: int, truth: PatchTruth, rows: Sequence[Words], random: Sequence[Words]
    ) -> Mapping[str, float]:
        strict = [self.index.strict(words) for words in rows]
        loose = [self.index.loose(words) for words in rows]
        objects = [i for i, under in enumerate(truth.under) if under]
        free = [i for i, under in enumerate(truth.under) if not under and i not in truth.left_out]
        concrete = [i for i in objects if strict[i] & truth.under[i]]
        by_lot = [self.index.strict(words) for words in random]
        return {
            "objects": len(objects),
            "concrete": len(concrete),
            "loose": sum(bool(loose[i] & truth.under[i]) for i in objects),
            "global": sum(bool(strict[i] & truth.present) for i in objects) - len(concrete),
            "background": len(free),
            "background_named": sum(bool(strict[i] & truth.present) for i in free),
            "exchanged": len(objects) if self._chance.others(place) else 0,
            "shuffled": sum(self._chance.of(strict[i], place) for i in objects),
            "shuffled_loose": sum(self._chance.of(loose[i], place) for i in objects),
            "paired": len(objects) if len(rows) > 1 else 0,
            "random_patches": sum(_others_naming(i, strict, truth.under[i]) for i in objects),
            "random_vectors": sum(bool(named & truth.under[i]) for named in by_lot for i in objects)
            / max(1, len(by_lot)),
        }


def _others_naming(place: int, named: Sequence[Numbers], under: Numbers) -> float:
    """The share of the image's other patches whose words name a thing under this one."""
    if len(named) < 2:
        return 0.0
    return sum(bool(words & under) for i, words in enumerate(named) if i != place) / (len(named) - 1)


def leap(words: Sequence[ImageWords]) -> tuple[list[int], list[int], Floats]:
    """The Mid-Layer Leap: from which bank layers the neighbours of each query layer come.

    Returns:
        Query layers, bank layers, and the shares ``[query layers, bank layers]``: rows sum to 1, or
        to 0 where nothing was found.
    """
    counts: dict[int, dict[int, int]] = {}
    for found in words:
        for layer, rows in found.bank_layers.items():
            at = counts.setdefault(layer, {})
            for row in rows:
                for bank_layer in row:
                    at[bank_layer] = at.get(bank_layer, 0) + 1
    layers, banks = sorted(counts), sorted({bank for at in counts.values() for bank in at})
    table = np.array([[counts[layer].get(bank, 0) for bank in banks] for layer in layers], float)
    table = table.reshape(len(layers), len(banks))
    return layers, banks, table / np.maximum(table.sum(1, keepdims=True), 1)
