"""Text in pictures: fonts that have the characters, and what to do where none has.

Pillow's own font, always there, has little beyond ASCII; for other characters the fonts that machines
usually have are tried. A text is drawn in one font where one has all of it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby

from PIL import ImageDraw, ImageFont

from .pen import Font, Pen

# File names as Linux distributions, macOS and Windows have them; wide coverage first.
_FALLBACKS = (
    "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "segoeui.ttf", "LiberationSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "Hiragino Sans GB.ttc", "msyh.ttc", "YuGothM.ttc", "malgun.ttf",
    "NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf",
    "NotoSansBengali-Regular.ttf", "NotoSansThai-Regular.ttf", "NotoSansSymbols2-Regular.ttf", "NotoEmoji-Regular.ttf",
    "seguisym.ttf", "seguiemj.ttf",
)  # fmt: skip
_NO_CHARACTER = "\U0010ffff"  # drawn as whatever a font shows for characters that it lacks


class Letters:
    """Measures and draws texts, and remembers the characters that no font has."""

    def __init__(self) -> None:
        """Start without any missing character."""
        self.missing: set[str] = set()

    def width(self, text: str, size: int) -> float:
        """Pixels that a text takes."""
        return sum(font.getlength(part) for part, font in self._runs(text, size))

    def draw(self, pen: ImageDraw.ImageDraw | Pen, at: tuple[float, float], text: str, size: int, colour: str) -> float:
        """Draw a text with its baseline's left end ``at`` a place; returns where it ends."""
        x, y = at
        for part, font in self._runs(text, size):
            pen.text((x, y), part, fill=colour, font=font, anchor="ls")
            x += font.getlength(part)
        return x

    def _runs(self, text: str, size: int) -> Iterator[tuple[str, Font]]:
        """Parts of a text and their fonts; one part where one font has all of it."""
        for number in range(len(_FALLBACKS) + 1):
            font = _font(number, size)
            if font is not None and all(_has(number, char) for char in text):
                yield text, font
                return
        for choice, chars in groupby(text, _first_with):
            part = "".join(chars)
            if choice is None:
                self.missing |= set(part)
            font = _font(choice or 0, size)
            assert font is not None  # the first is Pillow's own, and others are chosen because they are there
            yield part, font


@lru_cache(maxsize=256)
def _font(number: int, size: int) -> Font | None:
    """Pillow's own font, then the fallbacks; ``None`` where the machine lacks one."""
    if number == 0:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(_FALLBACKS[number - 1], size)
    except OSError:
        return None


@lru_cache(maxsize=65536)
def _first_with(char: str) -> int | None:
    return next((n for n in range(len(_FALLBACKS) + 1) if _has(n, char)), None)


@lru_cache(maxsize=65536)
def _has(number: int, char: str) -> bool:
    """Whether a font has a character: it looks unlike what the font shows for those it lacks."""
    font = _font(number, 24)
    if font is None:
        return False
    if char.isspace() or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return True  # nothing of its own to see
    return _look(font, char) != _look(font, _NO_CHARACTER)


def _look(font: Font, char: str) -> tuple[object, bytes]:
    mask = font.getmask(char)
    return mask.size, bytes(mask)


def cut_end(letters: Letters, text: str, size: int, width: float) -> str:
    """As much of a text's beginning as fits, with an ellipsis where it was cut."""
    return text if letters.width(text, size) <= width else _longest(letters, text, size, width, from_end=False)


def cut_start(letters: Letters, text: str, size: int, width: float) -> str:
    """As much of a text's end as fits, with an ellipsis where it was cut."""
    return text if letters.width(text, size) <= width else _longest(letters, text, size, width, from_end=True)


def _longest(letters: Letters, text: str, size: int, width: float, from_end: bool) -> str:
    low, high = 0, len(text)
    shown = ""
    while low < high:
        middle = (low + high + 1) // 2
        candidate = "…" + text[-middle:].lstrip() if from_end else text[:middle].rstrip() + "…"
        if letters.width(candidate, size) <= width:
            low, shown = middle, candidate
        else:
            high = middle - 1
    return shown


def named(chars: Iterable[str], most: int = 8) -> str:
    """Characters as a person can look them up: ``猫 (U+732B), …``."""
    ordered = sorted(chars)
    shown = ", ".join(f"{char} (U+{ord(char):04X})" for char in ordered[:most])
    return shown + (f" and {len(ordered) - most} more" if len(ordered) > most else "")
