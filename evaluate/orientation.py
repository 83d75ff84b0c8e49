"""Boxes of turned photographs: a camera stores a picture lying on its side, and says in EXIF how it was held.

Models are shown images upright. Annotation tools write boxes of the stored picture or of the upright one; where the
two differ in size, the annotated size tells which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..schemas.results import PixelBox
from .annotations import AnnotatedImage, Thing
from .image_finder import header_of

#: EXIF orientations that exchange width and height.
ON_ITS_SIDE = (5, 6, 7, 8)
_ORIENTED = range(2, 9)


def upright(images: Sequence[AnnotatedImage]) -> tuple[list[AnnotatedImage], list[str]]:
    """Turn the boxes of pictures that lie on their side, where they are of the stored picture.

    Args:
        images: as annotated.

    Returns:
        The images with boxes and sizes of the upright pictures; and what a reader should know of it.
    """
    turned: list[str] = []
    already: list[str] = []
    unclear: list[str] = []
    found = []
    for image in images:
        stored, orientation = _header(image)
        if stored is None or orientation not in _ORIENTED:
            found.append(image)
        elif orientation in ON_ITS_SIDE and image.size == stored and stored[0] != stored[1]:
            turned.append(image.name)
            found.append(_turned(image, stored, orientation))
        else:
            told = orientation in ON_ITS_SIDE and image.size is not None and stored[0] != stored[1]
            (already if told else unclear).append(image.name)
            found.append(image)
    return found, _notes(turned, already, unclear)


def turned_box(box: PixelBox, stored: tuple[int, int], orientation: int) -> PixelBox:
    """Where a box of the stored picture lies in the upright one.

    Args:
        box: in pixels of the stored picture.
        stored: its width and height.
        orientation: EXIF's number, 1 to 8.
    """
    (x0, y0), (x1, y1) = (
        _point(x, y, stored, orientation) for x, y in ((box.x0, box.y0), (box.x1, box.y1))
    )  # opposite corners stay opposite
    return PixelBox(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def _point(x: float, y: float, stored: tuple[int, int], orientation: int) -> tuple[float, float]:
    width, height = stored
    return {
        1: (x, y),
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (height - y, x),
        7: (height - y, width - x),
        8: (y, width - x),
    }[orientation]


def _header(image: AnnotatedImage) -> tuple[tuple[int, int] | None, int]:
    """The stored size and orientation, where boxes or a size depend on it."""
    if not image.things and image.size is None:
        return None, 1
    return header_of(Path(image.path)) or (None, 1)


def _turned(image: AnnotatedImage, stored: tuple[int, int], orientation: int) -> AnnotatedImage:
    things = tuple(Thing(one.concept, turned_box(one.box, stored, orientation), one.crowd) for one in image.things)
    return replace(image, things=things, size=(stored[1], stored[0]))


def _notes(turned: list[str], already: list[str], unclear: list[str]) -> list[str]:
    said = (
        (turned, "boxes of the stored picture, according to the annotated size: the boxes were turned upright with it"),
        (already, "boxes of the upright picture, according to the annotated size"),
        (
            unclear,
            "boxes whose orientation the annotated size does not show: they are read as boxes of the upright picture",
        ),
    )
    return [
        f"{len(names)} photographs are stored rotated (EXIF orientation) and have {what} (the first: {names[0]})."
        for names, what in said
        if names
    ]
