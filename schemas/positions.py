"""What kinds of positions a reading may cover, and what is on record about them (docs/results.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``image``: a patch. ``prompt``: a token of the text around the images. ``answer``: one of what the model says, or is
#: made to say. ``special``: what stands for no text. ``text``: a token of a text that was read alone.
PositionKind = Literal["image", "prompt", "answer", "special", "text"]
#: Those that can be asked for of images, in the order that they are told in.
READ_KINDS: tuple[PositionKind, ...] = ("image", "prompt", "answer", "special")


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of a prompt.

    Attributes:
        source: file name of the image.
        sha256: of the file's bytes.
        width: in pixels, EXIF orientation applied.
        height: likewise.
    """

    source: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Emitted:
    """The token that the model says next at a position: the one with the highest logit of its own head.

    Attributes:
        word: what a person would read: the decoded token without the space around it.
        token: the tokenizer's own string.
        token_id: its vocabulary id.
    """

    word: str
    token: str
    token_id: int
