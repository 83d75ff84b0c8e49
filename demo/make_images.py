"""Make the committed pictures: `python -m demo.make_images --icons DIR --archives FILE...`.

demo/data/images: composed scenes to look at, and photographs. demo/data/heldout and heldout_more:
scenes to measure with, a hundred each. Their seeds are used nowhere else: training draws from
[1, shard], validation from its own. Every scene is drawn in one art style. See the SOURCES.md files
for licences.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from demo.photographs import PHOTOGRAPHS, read_photograph
from demo.scenes import Scene, compose
from demo.sprites import TRAIN_STYLES, UNSEEN_STYLES, VALIDATION_STYLES, Sprite, load_sprites
from demo.truth import Picture, Thing, write_truth

IMAGES = Path(__file__).parent / "data" / "images"
HELDOUT = Path(__file__).parent / "data" / "heldout"
HELDOUT_MORE = Path(__file__).parent / "data" / "heldout_more"
IMAGES_SEED, HELDOUT_SEED, HELDOUT_MORE_SEED = 45_201, 45_202, 45_203
SQUARE = (224, 224)
# The unseen styles of the scenes to look at; the measured ones are all of the style that served
# for nothing before.
SHOWN_UNSEEN = (*UNSEEN_STYLES, *VALIDATION_STYLES)
SIZES = {3: (320, 224), 8: (224, 336), 12: (336, 224)}
SHOWN_SEEN_SCENES, SHOWN_UNSEEN_SCENES = 10, 6
HELDOUT_SEEN_SCENES, HELDOUT_UNSEEN_SCENES = 60, 40


def make_images(sprites: dict[str, list[Sprite]], archives: list[Path], folder: Path) -> None:
    """Sixteen scenes as PNG, the photographs as JPEG, and their ground truth."""
    rng = np.random.default_rng(IMAGES_SEED)
    styles = [*islice(cycle(TRAIN_STYLES), SHOWN_SEEN_SCENES), *islice(cycle(SHOWN_UNSEEN), SHOWN_UNSEEN_SCENES)]
    pictures = []
    for number, style in enumerate(styles):
        image, picture = _scene(rng, sprites, style, SIZES.get(number, SQUARE))
        pictures.append(replace(picture, file=f"scene_{number:02d}.png"))
        image.save(folder / pictures[-1].file, optimize=True)
    for photograph in PHOTOGRAPHS:
        image = read_photograph(photograph, archives)
        file = f"photo_{photograph.name}.jpg"
        image.save(folder / file, quality=88, optimize=True)
        pictures.append(Picture(file, "photo", (), False, image.width, image.height, photograph.objects))
    write_truth(folder, pictures)


def make_heldout(sprites: dict[str, list[Sprite]], folder: Path, seed: int) -> None:
    """A hundred scenes as JPEG and their ground truth; another seed gives others."""
    rng = np.random.default_rng(seed)
    styles = [*islice(cycle(TRAIN_STYLES), HELDOUT_SEEN_SCENES), *islice(cycle(UNSEEN_STYLES), HELDOUT_UNSEEN_SCENES)]
    pictures = []
    for number, style in enumerate(styles):
        image, picture = _scene(rng, sprites, style, SQUARE)
        pictures.append(replace(picture, file=f"heldout_{number:03d}.jpg"))
        image.save(folder / pictures[-1].file, quality=90, optimize=True)
    write_truth(folder, pictures)


def _scene(
    rng: np.random.Generator, sprites: dict[str, list[Sprite]], style: str, size: tuple[int, int]
) -> tuple[Image.Image, Picture]:
    image, scene = compose(rng, sprites[style], *size)
    return image, Picture("", "scene", (style,), style in TRAIN_STYLES, *size, _things(scene))


def _things(scene: Scene) -> tuple[Thing, ...]:
    return tuple(Thing(o.concept.word, o.concept.synonyms, _whole(o.box)) for o in scene.objects)


def _whole(box: Sequence[Any]) -> tuple[int, int, int, int]:
    """Plain integers: the scene's may be NumPy's."""
    x0, y0, x1, y1 = (int(edge) for edge in box)
    return x0, y0, x1, y1


def main() -> None:
    """Read the options and make everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--icons", type=Path, required=True, help="node_modules/@iconify-json")
    parser.add_argument("--archives", type=Path, nargs="+", required=True, help="packages with the photographs")
    arguments = parser.parse_args()
    styles = (*TRAIN_STYLES, *SHOWN_UNSEEN)
    drawn = load_sprites(arguments.icons, styles)
    sprites = {style: [sprite for sprite in drawn if sprite.style == style] for style in styles}
    for folder in (IMAGES, HELDOUT, HELDOUT_MORE):
        folder.mkdir(parents=True, exist_ok=True)
    make_images(sprites, arguments.archives, IMAGES)
    make_heldout(sprites, HELDOUT, HELDOUT_SEED)
    make_heldout(sprites, HELDOUT_MORE, HELDOUT_MORE_SEED)


if __name__ == "__main__":
    main()
