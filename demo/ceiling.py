"""What the vision tower itself knows of annotated pictures: `python -m demo.ceiling --annotations FILE --images DIR`.

The tower's ImageNet head names every one of its 7 x 7 cells with the demo's concepts (`demo.photo_cells`); what it
says is counted by the rules and on the patches of `lensbank evaluate`. The lens can hardly know more than that. A
concept that ImageNet has no class for counts as never named.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import EfficientNetModel

from demo.fetch import VISION, cache_dir, fetch
from demo.photo_cells import Head, load_head
from demo.vision import GRID, features, load_vision_tower, preprocess
from lensbank.evaluate.annotations import AnnotatedImage, read_annotations
from lensbank.evaluate.measures import GroundTruth
from lensbank.evaluate.records import ImageWords, Patch
from lensbank.evaluate.report import percent
from lensbank.evaluate.statistics import Estimate
from lensbank.schemas.results import PixelBox

HEAD = "head"
NAMES = (1, 5)  # the best concept, and as many as the lens gives words


def patches(width: int, height: int) -> tuple[Patch, ...]:
    """The cells of a picture that was squeezed into the tower's square, row by row, in its own pixels."""
    columns, rows = ([round(length * step / GRID, 3) for step in range(GRID + 1)] for length in (width, height))
    return tuple(
        Patch(0, row, col, PixelBox(columns[col], rows[row], columns[col + 1], rows[row + 1]))
        for row in range(GRID)
        for col in range(GRID)
    )


def named(head: Head, tower: EfficientNetModel, image: AnnotatedImage) -> ImageWords:
    """What the head calls each cell: under each number of :data:`NAMES` so many concepts, the likeliest first."""
    with Image.open(image.path) as opened:
        pixels, (width, height) = preprocess(opened), opened.size
    table = torch.from_numpy(features(tower, np.stack([pixels]))[0]).float()
    best = head.concepts(table).topk(max(NAMES), dim=-1).indices.tolist()
    words = {count: {HEAD: tuple(tuple(head.words[i] for i in row[:count]) for row in best)} for count in NAMES}
    none: dict[int, dict[str, tuple[tuple[str, ...], ...]]] = {count: {HEAD: ()} for count in NAMES}
    sha256 = hashlib.sha256(image.path.read_bytes()).hexdigest()
    return ImageWords(image.name, sha256, width, height, patches(width, height), words, {}, none)


def table(images: Sequence[AnnotatedImage], words: Sequence[ImageWords]) -> str:
    """One row a group and number of names, as Markdown."""
    rows = ["| group | pictures | object patches | names | concrete | chance |", "|" + " --- |" * 6]
    found = dict(zip((image.name for image in images), words, strict=True))
    for group in dict.fromkeys(image.group for image in images):
        chosen = [image for image in images if image.group == group]
        truth = GroundTruth(chosen, [found[image.name] for image in chosen])
        for count in NAMES:
            figures = truth.measure(count, HEAD)
            shown = f"{_shown(figures.concrete, True)} | {_shown(figures.shuffled, False)}"
            rows.append(f"| {group} | {len(chosen)} | {figures.object_patches:,} | {count} | {shown} |")
    return "\n".join(rows)


def _shown(estimate: Estimate | None, interval: bool) -> str:
    return percent(None if estimate is None else estimate.to_dict(), interval)


def main() -> None:
    """Read the options, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True, help="as `python -m demo.annotations` writes them")
    parser.add_argument("--images", type=Path, required=True, help="the folder that they name images in")
    parser.add_argument("--group", action="append", help="only this group; may be given more than once")
    arguments = parser.parse_args()
    vision = fetch(VISION, cache_dir())
    head, tower = load_head(vision), load_vision_tower(vision)
    images = [
        image
        for image in read_annotations(arguments.annotations, arguments.images).images
        if not arguments.group or image.group in arguments.group
    ]
    sys.stdout.write(table(images, [named(head, tower, image) for image in images]) + "\n")


if __name__ == "__main__":
    main()
