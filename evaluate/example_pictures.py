"""Hits and misses as pictures: the patch and what is around it, the thing it is on, and the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ..query.images import open_image
from ..schemas.errors import ImageError
from ..schemas.files import write_whole
from ..show.display import clean
from ..show.fonts import Letters, cut_end

#: Kinds of examples → the files they are drawn in.
FILES = {"hits": "hits.png", "misses": "misses.png"}
_COLUMNS, _SIDE, _GAP = 4, 300, 24
_LINES = (("things", 24, "#1c1b19"), ("words", 22, "#a3225a"), ("place", 18, "#57544e"))
_AROUND = 4.0  # the crop's side, in patches


def file_of(kind: str, number: int) -> str:
    """``hits.png`` of the first group, ``hits-2.png`` of the second."""
    stem, dot, ending = FILES[kind].partition(".")
    return FILES[kind] if not number else f"{stem}-{number + 1}{dot}{ending}"


def draw_examples(examples: Mapping[str, Any], paths: Mapping[str, Path], out: Path, number: int = 0) -> None:
    """Write a picture for each kind that has examples; that of a kind that has none is taken away.

    Args:
        examples: as :func:`evaluate.cases.examples` gives them.
        paths: of the images, by name. One that cannot be read any more is left out.
        out: the folder.
        number: of the group.
    """
    for kind in FILES:
        name = file_of(kind, number)
        cells = [(one, crop) for one in examples.get(kind, ()) if (crop := _crop(one, paths)) is not None]
        if not cells:
            (out / name).unlink(missing_ok=True)
            continue
        drawn = BytesIO()
        _sheet(cells).save(drawn, "PNG", optimize=True)
        write_whole(out / name, drawn.getvalue())


def _crop(example: Mapping[str, Any], paths: Mapping[str, Path]) -> Image.Image | None:
    """The patch framed in what is around it, ``_SIDE`` pixels square; grey beyond the image."""
    if example["image"] not in paths:
        return None
    try:
        image = open_image(paths[example["image"]]).image
    except ImageError:
        return None
    x0, y0, x1, y1 = example["box"]
    side = _AROUND * max(x1 - x0, y1 - y0, 1.0)
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    scale = _SIDE / side
    crop = image.transform(
        (_SIDE, _SIDE), Image.Transform.EXTENT, (left, top, left + side, top + side), Image.Resampling.BICUBIC,
        fillcolor="#dddddd",
    )  # fmt: skip
    pen = ImageDraw.Draw(crop)
    frame = tuple((edge - start) * scale for edge, start in zip((x0, y0, x1, y1), (left, top) * 2, strict=True))
    pen.rectangle(frame, outline="#ffffff", width=7)
    pen.rectangle(tuple(e + d for e, d in zip(frame, (2, 2, -2, -2), strict=True)), outline="#16150f", width=3)
    return crop


def _sheet(cells: Sequence[tuple[Mapping[str, Any], Image.Image]]) -> Image.Image:
    letters = Letters()
    high = _SIDE + sum(size + 8 for _, size, _ in _LINES) + _GAP
    rows = -(-len(cells) // _COLUMNS)
    columns = min(_COLUMNS, len(cells))
    canvas = Image.new("RGB", (columns * (_SIDE + _GAP) + _GAP, rows * high + _GAP), "white")
    pen = ImageDraw.Draw(canvas)
    for number, (example, crop) in enumerate(cells):
        x, y = _GAP + number % _COLUMNS * (_SIDE + _GAP), _GAP + number // _COLUMNS * high
        canvas.paste(crop, (x, y))
        y += _SIDE
        for kind, size, colour in _LINES:
            y += size + 8
            letters.draw(pen, (x, y), cut_end(letters, _told(example, kind), size, _SIDE), size, colour)
    return canvas


def _told(example: Mapping[str, Any], kind: str) -> str:
    if kind == "place":
        return clean(f"{example['image']} {example['row']},{example['col']}")
    return clean(", ".join(dict.fromkeys(example[kind]))) or "nothing"
