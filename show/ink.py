"""Colours on a terminal, as far as it has them: scores as shades, and a small picture of an image."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from PIL import Image

from .display import RESET

# Viridis: equal steps look equal, to colour-blind eyes, too.
_RAMP = (
    (68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140),
    (40, 174, 128), (94, 201, 98), (173, 220, 48), (253, 231, 37),
)  # fmt: skip
#: Largest preview, in columns and lines.
PREVIEW = (44, 15)
_UPPER_HALF = "▀"

Colour = tuple[int, int, int]


class Ink(IntEnum):
    """What a terminal can show; each has all of those before it."""

    PLAIN = 0
    STYLES = 1  # bold and dim
    INDEXED = 2  # 256 colours
    TRUE = 3  # 24 bits a colour


def shaded(text: str, share: float, ink: Ink) -> str:
    """The text on a shade, from dark for 0 to bright for 1; as it is where there are no colours."""
    if ink < Ink.INDEXED or not text:
        return text
    back = ramp(share)
    front = (20, 20, 16) if _luminance(back) > 0.18 else (255, 255, 255)
    return f"\x1b[{_code(front, ink, 38)};{_code(back, ink, 48)}m{text}{RESET}"


def ramp(share: float) -> Colour:
    """The colour of a share from 0 to 1."""
    at = min(1.0, max(0.0, share)) * (len(_RAMP) - 1)
    low = min(int(at), len(_RAMP) - 2)
    red, green, blue = (round(a + (b - a) * (at - low)) for a, b in zip(_RAMP[low], _RAMP[low + 1], strict=True))
    return red, green, blue


def preview_lines(
    picture: Image.Image, width: int, ink: Ink, marks: Sequence[tuple[float, float, float, float]] = ()
) -> list[str]:
    """An image in blocks of half a character, within :data:`PREVIEW`; nothing without colours.

    Args:
        picture: RGB.
        width: columns there are.
        ink: what the terminal can show.
        marks: boxes to frame: left, top, right and bottom as shares of the image's sides.
    """
    if ink < Ink.INDEXED:
        return []
    most_columns, most_lines = min(PREVIEW[0], width), PREVIEW[1]
    scale = min(most_columns / picture.width, 2 * most_lines / picture.height)
    wide, high = (max(1, round(side * scale)) for side in picture.size)
    small = picture.resize((wide, high + high % 2), Image.Resampling.BOX)
    for left, top, right, bottom in marks:
        _frame(small, (round(left * wide), round(top * high), round(right * wide) - 1, round(bottom * high) - 1))
    lines = []
    for y in range(0, small.height, 2):
        line, before = "", ""
        for x in range(wide):
            upper, lower = (_pixel(small, x, y + half) for half in (0, 1))
            code = f"\x1b[{_code(upper, ink, 38)};{_code(lower, ink, 48)}m"
            line += (code if code != before else "") + _UPPER_HALF
            before = code
        lines.append(line + RESET)
    return lines


def _frame(image: Image.Image, box: tuple[int, int, int, int]) -> None:
    """A frame on the box's own pixels, black and white by turns: one of them shows on any image."""
    left, top = max(0, box[0]), max(0, box[1])
    right, bottom = min(image.width - 1, max(left, box[2])), min(image.height - 1, max(top, box[3]))
    for x in range(left, right + 1):
        for y in range(top, bottom + 1):
            if x in (left, right) or y in (top, bottom):
                image.putpixel((x, y), (255, 255, 255) if (x + y) % 2 else (0, 0, 0))


def _pixel(image: Image.Image, x: int, y: int) -> Colour:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)  # an RGB image has three numbers a pixel
    return int(value[0]), int(value[1]), int(value[2])


def _code(colour: Colour, ink: Ink, kind: int) -> str:
    """The parameters that select a colour; ``kind`` is 38 for letters, 48 for what is behind them."""
    if ink == Ink.TRUE:
        return f"{kind};2;{colour[0]};{colour[1]};{colour[2]}"
    red, green, blue = (round(value / 255 * 5) for value in colour)
    return f"{kind};5;{16 + 36 * red + 6 * green + blue}"


def _luminance(colour: Colour) -> float:
    """Relative luminance, as the accessibility guidelines define it."""
    shares = [value / 255 for value in colour]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
