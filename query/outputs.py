"""A query's answers in the form that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from query.figure import to_png
from query.images import OpenedImage, open_image
from query.ink import Ink
from query.pictures import reduced
from query.pipeline import QuerySession
from query.render import to_json, to_table
from query.report import to_html
from schemas.results import Reading


@dataclass(frozen=True)
class Answer:
    """A reading and what it is drawn on.

    Attributes:
        reading: of an image or a text.
        picture: the image, reduced where it is large; ``None`` for a text.
    """

    reading: Reading
    picture: Image.Image | None


def ask(
    session: QuerySession,
    images: Sequence[str | Path | OpenedImage],
    texts: Sequence[str],
    max_pixels: int,
    centre_images: Sequence[Path] = (),
) -> list[Answer]:
    """Read images, then texts.

    Args:
        session: the lenses.
        images: files, or ``-``.
        texts: to read after them.
        max_pixels: larger images are refused.
        centre_images: of a centred session: subtract the mean of these images' states; the images
            asked about where there are none.

    Raises:
        LensbankError: see :meth:`query.pipeline.QuerySession.image` and ``text``.
    """
    answers = []
    if session.options.centre:  # read more than once, which standard input cannot be
        images = [open_image("-", max_pixels) if image == "-" else image for image in images]
    if centre_images:
        session.centre_on(centre_images, "folder")
    elif session.options.centre and len(images) > 1:
        session.centre_on(images)
    for image in images:
        opened = image if isinstance(image, OpenedImage) else open_image(image, max_pixels)
        answers.append(Answer(session.image(opened), reduced(opened.image)))
    return answers + [Answer(session.text(text), None) for text in texts]


def render(
    answers: Sequence[Answer], form: str, width: int = 100, ink: Ink = Ink.PLAIN, command: str = ""
) -> tuple[str | bytes, tuple[str, ...]]:
    """The answers as ``table``, ``json``, ``html`` or ``png``.

    Args:
        answers: at least one.
        form: one of the above.
        width: of a table, in columns.
        ink: of a table: what the terminal can show.
        command: what makes the answers again, for the page.

    Returns:
        The output, and what a user should know of it.
    """
    readings, pictures = [answer.reading for answer in answers], [answer.picture for answer in answers]
    if form == "json":
        return to_json(readings), ()
    if form == "html":
        return to_html(readings, pictures, command), ()
    if form == "png":
        return to_png(readings, pictures)
    return to_table(readings, width, ink, pictures), ()
