"""Text of unknown origin on a terminal: made harmless, measured in columns, cut to fit.

Sentences come from corpora, names from file systems: either may hold escape sequences that
repaint the screen, or marks that turn the reading direction round.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

ELLIPSIS = "…"
BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_STYLE = re.compile("\x1b\\[[0-9;]*m")
# Joiners that some scripts (Persian, Hindi) are spelled with; between letters they are harmless.
_SPELLING = "\u200c\u200d"
# What a joiner makes one sign of: pictures, and the tones of skin that follow them.
_PICTURES, _ARROWS = ("So", "Sk"), 0x2190
_MAX_MARKS = 4  # more marks on one letter are not writing but a way to paint over other lines


def clean(text: str) -> str:
    """Text that can only show itself, on one line.

    White space of any kind becomes single spaces; control characters, lone surrogates and
    characters without a meaning become U+FFFD; invisible formatting (bidirectional overrides,
    zero-width characters, tags) is dropped.
    """
    if text.isascii() and text.isprintable() and "  " not in text:
        return text
    kept: list[str] = []
    marks = 0
    text = unicodedata.normalize("NFC", text)
    for char, following in zip(text, [*text[1:], ""], strict=True):
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in ("Zs", "Zl", "Zp") or char in "\t\n\r\v\f\x85":
            kept.append(" ")
        elif category in ("Cc", "Cs", "Co", "Cn"):
            kept.append("\ufffd")
        elif char in _SPELLING:
            before = unicodedata.category(kept[-1]) if kept else "  "
            pictures = before in _PICTURES and char == "\u200d" and bool(following) and ord(following) >= _ARROWS
            if before[0] in "LM" or (pictures and unicodedata.category(following)[0] == "S"):
                kept.append(char)
        elif category != "Cf" and not "\ufe00" <= char <= "\ufe0f" and marks <= _MAX_MARKS:
            kept.append(char)
    return re.sub(" {2,}", " ", "".join(kept))


def is_right_to_left(text: str) -> bool:
    """By its first letter that has a direction, as browsers decide it."""
    return next((d in ("R", "AL") for d in map(unicodedata.bidirectional, text) if d in ("L", "R", "AL")), False)


def columns(text: str) -> int:
    """Terminal columns that a line takes; our own styles take none."""
    return sum(width for _, width in _clusters(_STYLE.sub("", text)))


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """Characters with the marks that sit on them or what a joiner joins them with, and their columns."""
    cluster, width = "", 0
    for char in text:
        wide = _char_columns(char)
        if cluster and wide and not cluster.endswith("\u200d"):
            yield cluster, width
            cluster, width = "", 0
        cluster += char
        width += wide
    if cluster:
        yield cluster, width


def _char_columns(char: str) -> int:
    """0 for marks, 2 for East Asian wide characters and most emoji, else 1."""
    if " " <= char <= "~":
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The text in at most ``width`` columns, with an ellipsis where its end is missing."""
    if columns(text) <= width:
        return text
    return _take(text, width - 1).rstrip() + ELLIPSIS if width > 0 else ""


def cut_left(text: str, width: int) -> str:
    """As :func:`cut`, with the beginning missing."""
    if columns(text) <= width:
        return text
    if width <= 0:
        return ""
    room = width - 1
    kept: list[str] = []
    for cluster, wide in reversed(list(_clusters(text))):
        if wide > room:
            break
        kept.append(cluster)
        room -= wide
    return ELLIPSIS + "".join(reversed(kept)).lstrip()


def _take(text: str, width: int) -> str:
    kept = []
    for cluster, wide in _clusters(text):
        if wide > width:
            break
        kept.append(cluster)
        width -= wide
    return "".join(kept)


def fit(text: str, width: int) -> str:
    """The text in exactly ``width`` columns, cut or filled up."""
    shown = cut(text, width)
    return shown + " " * (width - columns(shown))


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Words in lines of at most ``width`` columns, each beginning with ``indent``."""
    lines: list[str] = []
    line = ""
    room = width - columns(indent)
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if columns(joined) > room and line:
            lines.append(line)
            joined = word
        line = joined
        while columns(line) > room:  # a word longer than a line
            head = _take(line, room)
            lines.append(head)
            line = line[len(head) :]
    return [indent + shown for shown in (*lines, line)]


def marked(sentence: str, start: int, end: int, width: int, color: bool = False) -> str:
    """A sentence shortened around ``sentence[start:end]``, which is marked.

    Only what stands up to there can have influenced a causal model's state; with colour the rest
    is dimmed.

    Args:
        sentence: as stored, not yet cleaned.
        start: first character to mark.
        end: one past the last.
        width: columns there are.
        color: bold and dim; else the mark is ``[brackets]``.
    """
    word = clean(sentence[start:end]).strip()
    before, after = clean(sentence[:start]).lstrip(), clean(sentence[end:]).rstrip()
    word = cut(word, max(1, width - (0 if color else 2)))
    room = width - columns(word) - (0 if color else 2)
    # What was read before the word explains its state, so it gets the larger share.
    left = max(room * 3 // 5, room - columns(after))
    before = cut_left(before, left)
    after = cut(after, room - columns(before))
    if color:
        tail = f"{DIM}{after}{RESET}" if after else ""
        return f"{before}{BOLD}{word}{RESET}{tail}"
    return f"{before}[{word}]{after}"
