"""Readings of several images and texts, in one session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..schemas.results import Reading
from .images import OpenedImage, open_image
from .pipeline import QuerySession


def read_all(
    session: QuerySession,
    images: Sequence[str | Path | OpenedImage],
    texts: Sequence[str],
    max_pixels: int,
    centre_images: Sequence[Path] = (),
    together: bool = False,
) -> list[Reading]:
    """Read images, then texts.

    Args:
        session: the lenses.
        images: files, or ``-``.
        texts: to read after them.
        max_pixels: larger images are refused.
        centre_images: of a centred session: subtract the mean of these images' states; the images
            asked about where there are none.
        together: show the images to the model in one prompt: they have one reading.

    Raises:
        LensbankError: see :meth:`query.pipeline.QuerySession.image`, ``together`` and ``text``.
    """
    if together:
        return [session.together(images)]
    if session.options.centre:  # read more than once, which standard input cannot be
        images = [open_image("-", max_pixels) if image == "-" else image for image in images]
    if centre_images:
        session.centre_on(centre_images, "folder")
    elif session.options.centre and len(images) > 1:
        session.centre_on(images)
    return [*session.images(images), *map(session.text, texts)]
