"""What the lenses said about each image of an evaluation, one JSON line an image, and when it may be reused.

``run.json`` beside it holds everything that decides those lines. A run with other settings is
refused, with both values: half of one evaluation and half of another would look like a result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..query.recall import Recall
from ..schemas.errors import InputError, UsageError
from ..schemas.files import write_whole
from ..schemas.jsonl import JsonLines
from ..schemas.reading import checked, parse_json, read_json
from ..schemas.results import PixelBox

RUN_FILE = "run.json"
WORDS_FILE = "words.jsonl"
_VERSION = 1
# Characters of a value in a message.
_SHOWN = 80

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """One visual token of an image; fields as in :class:`schemas.results.TokenReading`."""

    view: int
    row: int
    col: int
    box: PixelBox


@dataclass(frozen=True, slots=True)
class ImageWords:
    """What the lenses said about one image.

    Attributes:
        name: of the image, as in :class:`evaluate.annotations.AnnotatedImage`.
        sha256: of the file.
        width: in pixels.
        height: in pixels.
        patches: those that were read.
        words: layer → lens → the words of each patch, best first.
        bank_layers: layer → the bank layers of each patch's neighbours; empty without LatentLens.
        random: layer → lens → the words of each random vector.
        recall: of an approximate search, measured on some states of this image and of those read
            together with it; ``None`` where it was not measured, or one of those has it.
        gaps: layer → lens → the gap of each patch's best word (:class:`schemas.results.Neighbor`), ``None`` where no
            word or no baseline is known; empty in records of earlier versions.
    """

    name: str
    sha256: str
    width: int
    height: int
    patches: tuple[Patch, ...]
    words: Mapping[int, Mapping[str, tuple[Words, ...]]]
    bank_layers: Mapping[int, tuple[tuple[int, ...], ...]]
    random: Mapping[int, Mapping[str, tuple[Words, ...]]]
    recall: Recall | None = None
    gaps: Mapping[int, Mapping[str, tuple[float | None, ...]]] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line."""
        data = {
            "image": self.name,
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "patches": [[p.view, p.row, p.col, p.box.x0, p.box.y0, p.box.x1, p.box.y1] for p in self.patches],
            "words": self.words,
            "bank_layers": self.bank_layers,
            "random": self.random,
            **({} if self.recall is None else {"recall": asdict(self.recall)}),
            **({"gaps": self.gaps} if self.gaps else {}),
        }
        return json.dumps(data, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> ImageWords:
        """Read a line back.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        data: dict[str, Any] = parse_json(line, dict[str, Any])
        found = cls(
            name=data["image"],
            sha256=data["sha256"],
            width=data["width"],
            height=data["height"],
            patches=tuple(Patch(p[0], p[1], p[2], PixelBox(*p[3:])) for p in data["patches"]),
            words=words_by_layer(data["words"]),
            bank_layers={int(layer): tuple(map(tuple, rows)) for layer, rows in data["bank_layers"].items()},
            random=words_by_layer(data["random"]),
            recall=recall_of(data["recall"]) if "recall" in data else None,
            gaps={
                int(layer): {lens: tuple(row) for lens, row in lenses.items()}
                for layer, lenses in data.get("gaps", {}).items()
            },
        )
        return checked(found)


def words_by_layer(data: Mapping[str, Any]) -> dict[int, dict[str, tuple[Words, ...]]]:
    """Layer → lens → words, read back from JSON."""
    return {
        int(layer): {lens: tuple(map(tuple, rows)) for lens, rows in lenses.items()} for layer, lenses in data.items()
    }


def recall_of(data: dict[str, Any]) -> Recall:
    """A recall, read back from JSON."""
    wanted, found = ({int(layer): int(n) for layer, n in data[name].items()} for name in ("wanted", "found"))
    return Recall(int(data["states"]), wanted, found)


class WordsFile:
    """The lines written so far, in a folder that belongs to one run.

    Args:
        folder: made where it does not exist.
        settings: everything that decides the words; JSON types only.

    Raises:
        UsageError: the folder holds a run with other settings.
        InputError: it holds something that cannot be read as a run.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Compare with what is there, or begin."""
        self.path = folder / WORDS_FILE
        self._lines = JsonLines(self.path, "Delete the folder and evaluate again.")
        folder.mkdir(parents=True, exist_ok=True)
        run = folder / RUN_FILE
        if run.exists():
            _require_same(run, settings)
        else:
            _require_no_results(folder)
            write_whole(run, json.dumps({"version": _VERSION, **settings}, indent=1, ensure_ascii=False) + "\n")

    def read(self) -> list[ImageWords]:
        """Every whole line; the half line of a run that was killed is cut off.

        Raises:
            InputError: a line that is none.
        """
        return self._lines.read(ImageWords.from_json)

    def append(self, found: Sequence[ImageWords]) -> None:
        """Write lines so that they would survive a power failure."""
        self._lines.append(words.to_json() for words in found)


def _require_no_results(folder: Path) -> None:
    """Files with our names in a folder that no run of ours has begun are somebody's own."""
    names = (WORDS_FILE, "answers.jsonl", "summary.json", "report.md", "table.txt", "answers.csv")
    foreign = [name for name in names if (folder / name).exists() or (folder / name).is_symlink()]
    if foreign:
        raise UsageError(
            f"{folder} holds {foreign[0]} but no {RUN_FILE}, so it is not the folder of an evaluation; nothing was "
            "written.",
            "Give another --out.",
        )


def _require_same(run: Path, settings: Mapping[str, Any]) -> None:
    try:
        before: dict[str, Any] = read_json(run, dict[str, Any])
    except (OSError, ValueError) as error:
        raise InputError(f"{run} cannot be read ({error}).", "Give another --out, or delete that folder.") from error
    now = json.loads(json.dumps({"version": _VERSION, **settings}))
    differing = list(_differences(before, now))
    if differing:
        shown = "; ".join(differing[:5]) + (f"; and {len(differing) - 5} more" if len(differing) > 5 else "")
        raise UsageError(
            f"{run.parent} holds an evaluation with other settings: {shown}.",
            "Give another --out, or the same options."
            if before.get("rendered_prompt") == now.get("rendered_prompt")
            else "Give another --out. A chat template that prints the date renders another prompt every day: see "
            "docs/evaluation.md.",
        )


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif before != now:
        yield "{} was {}, now {}".format(name, *_short(before, now))


def _short(*values: Any) -> list[str]:
    """Values as JSON; of long ones the part where they begin to differ."""
    texts = [json.dumps(value, ensure_ascii=False) for value in values]
    if max(map(len, texts)) <= _SHOWN:
        return texts
    start = max(len(os.path.commonprefix(texts)) - _SHOWN // 4, 0)
    return [
        ("..." if start else "") + text[start : start + _SHOWN] + ("..." if len(text) > start + _SHOWN else "")
        for text in texts
    ]
