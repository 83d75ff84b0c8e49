"""What is asked about, before any lens has read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..schemas.positions import Emitted, PositionKind, SourceImage
from ..schemas.results import PixelBox, View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class AskedToken:
    """A token before it has been read; fields as in :class:`schemas.results.TokenReading`."""

    index: int
    label: str
    view: int | None = None
    row: int | None = None
    col: int | None = None
    box: PixelBox | None = None
    char_start: int | None = None
    char_end: int | None = None
    kind: PositionKind = "text"
    image: int | None = None
    emitted: Emitted | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Images of one prompt, or a text; fields as in :class:`schemas.results.Reading`, and beside them:

    Attributes:
        tokens: in sequence order.
        states: layer → ``[len(tokens), dim]`` raw states, float32, by layer.
        patches: the patches that were asked for; empty for all.
        pictures: the images, as they are shown (:func:`query.pixels.reduced`); none for a text.
    """  # noqa: D415 - a list follows

    kind: str
    source: str
    sha256: str
    prompt: str
    tokens: tuple[AskedToken, ...]
    states: Mapping[int, Floats]
    width: int | None = None
    height: int | None = None
    views: tuple[View, ...] = ()
    notes: tuple[str, ...] = ()
    patches: tuple[tuple[int, int], ...] = ()
    read: tuple[PositionKind, ...] = ("text",)
    images: tuple[SourceImage, ...] = ()
    answer: str | None = None
    answer_given: bool | None = None
    pictures: tuple[Image.Image, ...] = ()
