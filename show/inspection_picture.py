"""The patch grids of an image, drawn over it: where each visual token looks."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw

from ..schemas.inspection import Inspection, VisualToken
from ..schemas.results import PixelBox, View
from .display import clean, cut
from .fonts import Letters

SIDE = 1400
MARGIN, TITLE, TEXT, LABEL = 48, 60, 24, 15
# Two colours for lines, so that one of them shows on any ground.
DARK, BRIGHT, INK, PAPER = "#000000", "#ffd400", "#1c1b19", "#ffffff"
_VEIL = 90  # of 255: how much lighter the image is drawn, so that lines and labels show
_MIN_LABELLED = 44


def draw_inspection(found: Inspection, image: Image.Image) -> bytes:
    """A PNG file with one panel for each view; tiles, which do not overlap, share one.

    Every patch is outlined and, where there is room, labelled ``row,column`` (tiles with their view in front) and below
    that with its position in the model's input. Where there is none, rows and columns are numbered at the edges.
    """
    panels = [_panel(found, image, views) for views in _together(found.views)]
    canvas = Image.new("RGB", (max(p.width for p in panels), sum(p.height for p in panels)), PAPER)
    top = 0
    for panel in panels:
        canvas.paste(panel, (0, top))
        top += panel.height
    file = BytesIO()
    canvas.save(file, "PNG", optimize=True)
    return file.getvalue()


def _together(views: Sequence[View]) -> list[list[View]]:
    tiles = [view for view in views if view.kind == "tile"]
    return [[view] for view in views if view.kind != "tile"] + ([tiles] if tiles else [])


def _panel(found: Inspection, image: Image.Image, views: Sequence[View]) -> Image.Image:
    scale = SIDE / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    shown = image.resize((width, height), Image.Resampling.BICUBIC)
    shown = Image.blend(shown, Image.new("RGB", shown.size, PAPER), _VEIL / 255)
    canvas = Image.new("RGB", (SIDE + 2 * MARGIN, height + TITLE + 2 * MARGIN), PAPER)
    canvas.paste(shown, (MARGIN, MARGIN + TITLE))
    pen, letters = ImageDraw.Draw(canvas), Letters()
    letters.draw(pen, (MARGIN, MARGIN + TEXT - 12), _title(views), TEXT, INK)
    seen = cut(f"{clean(found.image.name)} for {clean(str(found.model['id']))}", 100)
    label = "view: row,column" if len(views) > 1 else "row,column"
    about = f"{seen}. Of each patch: {label} and #position in the input"
    letters.draw(pen, (MARGIN, MARGIN + TEXT + 8), about, LABEL, INK)
    numbers = {view.index for view in views}
    for token in found.tokens:
        if token.view in numbers:
            place = f"{token.row},{token.col}"
            _patch(pen, letters, token, f"{token.view}: {place}" if len(views) > 1 else place, scale)
    for view in views:
        pen.rectangle(_corners(view.box, scale), outline=DARK, width=4)
    if len(views) == 1:
        _edges(pen, letters, [token for token in found.tokens if token.view in numbers], scale)
    return canvas


def _edges(pen: ImageDraw.ImageDraw, letters: Letters, tokens: Sequence[VisualToken], scale: float) -> None:
    """Numbers of rows and columns, as many as there is room for."""
    rows = {token.row: _corners(token.box, scale) for token in tokens}
    cols = {token.col: _corners(token.box, scale) for token in tokens}
    end = 0.0
    for row, (_, y0, _, y1) in sorted(rows.items()):
        middle = (y0 + y1) / 2 + LABEL / 2
        if middle - LABEL >= end:
            letters.draw(pen, (MARGIN - 6 - letters.width(str(row), LABEL), middle), str(row), LABEL, INK)
            end = middle + 2
    end = 0.0
    for col, (x0, _, x1, _) in sorted(cols.items()):
        start = (x0 + x1 - letters.width(str(col), LABEL)) / 2
        if start >= end:
            end = letters.draw(pen, (start, MARGIN + TITLE - 6), str(col), LABEL, INK) + 4


def _title(views: Sequence[View]) -> str:
    first = views[0]
    size = f"{first.rows} rows x {first.cols} columns"
    if len(views) == 1:
        return f"view {first.index}: {first.kind}, {size}"
    return f"views {first.index} to {views[-1].index}: {len(views)} tiles, each {size}"


def _patch(pen: ImageDraw.ImageDraw, letters: Letters, token: VisualToken, label: str, scale: float) -> None:
    x0, y0, x1, y1 = _corners(token.box, scale)
    pen.rectangle((x0, y0, x1, y1), outline=DARK, width=1)
    pen.rectangle((x0 + 1, y0 + 1, max(x0 + 1, x1 - 1), max(y0 + 1, y1 - 1)), outline=BRIGHT, width=1)
    if x1 - x0 >= _MIN_LABELLED and y1 - y0 >= _MIN_LABELLED:
        wide = max(letters.width(text, LABEL) for text in (label, f"#{token.index}"))
        pen.rectangle((x0 + 2, y0 + 2, min(x0 + 7 + wide, x1 - 2), y0 + 2 * LABEL + 9), fill=PAPER)
        letters.draw(pen, (x0 + 4, y0 + LABEL + 3), label, LABEL, DARK)
        letters.draw(pen, (x0 + 4, y0 + 2 * LABEL + 5), f"#{token.index}", LABEL, DARK)


def _corners(box: PixelBox, scale: float) -> tuple[float, float, float, float]:
    left, top = MARGIN, MARGIN + TITLE
    return left + box.x0 * scale, top + box.y0 * scale, left + box.x1 * scale, top + box.y1 * scale
