"""What judges have answered, one JSON line a question; nothing that is on record is asked again.

A line belongs to a question and to a judge (endpoint, model, request fields, wording, pictures), so
that answers of another judge in the same folder are kept and not mixed in.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...schemas.jsonl import JsonLines
from ...schemas.reading import checked, parse_json
from .verdict import KINDS, Verdict

JUDGEMENTS_FILE = "judgements.jsonl"
_LONGEST_ANSWER = 2000


@dataclass(frozen=True, slots=True)
class Judgement:
    """One answer on record.

    Attributes:
        question: id of the question.
        judge: id of the judge.
        model: of the judge, as it was asked for.
        image: name of the image, for a person who reads the file.
        patch: view, row, column.
        shown: the words as they were shown.
        verdict: one of :data:`evaluate.judging.verdict.KINDS`; ``None`` where no answer could be read.
        words: the reason.
        problem: why there is no verdict.
        answer: what was said, cut to a bearable length.
        answered_by: the model, as the server says.
        calls: requests that it took.
        prompt_tokens: of all of them together, as reported; ``None`` where not.
        completion_tokens: likewise.
    """

    question: str
    judge: str
    model: str
    image: str
    patch: tuple[int, int, int]
    shown: tuple[str, ...]
    verdict: str | None
    words: tuple[str, ...]
    problem: str | None
    answer: str
    answered_by: str
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None

    @property
    def tokens(self) -> int:
        """Prompt and completion, as far as reported."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    def to_verdict(self) -> Verdict | None:
        """The verdict, where there is one."""
        return None if self.verdict is None else Verdict(self.verdict, self.words)


class JudgementsFile:
    """The answers in a folder, written from any number of threads.

    Args:
        folder: of the evaluation.

    Raises:
        InputError: a line that is no answer.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is there; the half line of a run that was killed is cut off."""
        self.path = folder / JUDGEMENTS_FILE
        self._lock = threading.Lock()
        self._lines = JsonLines(self.path, "Delete that line; the question is then asked again.")
        self.all: list[Judgement] = self._lines.read(lambda line: _judgement(parse_json(line, dict[str, Any])))

    def of(self, judge: str) -> dict[str, Judgement]:
        """Question → its last answer by a judge; one with a verdict goes before one without."""
        found: dict[str, Judgement] = {}
        for one in self.all:
            known = found.get(one.question)
            if one.judge == judge and (known is None or known.verdict is None or one.verdict is not None):
                found[one.question] = one
        return found

    def append(self, judgement: Judgement) -> None:
        """Write a line so that it would survive a power failure."""
        line = json.dumps({**asdict(judgement), "answer": judgement.answer[:_LONGEST_ANSWER]}, ensure_ascii=True)
        self._lines.append([line])
        with self._lock:
            self.all.append(judgement)


def _judgement(data: Mapping[str, Any]) -> Judgement:
    if data["verdict"] is not None and data["verdict"] not in KINDS:
        raise ValueError(f"unknown verdict: {data['verdict']!r}")
    lists = {name: tuple(data[name]) for name in ("patch", "shown", "words")}
    return checked(Judgement(**{**data, **lists}))
