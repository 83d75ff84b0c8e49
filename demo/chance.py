"""What chance is made of: `python -m demo.chance FOLDER`, where `make evaluate-demo` has written.

Chance is how often the words of a patch name the thing under a random object patch of another picture of the group
(docs/evaluation.md). Pictures of the same kind make it high without any luck: it is counted again over those pairs of
pictures alone that have no name in common, at the layer where LatentLens names most.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from demo.result import DATA
from lensbank.evaluate.annotations import AnnotatedImage, Thing, read_annotations
from lensbank.evaluate.matching import any_names
from lensbank.evaluate.measures import GroundTruth
from lensbank.evaluate.records import WORDS_FILE, ImageWords
from lensbank.schemas.results import PixelBox

LENS = "latent"


@dataclass(frozen=True)
class Parts:
    """Chance of one group.

    Attributes:
        layer: the query layer.
        every: over all pairs of pictures.
        strangers: over pairs with no name in common.
        alike: share of the pairs of a patch and another picture's object patch that have one.
        kinds: how many pictures show each thing, most first.
    """

    layer: int
    every: float
    strangers: float
    alike: float
    kinds: list[tuple[str, int]]


def parts(images: Sequence[AnnotatedImage], words: Sequence[ImageWords]) -> Parts:
    """Count chance for one group, every object patch against every other picture.

    Raises:
        ValueError: fewer than two pictures have object patches.
    """
    truth = GroundTruth(images, words)
    layer = max(truth.layers, key=lambda layer: _concrete(truth, layer))
    under = [
        [_names(image.things, patch.box) for patch in found.patches] for image, found in zip(images, words, strict=True)
    ]
    objects = [[number for number, names in enumerate(rows) if names] for rows in under]
    tallies = [Counter(rows[number] for number in own) for rows, own in zip(under, objects, strict=True)]
    shares, strange, alike = [], [], []
    for own, found in enumerate(words):
        others = [n for n, tally in enumerate(tallies) if tally and n != own]
        strangers = [n for n in others if not _all(images[own]) & _all(images[n])]
        every, far = (sum((tallies[n] for n in pool), Counter()) for pool in (others, strangers))
        for number in objects[own] if every else ():
            said = found.words[layer][LENS][number]
            shares.append(_share(said, every))
            alike.append(1 - far.total() / every.total())
            if far:
                strange.append(_share(said, far))
    if not shares:
        raise ValueError("chance needs two pictures with object patches")
    shown = Counter(thing for image in images for thing in {thing.concept.name for thing in image.things})
    return Parts(layer, fmean(shares), fmean(strange or [0.0]), fmean(alike), shown.most_common())


def _share(said: Sequence[str], tally: Counter[frozenset[str]]) -> float:
    return sum(count for names, count in tally.items() if any_names(said, names)) / tally.total()


def _concrete(truth: GroundTruth, layer: int) -> float:
    concrete = truth.measure(layer, LENS).concrete
    return 0.0 if concrete is None else concrete.value


def _names(things: Sequence[Thing], box: PixelBox) -> frozenset[str]:
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    here = [t for t in things if t.box.x0 <= x < t.box.x1 and t.box.y0 <= y < t.box.y1]
    return frozenset(name for thing in here for name in thing.concept.strict)


def _all(image: AnnotatedImage) -> frozenset[str]:
    return frozenset(name for thing in image.things for name in thing.concept.strict)


def main() -> None:
    """Read the folder, print a line a group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where `make evaluate-demo` has written")
    folder: Path = parser.parse_args().folder
    images = read_annotations(folder / "annotations.json", DATA).images
    lines = (folder / WORDS_FILE).read_text(encoding="utf-8").splitlines()
    words = {found.name: found for found in map(ImageWords.from_json, lines)}
    for group in dict.fromkeys(image.group for image in images):
        chosen = [image for image in images if image.group == group]
        found = parts(chosen, [words[image.name] for image in chosen])
        kinds = ", ".join(f"{count} of {thing}" for thing, count in found.kinds[:5])
        sys.stdout.write(
            f"{group}: layer {found.layer}, chance {100 * found.every:.1f} %, {100 * found.strangers:.1f} % between "
            f"pictures with no name in common ({100 * found.alike:.0f} % have one); {len(found.kinds)} kinds: {kinds}\n"
        )


if __name__ == "__main__":
    main()
