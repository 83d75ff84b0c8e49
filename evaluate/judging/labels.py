"""Labels that people have filled in, read back: whatever a spreadsheet has made of the list."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...schemas.errors import InputError
from ...schemas.files import read_given
from ...show.display import clean, cut
from .verdict import KINDS

_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Labels:
    """One person's labels.

    Attributes:
        rater: name of the file, without its ending.
        verdicts: item → one of :data:`evaluate.judging.verdict.KINDS`.
        missing: items without a label.
        notes: what was left out, one sentence each.
    """

    rater: str
    verdicts: Mapping[str, str]
    missing: int
    notes: tuple[str, ...]


def read_labels(path: Path, items: Iterable[str]) -> Labels:
    """Read a list back: CSV (comma, semicolon or tab; UTF-8, UTF-16 or a Windows code page) or JSONL.

    ``item`` and ``label`` are read, other columns may have gone. A label is a verdict or its first
    letter, in any case. Empty ones are missing; those that are no verdict, those of items that
    were not exported, and those of items that are labelled twice and differently are left out and
    counted in ``notes``.

    Args:
        path: the file.
        items: those that were exported.

    Raises:
        InputError: it cannot be read, has no such columns, or not one label.
    """
    known = set(items)
    seen: dict[str, set[str]] = {}
    strange: Counter[str] = Counter()
    foreign = 0
    for item, label in _rows(path):
        number = _number(item, known)
        verdict = _verdict(label)
        if number is None:
            foreign += bool(item.strip() or label.strip())
        elif verdict is not None:
            seen.setdefault(number, set()).add(verdict)
        elif label.strip():
            strange[label.strip()] += 1
    verdicts = {item: next(iter(labels)) for item, labels in seen.items() if len(labels) == 1}
    if not verdicts:
        raise InputError(
            f"{path} holds no label.", f"Expected one of {', '.join(KINDS)} in the column label of at least one item."
        )
    missing = len(known) - len(seen)
    return Labels(path.stem, verdicts, missing, tuple(_notes(path, missing, len(known), strange, foreign, seen)))


def _notes(
    path: Path, missing: int, count: int, strange: Counter[str], foreign: int, seen: Mapping[str, set[str]]
) -> Iterator[str]:
    name = path.name
    if missing:
        yield f"{name}: {missing:,} of {count:,} items have no valid label."
    if strange:
        shown = ", ".join(repr(cut(clean(label), 24)) for label, _ in strange.most_common(3))
        yield (
            f"{name}: {strange.total():,} labels are not one of {', '.join(KINDS)} and were left out, such as {shown}."
        )
    if foreign:
        yield f"{name}: {foreign:,} rows have items that were not exported; they were left out."
    twice = sum(len(labels) > 1 for labels in seen.values())
    if twice:
        yield f"{name}: {twice:,} items have two different labels; they were left out."


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    text = _decoded(read_given(path, _MAX_BYTES))
    return _jsonl(path, text) if text.lstrip().startswith("{") else _csv(path, text)


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # only numbers and labels are read: ASCII in both


def _csv(path: Path, text: str) -> Iterator[tuple[str, str]]:
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        names = [name.strip().casefold() for name in next(rows, [])]
        places = _places(path, names)
        for row in rows:
            if any(cell.strip() for cell in row):
                item, label = (row[place] if place < len(row) else "" for place in places)
                yield item, label
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV file: {error}.", "Save it as CSV again.") from error


def _places(path: Path, names: Sequence[str]) -> tuple[int, int]:
    if "item" not in names or "label" not in names:
        raise InputError(
            f"{path} has no columns item and label; found {cut(clean(', '.join(names)), 100) or 'nothing'}.",
            "Keep the first line of labels.csv.",
        )
    return names.index("item"), names.index("label")


def _jsonl(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            item, label = row["item"], row.get("label")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"Line {number} of {path} is not an item: {error}.", "Expected lines of labels.jsonl."
            ) from error
        yield str(item), "" if label is None else str(label)


def _number(item: str, known: set[str]) -> str | None:
    """The item's number; spreadsheets take leading zeros off."""
    item = item.strip().lstrip("'")
    if item in known:
        return item
    width = len(next(iter(known), ""))
    return item.zfill(width) if item.isdecimal() and item.zfill(width) in known else None


def _verdict(label: str) -> str | None:
    folded = label.strip().strip("'\"").casefold()
    return next((kind for kind in KINDS if folded in (kind, kind[0])), None)
