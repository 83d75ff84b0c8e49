"""Tokens that are no patches: their texts, made harmless for a page, and which are of a prompt, which of an answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

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
        # A span can be missing, or leave out all white space of a token that is nothing else.
        if token.char_start is None or (token.kind != "text" and not text):
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


class Section(NamedTuple):
    """The chips of a prompt or of an answer.

    Attributes:
        label: what they are.
        items: for each its number in the layer's tokens, its kind and its text; where an image stands among them, no
            number and the kind ``mark``.
    """

    label: str
    items: list[tuple[int | None, str, str]]


def sections(reading: Reading, tokens: Sequence[TokenReading]) -> list[Section]:
    """The tokens of the prompt, then those of the answer; none where only patches, or a text, were read."""
    texts = chip_texts(reading, tokens)
    start = next((token.index for token in tokens if token.kind == "answer"), None)
    prompt: list[tuple[int | None, str, str]] = []
    answer: list[tuple[int | None, str, str]] = []
    marked: set[int | None] = set()
    for number, (token, text) in enumerate(zip(tokens, texts, strict=True)):
        if text is not None:
            (prompt if start is None or token.index < start else answer).append((number, token.kind, text))
        elif token.image not in marked:
            marked.add(token.image)
            several = f" {(token.image or 0) + 1}" if len(reading.images) > 1 else ""
            prompt.append((None, "mark", f"image{several}"))
    named = "Answer, as it was given" if reading.answer_given else "Answer, the model's own"
    found = [Section(_label("Prompt", prompt), prompt), Section(_label(named, answer), answer)]
    return [one for one in found if any(number is not None for number, *_ in one.items) and reading.kind == "image"]


def _label(name: str, items: Sequence[tuple[int | None, str, str]]) -> str:
    return f"{name}; dashed: special tokens" if any(kind == "special" for _, kind, _ in items) else name
