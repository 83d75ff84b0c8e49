"""What the cells of photographs show, as far as the vision tower itself knows it: features and names for training.

`python -m demo.photo_cells --photos DIR... --out FILE`: JPEGs and PNGs below the folders, whole and as one random crop.
The tower's own ImageNet head names each of its 7 x 7 cells; a concept's probability is the sum over its classes
(`data/imagenet_classes.json`). Where a folder is named for a thing, only cells that agree are kept, and of a thing
that ImageNet has no class for the middle cells. What is sure of nothing counts as background. Some photographs are kept
back, and their cells written apart: nothing is learned from them, so they can choose between fits.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from demo.fetch import VISION, cache_dir, fetch
from demo.sprites import load_concepts
from demo.vision import FEATURES, GRID, features, load_vision_tower, preprocess

CLASSES = Path(__file__).parent / "data" / "imagenet_classes.json"
FOLDERS = Path(__file__).parent / "data" / "photo_folders.json"
SURE, AGREES, MIDDLE, NOTHING = 0.35, 0.15, 0.05, 0.15
BACKGROUNDS = 4
BATCH = 32
LONGEST_SIDE = 500
_MIDDLE_CELLS = [row * GRID + column for row in range(2, 5) for column in range(2, 5)]


@dataclass(frozen=True)
class Head:
    """The tower's classifier, its classes gathered to concepts.

    Attributes:
        weight: [1000, 1280].
        bias: [1000].
        groups: [1000, concepts], 1 where a class is one of a concept's.
        words: names of the concepts, in their order.
    """

    weight: Tensor
    bias: Tensor
    groups: Tensor
    words: tuple[str, ...]

    def concepts(self, cells: Tensor) -> Tensor:
        """Probability of each concept at each cell: [..., 1280] to [..., concepts]."""
        return (cells @ self.weight.T + self.bias).softmax(-1) @ self.groups


def load_head(vision: Path) -> Head:
    """The head out of the published weights."""
    published = torch.load(vision, map_location="cpu", weights_only=True)
    words = tuple(concept.word for concept in load_concepts())
    groups = torch.zeros(len(published["_fc.bias"]), len(words))
    for word, classes in json.loads(CLASSES.read_text(encoding="utf-8")).items():
        groups[classes, words.index(word)] = 1
    return Head(published["_fc.weight"].float(), published["_fc.bias"].float(), groups, words)


def named_cells(head: Head, cells: Tensor, thing: str | None, whole: bool) -> tuple[Tensor, Tensor]:
    """The concept of each cell of one picture (-1 for none), and which cells are background.

    Args:
        head: of the tower.
        cells: [49, 1280].
        thing: the concept that the picture's folder is named for.
        whole: whether it is the whole picture, in whose middle the thing is.
    """
    found = head.concepts(cells)
    best = found.max(-1)
    names = torch.where(best.values > SURE, best.indices, -1)
    if thing is not None:
        own = head.words.index(thing)
        known = bool(head.groups[:, own].any())
        kept = found[:, own] > AGREES if known else torch.zeros(len(cells), dtype=torch.bool)
        if whole:
            kept[_MIDDLE_CELLS] |= found[_MIDDLE_CELLS, own] > MIDDLE if known else True
        names = torch.where(kept, own, -1)
    return names, (found.sum(-1) < NOTHING) & (names < 0)


def folder_thing(path: Path, words: Sequence[str]) -> str | None:
    """The concept that one of a photograph's folders is named for, the nearest one first.

    A folder `train` further up is the part of a data set that is learned from, not a railway.
    """
    others: dict[str, str] = json.loads(FOLDERS.read_text(encoding="utf-8"))
    for above, folder in enumerate(reversed(path.parent.parts)):
        name = re.sub(r"[-_]", " ", folder).lower()
        if above and name == "train":
            continue
        if name in others or name in words:
            return others.get(name, name)
    return None


def photographs(folders: Sequence[Path], most: int, rng: np.random.Generator) -> list[Path]:
    """JPEG and PNG files below folders, at most so many of each folder, in random order."""
    by_folder: dict[Path, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                by_folder.setdefault(path.parent, []).append(path)
    chosen = [path for paths in by_folder.values() for path in rng.permutation(np.array(paths, object))[:most]]
    return list(rng.permutation(np.array(chosen, object)))


def _shown(paths: Sequence[Path], rng: np.random.Generator) -> Iterator[tuple[Path, bool, NDArray[np.float32]]]:
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        yield path, True, preprocess(image)
        width, height = (round(length * rng.uniform(0.45, 0.9)) for length in image.size)
        left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
        yield path, False, preprocess(image.crop((left, top, left + width, top + height)))


def write_cells(
    paths: Sequence[Path], kept: Collection[Path], vision: Path, out: Path, rng: np.random.Generator
) -> dict[str, int]:
    """Features of named and of background cells into a file; how many cells of each name there are to learn from.

    Args:
        paths: of all photographs.
        kept: those of them to learn nothing from: their named cells are written apart, and no background.
        vision: the tower's published weights.
        out: the file.
        rng: chooses crops and background.
    """
    head, tower = load_head(vision), load_vision_tower(vision)
    known: dict[Path, str | None] = {path: folder_thing(path, head.words) for path in paths}
    cells, names, background = [], [], []
    kept_cells, kept_names = [torch.empty(0, FEATURES, dtype=torch.float16)], [torch.empty(0, dtype=torch.int64)]
    waiting: list[tuple[Path, bool, NDArray[np.float32]]] = []

    def look() -> None:
        table = torch.from_numpy(features(tower, np.stack([pixels for _, _, pixels in waiting])))
        for (path, whole, _), own in zip(waiting, table, strict=True):
            found, nothing = named_cells(head, own.float(), known[path], whole)
            if path in kept:
                kept_cells.append(own[found >= 0])
                kept_names.append(found[found >= 0])
                continue
            cells.append(own[found >= 0])
            names.append(found[found >= 0])
            empty = nothing.nonzero().flatten()
            background.append(own[rng.permutation(empty.numpy())[:BACKGROUNDS]])
        waiting.clear()

    with torch.autocast("cpu", torch.bfloat16):
        for shown in _shown(paths, rng):
            waiting.append(shown)
            if len(waiting) == BATCH:
                look()
        if waiting:
            look()
    every = torch.cat(names)
    learned = {"cells": torch.cat(cells), "names": every, "background": torch.cat(background)}
    torch.save(learned | {"kept_cells": torch.cat(kept_cells), "kept_names": torch.cat(kept_names)}, out)
    counts = torch.bincount(every, minlength=len(head.words)).tolist()
    return {word: count for word, count in zip(head.words, counts, strict=True) if count}


def main() -> None:
    """Read the options and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=90, help="photographs of one folder")
    parser.add_argument("--keep-back", type=int, default=400, metavar="N", help="photographs to learn nothing from")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    paths = photographs(arguments.photos, arguments.most, rng)
    kept = set(paths[: arguments.keep_back])
    counts = write_cells(paths, kept, fetch(VISION, cache_dir()), arguments.out, rng)
    said = f"{len(paths)} photographs, {len(kept)} of them kept back"
    print(f"{said}; {sum(counts.values())} cells of {len(counts)} concepts")


if __name__ == "__main__":
    main()
