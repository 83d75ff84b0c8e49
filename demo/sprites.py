"""Emoji art as training pictures: icon sets from npm, drawn with resvg.

The sets are JSON files of SVG bodies (Iconify format). Nothing of them is committed;
`demo.fetch` brings them. A sprite is a small RGBA array cropped to what is visible.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lensbank.evaluate.matching import names

TRAIN_STYLES = ("noto", "noto-v1", "fxemoji", "fluent-emoji", "emojione")
VALIDATION_STYLES = ("fluent-emoji-flat",)
UNSEEN_STYLES = ("twemoji",)
SPRITE_PIXELS = 160
CONCEPTS_FILE = Path(__file__).parent / "data" / "concepts.json"


@dataclass(frozen=True)
class Concept:
    """One thing the demo model learns to see.

    `word` is its name (one token of the language model), `synonyms` are words that
    count as naming it too, `icons` lists icon names per art style.
    """

    word: str
    synonyms: tuple[str, ...]
    icons: dict[str, tuple[str, ...]]

    @property
    def names(self) -> frozenset[str]:
        """Every word that names it, folded."""
        return names(self.word, self.synonyms)


@dataclass(frozen=True)
class Sprite:
    """A drawn icon: RGBA uint8 (height, width, 4), its concept and art style."""

    concept: Concept
    style: str
    pixels: np.ndarray[Any, np.dtype[np.uint8]]


def load_concepts() -> list[Concept]:
    """Return the committed concepts, in file order."""
    rows = json.loads(CONCEPTS_FILE.read_text(encoding="utf-8"))
    return [
        Concept(
            row["word"],
            tuple(row["synonyms"]),
            {style: tuple(names) for style, names in row["icons"].items()},
        )
        for row in rows
    ]


def load_sprites(icon_sets: Path, styles: tuple[str, ...]) -> list[Sprite]:
    """Draw every icon of every concept in the given styles.

    `icon_sets` is a `node_modules/@iconify-json` directory. Takes about ten seconds
    for five styles. Raises FileNotFoundError when a style's set is not there.
    """
    concepts = load_concepts()
    sprites: list[Sprite] = []
    for style in styles:
        icons = _read_icon_set(icon_sets / style / "icons.json")
        for concept in concepts:
            for name in concept.icons.get(style, ()):
                sprites.append(Sprite(concept, style, _draw(icons, name)))
    return sprites


def _read_icon_set(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"no icon set at {path}; expected the npm package @iconify-json/{path.parent.name}. "
            "Run `python -m demo.fetch` to get it."
        )
    icons: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return icons


def _draw(icon_set: dict[str, Any], name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return one icon as a cropped RGBA array."""
    import resvg_py

    icon = _icon(icon_set, name)
    width = icon.get("width", icon_set.get("width", 16))
    height = icon.get("height", icon_set.get("height", 16))
    left, top = icon.get("left", 0), icon.get("top", 0)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{SPRITE_PIXELS}" '
        f'height="{SPRITE_PIXELS}">{icon["body"]}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    return _crop(pixels)


def _icon(icon_set: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an icon's entry, following one alias."""
    icons: dict[str, dict[str, Any]] = icon_set["icons"]
    if name in icons:
        return icons[name]
    alias = icon_set.get("aliases", {}).get(name)
    if alias is None:
        raise KeyError(f"icon {name!r} is not in the set {icon_set.get('prefix')!r}")
    return icons[alias["parent"]]


def _crop(
    pixels: np.ndarray[Any, np.dtype[np.uint8]],
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Cut away the fully transparent border."""
    visible = pixels[..., 3] > 40
    rows, columns = np.where(visible.any(1))[0], np.where(visible.any(0))[0]
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
