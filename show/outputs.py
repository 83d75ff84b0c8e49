"""Readings in the form that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.frames import to_csv
from ..schemas.results import Reading
from .figure import draw_figure
from .ink import Ink
from .pictures import Drawn
from .render import to_json, to_table
from .report import to_html


def render(
    readings: Sequence[Reading],
    pictures: Sequence[Drawn],
    form: str,
    width: int = 100,
    ink: Ink = Ink.PLAIN,
    command: str = "",
) -> tuple[str | bytes, tuple[str, ...]]:
    """Readings as ``table``, ``json``, ``csv``, ``html``, ``png``, ``svg`` or ``pdf``.

    Args:
        readings: at least one.
        pictures: what each is drawn on; see :func:`show.pictures.of_images`.
        form: one of the above.
        width: of a table, in columns.
        ink: of a table: what the terminal can show.
        command: what makes the readings again, for the page.

    Returns:
        The output, and what a user should know of it.
    """
    if form == "json":
        return to_json(readings), ()
    if form == "html":
        return to_html(readings, pictures, command), ()
    if form == "csv":
        return to_csv(row for reading in readings for row in reading.rows()).rstrip("\n"), ()
    if form in ("png", "svg", "pdf"):
        return draw_figure(readings, pictures, form)
    return to_table(readings, width, ink, pictures), ()
