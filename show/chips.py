"""Tokens that are no patches as text: what stands at their positions, made harmless for a page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..schemas.results import Reading, TokenReading
from .spelling import decoded, spelled

# Control characters beside tab, line ends and U+0085, marks that turn the reading direction round, and
# halves of characters: nothing of these can be read, a browser would obey some, and no SVG may hold others.
_UNREADABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def readable(text: str) -> str:
    """The text with U+FFFD for each character that could only do harm; its length stays."""
    return _UNREADABLE.sub("\ufffd", text)


def chip_texts(reading: Reading, tokens: Sequence[TokenReading]) -> list[str | None]:
    """The text of each token, ``None`` of a patch; parts of one character are numbered.

    Spaces before a token of a prompt or an answer can be seen. A text that was read alone is shown as it stands.
    """
    spans = [(token.kind, token.char_start, token.char_end) for token in tokens]
    sizes, seen = Counter(spans), Counter[tuple[Any, ...]]()
    texts: list[str | None] = []
    for token, span in zip(tokens, spans, strict=True):
        if token.row is not None:
            texts.append(None)
            continue
        text = text_of(reading, token)[token.char_start : token.char_end]
        if token.char_start is None:
            text = token.label if token.kind == "text" else decoded(token.label)
        seen[span] += 1
        parts = f" {seen[span]}/{sizes[span]}" if token.char_start is not None and sizes[span] > 1 else ""
        shown = spelled(text, token.label if token.char_start is None else "") or text
        texts.append(readable(shown if token.kind == "text" else _after_spaces(token.label, shown)) + parts)
    return texts


def _after_spaces(label: str, shown: str) -> str:
    """A token's text behind a sign for each space that is part of the token."""
    word = label.lstrip("Ġ▁ ")
    return "␣" * (len(label) - len(word) if word else 0) + shown.lstrip(" ")


def text_of(reading: Reading, token: TokenReading) -> str:
    """What a token's span counts in."""
    if token.kind == "text":
        return reading.source
    return (reading.answer or "") if token.kind == "answer" else reading.prompt
