"""What the lenses said about the answer to each image of an evaluation, one JSON line an image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..query.recall import Recall
from ..schemas.jsonl import JsonLines
from ..schemas.reading import checked, parse_json
from .records import Words, recall_of, words_by_layer

ANSWERS_FILE = "answers.jsonl"


@dataclass(frozen=True, slots=True)
class AnswerWords:
    """What a model answered to one image, and what the lenses said at each position of that.

    Attributes:
        name: of the image, as in :class:`evaluate.annotations.AnnotatedImage`.
        sha256: of the file.
        answer: what the model said.
        own: of each position the word of the answer that its token belongs to.
        emitted: of each position the word that the model goes on with: that of the next token.
        words: layer → lens → the words at each position, best first.
        recall: as :attr:`evaluate.records.ImageWords.recall`.
    """

    name: str
    sha256: str
    answer: str
    own: Words
    emitted: Words
    words: Mapping[int, Mapping[str, tuple[Words, ...]]]
    recall: Recall | None = None

    def to_json(self) -> str:
        """One line."""
        data = {
            "image": self.name,
            "sha256": self.sha256,
            "answer": self.answer,
            "own": self.own,
            "emitted": self.emitted,
            "words": self.words,
            **({} if self.recall is None else {"recall": asdict(self.recall)}),
        }
        return json.dumps(data, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> AnswerWords:
        """Read a line back.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        data: dict[str, Any] = parse_json(line, dict[str, Any])
        found = cls(
            name=data["image"],
            sha256=data["sha256"],
            answer=data["answer"],
            own=tuple(data["own"]),
            emitted=tuple(data["emitted"]),
            words=words_by_layer(data["words"]),
            recall=recall_of(data["recall"]) if "recall" in data else None,
        )
        count = len(found.own)
        rows = [row for lenses in found.words.values() for row in lenses.values()]
        if len(found.emitted) != count or any(len(row) != count for row in rows):
            raise ValueError(f"words of other than its {count} positions")
        return checked(found)


class AnswersFile:
    """The lines written so far. The settings that decide them are in the ``run.json`` of the folder.

    Args:
        folder: of a run that :class:`evaluate.records.WordsFile` has taken up or begun.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self._lines = JsonLines(folder / ANSWERS_FILE, "Delete the file and evaluate again.")

    def read(self) -> list[AnswerWords]:
        """Every whole line; the half line of a run that was killed is cut off.

        Raises:
            InputError: a line that is none.
        """
        return self._lines.read(AnswerWords.from_json)

    def append(self, found: Sequence[AnswerWords]) -> None:
        """Write lines so that they would survive a power failure."""
        self._lines.append(words.to_json() for words in found)
