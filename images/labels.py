"""Labels of a score: words, or sentences of the text banks, that speak for each."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal

from ..evaluate.matching import bare, names
from ..schemas.errors import InputError, UsageError
from ..schemas.files import read_given, shown_path
from ..schemas.filters import Condition
from .finding import facets
from .grouping import OpenImages

_KINDS: tuple[Literal["word", "sentence"], ...] = ("word", "sentence")
_LONGEST = 64 << 20
# Characters of a cell: an open quote takes whole files in. Python's own limit is one for the whole process, and others
# move it.
_LONGEST_CELL = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One word or sentence that speaks for a label.

    Attributes:
        label: its name.
        kind: what ``value`` is.
        value: as given.
    """

    label: str
    kind: Literal["word", "sentence"]
    value: str

    def forms(self) -> frozenset[str]:
        """What neighbours are compared with: a word's spellings and plural, folded; a sentence as it is."""
        return names(self.value) if self.kind == "word" else frozenset({self.value})


def words_as_labels(words: Iterable[str]) -> tuple[Entry, ...]:
    """Each word is a label of its own.

    Raises:
        UsageError: none, or a word that no word can equal.
    """
    entries = tuple(Entry(word, "word", word) for word in dict.fromkeys(word.strip() for word in words) if word)
    if not entries:
        raise UsageError("No label was given.", "Example: --labels indoor,outdoor")
    return _checked(entries)


def read_labels(file: Path) -> tuple[Entry, ...]:
    """Labels of a CSV file with the columns ``label`` and ``word`` or ``sentence``; one row an entry.

    Raises:
        InputError: it cannot be read, lacks these columns, has none or a damaged row.
    """
    shown = shown_path(file)
    try:
        text = read_given(file, _LONGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"The labels {shown} are not UTF-8: {error}.", "Give a CSV file in UTF-8.") from error
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip().lower() for name in next(rows, [])]
        numbers = [columns.count(name) for name in ("label", *_KINDS)]
        if numbers[0] != 1 or max(numbers) > 1 or not any(numbers[1:]):
            raise InputError(
                f"The labels {shown} have the columns {', '.join(columns) or 'none'}; expected label and word, or "
                "label and sentence.",
                "First line: label,word",
            )
        entries = [entry for row in rows for entry in _entries(columns, row, f"Line {rows.line_num} of {shown}")]
    except csv.Error as error:
        raise InputError(
            f"The labels {shown} are not a CSV file: line {rows.line_num}: {error}.",
            "Close every quote, and write a quote inside of quotes twice.",
        ) from error
    if not entries:
        raise InputError(f"The labels {shown} have no row with a label and a word or sentence.")
    return _checked(tuple(dict.fromkeys(entries)))


def _entries(columns: Sequence[str], row: Sequence[str], line: str) -> list[Entry]:
    """The entries of a row; none of an empty one.

    Raises:
        InputError: it has no label, neither word nor sentence, more cells than there are columns, or a very long one.
    """
    cells = [cell.strip() for cell in row]
    if not any(cells):
        return []
    if (longest := max(map(len, cells))) > _LONGEST_CELL:
        raise InputError(
            f"{line} has a cell of {longest:,} characters; expected {_LONGEST_CELL:,} at most.",
            "Close every quote, and write a quote inside of quotes twice.",
        )
    if any(cells[len(columns) :]):
        raise InputError(
            f"{line} has {len(cells)} cells, but there are {len(columns)} columns.",
            "Put text with a comma between quotes.",
        )
    found = dict(zip(columns, cells, strict=False))
    entries = [Entry(found.get("label", ""), kind, found[kind]) for kind in _KINDS if found.get(kind)]
    if not found.get("label") or not entries:
        missing = "word or sentence" if found.get("label") else "label"
        raise InputError(f"{line} has no {missing}.", "Complete the line, or delete it.")
    return entries


def things_as_labels(images: OpenImages, where: Sequence[Condition] = ()) -> tuple[str, ...]:
    """Names of the annotated things of the rows that meet conditions, most frequent first.

    Raises:
        UsageError: nothing is annotated.
        StoreError: the database failed.
    """
    names = tuple(name for name, _ in facets(OpenImages(images.banks[:1]), "thing", where, top_k=10_000))
    if not names:
        raise UsageError(
            "--things needs annotated images, but nothing is annotated on these.",
            "Index the images with --annotations, or give --labels.",
        )
    return names


def label_names(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Names of the labels, in order of appearance."""
    return tuple(dict.fromkeys(entry.label for entry in entries))


def matched(entries: Sequence[Entry]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Folded word → numbers of the entries it speaks for, and sentence → likewise."""
    words: dict[str, list[int]] = {}
    sentences: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        for form in entry.forms():
            (words if entry.kind == "word" else sentences).setdefault(form, []).append(number)
    return words, sentences


def spoken_for(word: str, words: dict[str, list[int]]) -> list[int]:
    """Numbers of the entries that a neighbour's word speaks for."""
    return words.get(bare(word), [])


def _checked(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    for entry in entries:
        if not entry.forms() or "" in entry.forms():
            raise UsageError(
                f"The label {entry.label!r} has the value {entry.value!r}, which no word can match.", "Leave it out."
            )
    return entries
