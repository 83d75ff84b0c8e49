"""Ground truth of committed pictures: what is where, and by which words it may be called."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

TRUTH_FILE = "truth.json"


@dataclass(frozen=True)
class Thing:
    """One object of a picture.

    Attributes:
        word: its name.
        synonyms: other words that name it.
        box: (x0, y0, x1, y1) in pixels, x to the right, y down, ends exclusive.
    """

    word: str
    synonyms: tuple[str, ...]
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """One committed picture.

    Attributes:
        file: its name in the folder of `truth.json`.
        kind: `scene` (composed of emoji art) or `photo`.
        styles: art styles of a scene; empty for a photo.
        seen: whether the styles were in the training data. Scenes of seen styles are new
            compositions of art that training showed in others; photos were never seen.
        width: in pixels.
        height: in pixels.
        objects: what is on it.
    """

    file: str
    kind: Literal["scene", "photo"]
    styles: tuple[str, ...]
    seen: bool
    width: int
    height: int
    objects: tuple[Thing, ...]


def write_truth(folder: Path, pictures: Iterable[Picture]) -> None:
    """Write `truth.json`, one picture a line."""
    lines = ",\n".join(json.dumps(asdict(picture)) for picture in pictures)
    (folder / TRUTH_FILE).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_truth(folder: Path) -> list[Picture]:
    """The pictures of a folder, in file order."""
    rows = json.loads((folder / TRUTH_FILE).read_text(encoding="utf-8"))
    return [
        Picture(**{**row, "styles": tuple(row["styles"]), "objects": tuple(_thing(item) for item in row["objects"])})
        for row in rows
    ]


def _thing(row: dict[str, object]) -> Thing:
    synonyms, box = row["synonyms"], row["box"]
    assert isinstance(synonyms, list) and isinstance(box, list)
    return Thing(str(row["word"]), tuple(synonyms), (box[0], box[1], box[2], box[3]))
