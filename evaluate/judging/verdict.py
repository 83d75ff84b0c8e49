"""What a judge says of the words of one patch, and how an answer in free text is read as that.

Four verdicts, after the paper (Krojer et al., arXiv 2602.00462, evaluation): **concrete**, a word
names or describes what is in the marked region; **abstract**, it is related to that in meaning;
**global**, it names or describes something elsewhere in the image; **none**. The first of them that
holds for a word counts, and all but *none* are *interpretable*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

KINDS = ("concrete", "abstract", "global", "none")
# Longer than any verdict with its reasoning; what comes last counts.
_READ = 20_000
_TRIES = 200
_QUOTES = " \t\r\n\"'`*.,;:!()[]"


class UnclearVerdictError(ValueError):
    """An answer that is no verdict; the text says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict on one patch's words.

    Attributes:
        kind: one of :data:`KINDS`.
        words: those of the words for which it holds; none for ``none``.
    """

    kind: str
    words: tuple[str, ...] = ()


def parse_verdict(text: str, shown: Sequence[str]) -> Verdict:
    """Read an answer: the last JSON object in it that has a ``verdict``, whatever stands around it.

    Args:
        text: the answer.
        shown: the words that were judged; others in the answer do not count.

    Raises:
        UnclearVerdictError: no such object, another verdict than the four, or none of the words is
            named as the reason of a verdict other than ``none``.
    """
    answers = [found for found in _objects(text[-_READ:]) if "verdict" in found]
    if not answers:
        raise UnclearVerdictError("the answer has no JSON object with a verdict")
    answer = answers[-1]
    kind = answer["verdict"].strip(_QUOTES).casefold() if isinstance(answer["verdict"], str) else None
    if kind not in KINDS:
        raise UnclearVerdictError(f"its verdict is not one of {', '.join(KINDS)}")
    if kind == "none":
        return Verdict(kind)
    words = _named(answer.get("words"), shown)
    if not words:
        raise UnclearVerdictError(f"it says {kind}, but names none of the words as the reason")
    return Verdict(kind, words)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, keys in lower case; one inside another comes after it."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(_TRIES):
        if start < 0:
            return
        try:
            found, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield {str(key).strip().casefold(): value for key, value in found.items()}
        start = text.find("{", start + 1)


def _named(named: Any, shown: Sequence[str]) -> tuple[str, ...]:
    listed = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    folded = {word.strip(_QUOTES).casefold() for word in listed if isinstance(word, str)}
    whole = {word.strip().casefold() for word in listed if isinstance(word, str)}
    kept = (w for w in shown if w.strip().casefold() in whole or w.strip(_QUOTES).casefold() in folded - {""})
    return tuple(dict.fromkeys(kept))
