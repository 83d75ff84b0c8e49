"""Composed scenes: art of known things on plain backgrounds, with ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.sprites import Concept, Sprite

COLOURS = {
    "white": (245, 245, 245),
    "black": (25, 25, 28),
    "gray": (128, 128, 128),
    "red": (200, 50, 45),
    "green": (70, 150, 70),
    "blue": (60, 110, 200),
    "yellow": (235, 205, 80),
    "pink": (240, 170, 190),
    "purple": (130, 80, 160),
    "brown": (125, 85, 55),
    "orange": (235, 140, 50),
}


@dataclass(frozen=True)
class Placed:
    """One object of a scene: what it is and the pixels it covers (x0, y0, x1, y1; ends exclusive)."""

    concept: Concept
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """What is on a picture of `width` x `height` pixels: all that a caption may know."""

    width: int
    height: int
    background: str
    objects: tuple[Placed, ...]


def compose(
    rng: np.random.Generator, sprites: Sequence[Sprite], width: int = 224, height: int = 224
) -> tuple[Image.Image, Scene]:
    """A picture of one to four different things that do not overlap (much), and its ground truth.

    Args:
        rng: decides everything; the same state gives the same scene.
        sprites: the art to choose from.
        width: of the picture in pixels.
        height: likewise.
    """
    colour, canvas = _background(rng, width, height)
    cells = _cells(rng, width, height)
    names: set[str] = set()
    placed = []
    for cell in cells:
        sprite = _choose(rng, sprites, names)
        names.add(sprite.concept.word)
        placed.append(Placed(sprite.concept, _paste(rng, canvas, sprite, cell)))
    return canvas, Scene(width, height, colour, tuple(placed))


def _choose(rng: np.random.Generator, sprites: Sequence[Sprite], taken: set[str]) -> Sprite:
    while True:
        sprite = sprites[int(rng.integers(len(sprites)))]
        if sprite.concept.word not in taken:
            return sprite


def _background(rng: np.random.Generator, width: int, height: int) -> tuple[str, Image.Image]:
    name = list(COLOURS)[int(rng.integers(len(COLOURS)))]
    base = np.asarray(COLOURS[name], np.float32) + rng.normal(0, 12, 3)
    pixels = np.broadcast_to(base, (height, width, 3)).copy()
    kind = rng.integers(3)
    if kind == 1:  # light from above or from the side
        ramp = np.linspace(-25, 25, height if rng.random() < 0.5 else width)
        pixels += ramp[:, None, None] if len(ramp) == height else ramp[None, :, None]
    elif kind == 2:  # a floor
        pixels[int(height * rng.uniform(0.5, 0.8)) :] *= rng.uniform(0.7, 0.9)
    pixels += rng.normal(0, rng.uniform(0, 8), pixels.shape)
    return name, Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _cells(rng: np.random.Generator, width: int, height: int) -> list[tuple[float, float, float, float]]:
    """Where things go: the picture cut into one to four rectangles, each used."""
    w, h = float(width), float(height)
    count = int(rng.choice([1, 2, 3, 4], p=[0.15, 0.35, 0.3, 0.2]))
    if count == 1:
        return [(0.0, 0.0, w, h)]
    x, y = w * rng.uniform(0.42, 0.58), h * rng.uniform(0.42, 0.58)
    if count == 2 and rng.random() < 0.6:
        return [(0.0, 0.0, x, h), (x, 0.0, w, h)]
    if count == 2:
        return [(0.0, 0.0, w, y), (0.0, y, w, h)]
    quarters = [(0.0, 0.0, x, y), (x, 0.0, w, y), (0.0, y, x, h), (x, y, w, h)]
    if count == 3:
        quarters.pop(int(rng.integers(4)))
    return quarters


def _paste(
    rng: np.random.Generator, canvas: Image.Image, sprite: Sprite, cell: tuple[float, float, float, float]
) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = cell
    art = Image.fromarray(_recolour(rng, sprite.pixels))
    if rng.random() < 0.5:
        art = art.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    art = art.rotate(float(rng.normal(0, 8)), expand=True, resample=Image.Resampling.BICUBIC)
    side = min(x1 - x0, y1 - y0, 170.0) * rng.uniform(0.7, 1.0)
    scale = side / max(art.size)
    art = art.resize((max(8, round(art.width * scale)), max(8, round(art.height * scale))), Image.Resampling.LANCZOS)
    left = round(x0 + rng.random() * max(0.0, x1 - x0 - art.width))
    top = round(y0 + rng.random() * max(0.0, y1 - y0 - art.height))
    canvas.paste(art, (left, top), art)
    seen = art.getchannel("A").point(lambda a: 255 if a > 40 else 0).getbbox() or (0, 0, *art.size)
    return left + seen[0], top + seen[1], min(left + seen[2], canvas.width), min(top + seen[3], canvas.height)


def _recolour(rng: np.random.Generator, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Small changes of brightness and tint, the alpha channel kept."""
    out = pixels.astype(np.float32)
    out[..., :3] = out[..., :3] * rng.normal(1, 0.08) + rng.normal(0, 6, 3)
    return out.clip(0, 255).astype(np.uint8)
