"""Figures about readings of pictures whose objects are known. Plain Python and NumPy, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo.matching import any_names, names
from demo.truth import Picture, Thing
from lensbank.schemas.results import PixelBox, TokenReading

DRAWS = 2000
SEED = 11


@dataclass(frozen=True)
class Count:
    """So many of so many, in one picture; fractions where it is an expectation."""

    hits: float
    total: int


@dataclass(frozen=True)
class Share:
    """A share over pictures in percent, with its 95 % interval.

    The pictures are drawn again (bootstrap), not the patches: patches of a picture are alike.
    """

    percent: float
    low: float
    high: float
    total: int


@dataclass(frozen=True)
class PatchWords:
    """What a lens said about one patch, and which objects are there.

    Attributes:
        words: of the nearest neighbours.
        objects: indices of the picture's objects whose boxes hold the patch's centre.
    """

    words: tuple[str, ...]
    objects: tuple[int, ...]


def objects_under(box: PixelBox, things: Sequence[Thing]) -> tuple[int, ...]:
    """Indices of the things whose boxes hold the centre of a patch."""
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return tuple(
        i for i, thing in enumerate(things) if thing.box[0] <= x < thing.box[2] and thing.box[1] <= y < thing.box[3]
    )


def patch_words(tokens: Sequence[TokenReading], picture: Picture) -> list[PatchWords]:
    """What was read in each patch of a picture, at one layer."""
    found = []
    for token in tokens:
        if token.box is None:
            raise ValueError(f"token {token.label!r} of {picture.file} has no box; expected visual tokens")
        words = tuple(neighbor.word for neighbor in token.neighbors)
        found.append(PatchWords(words, objects_under(token.box, picture.objects)))
    return found


def concrete(patches: Sequence[PatchWords], picture: Picture) -> Count:
    """Patches on exactly one object, and those whose words name it."""
    alone = [patch for patch in patches if len(patch.objects) == 1]
    return Count(sum(_says(patch, picture.objects[patch.objects[0]]) for patch in alone), len(alone))


def elsewhere(patches: Sequence[PatchWords], picture: Picture) -> Count:
    """Patches on exactly one object whose words name another of the picture, and not this one."""
    alone = [patch for patch in patches if len(patch.objects) == 1]
    hits = 0
    for patch in alone:
        own = picture.objects[patch.objects[0]]
        others = [thing for thing in picture.objects if thing.word != own.word]
        hits += not _says(patch, own) and any(_says(patch, thing) for thing in others)
    return Count(hits, len(alone))


def background(patches: Sequence[PatchWords], picture: Picture) -> Count:
    """Patches on no object, and those whose words name any of the picture's."""
    free = [patch for patch in patches if not patch.objects]
    return Count(sum(any(_says(patch, thing) for thing in picture.objects) for patch in free), len(free))


def chance(patches: Sequence[PatchWords], others: Sequence[Picture]) -> Count:
    """What `concrete` would be if the truth were another picture's.

    The expectation over every other picture and an object of it chosen at random.
    """
    alone = [patch for patch in patches if len(patch.objects) == 1]
    if not others:
        return Count(0.0, len(alone))
    hits = 0.0
    for other in others:
        hits += sum(_says(patch, thing) for patch in alone for thing in other.objects) / len(other.objects)
    return Count(hits / len(others), len(alone))


def recall(said: Sequence[str], picture: Picture) -> Count:
    """Objects of a picture that a text's words name."""
    return Count(sum(any_names(said, _names(thing)) for thing in picture.objects), len(picture.objects))


def chance_recall(said: Sequence[str], picture: Picture, others: Sequence[Picture]) -> Count:
    """What `recall` would be with another picture's objects: the expectation over all others."""
    if not others:
        return Count(0.0, len(picture.objects))
    shares = [recall(said, other).hits / len(other.objects) for other in others]
    return Count(sum(shares) / len(shares) * len(picture.objects), len(picture.objects))


def share(counts: Sequence[Count]) -> Share:
    """All pictures together: hits over totals, with an interval from drawing pictures again."""
    hits, totals = np.array([c.hits for c in counts], float), np.array([c.total for c in counts], float)
    if not totals.sum():
        return Share(float("nan"), float("nan"), float("nan"), 0)
    drawn = np.random.default_rng(SEED).integers(len(counts), size=(DRAWS, len(counts)))
    sums = totals[drawn].sum(1)
    ratios = hits[drawn].sum(1)[sums > 0] / sums[sums > 0]
    low, high = np.percentile(100 * ratios, [2.5, 97.5])
    return Share(100 * hits.sum() / totals.sum(), float(low), float(high), int(totals.sum()))


def _says(patch: PatchWords, thing: Thing) -> bool:
    return any_names(patch.words, _names(thing))


def _names(thing: Thing) -> frozenset[str]:
    return names(thing.word, thing.synonyms)
