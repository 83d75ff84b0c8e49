"""What table and report say of the model's answers: which of their words the lenses see there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..schemas.results import LENSES
from ..show.display import clean
from .headline import best_rows
from .report_judged import percent

Row = Mapping[str, Any]
_HEADER = [
    "lens", "layer", "positions", "named (95 %)", "shuffled", "own word", "own shuffled", "emitted word",
    "emitted shuffled",
]  # fmt: skip
#: What was counted, in sentences.
RULES = (
    "Counted are the positions of the model's answers to images with at least one thing. *Named*: one of the lens's "
    "words is the name of a thing that the image is annotated with, wherever it is, a synonym or the plural of one. "
    "*Own word*: the same for the word of the answer that the position is in. *Emitted word*: the same for the word "
    "that the model says next. *Shuffled*, the chance level of each: the same words against the things of another "
    "image of the group, as the expectation over all of them."
)


class AnswerTable(NamedTuple):
    """The answers of one group: title, the sentence that sums it up, header and rows."""

    title: str
    said: str
    header: list[str]
    rows: list[list[str]]


def answer_tables(summary: Row) -> list[AnswerTable]:
    """A table for each group; none where no answer was asked for."""
    results = summary["answers"]["results"] if "answers" in summary else []
    return [
        _table(group, [row for row in results if row["group"] == group])
        for group in dict.fromkeys(row["group"] for row in results)
    ]


def _table(group: str, rows: list[Row]) -> AnswerTable:
    count = rows[0]["images"]
    title = f"Answers, {clean(group)} ({count} image{'s' if count != 1 else ''})"
    return AnswerTable(title, _headline(group, rows), _HEADER, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    shares, controls = row["shares"], row["controls"]
    cells = [_lens(row), str(row["layer"]), f"{row['positions']:,}", percent(shares["named"], True)]
    cells += [percent(controls["shuffled"]), percent(shares["own"]), percent(controls["own_shuffled"])]
    return [*cells, percent(shares["emitted"]), percent(controls["emitted_shuffled"])]


def _headline(group: str, rows: list[Row]) -> str:
    best = best_rows(rows, "named")
    if not best:
        return f"{clean(group)}: no position of an answer was read."
    first, *others = best
    layers = len({row["layer"] for row in rows})
    of = f", its best of {layers}," if layers > 1 else ""
    shares, controls = first["shares"], first["controls"]
    told = (
        f"{clean(group)}: at layer {first['layer']}{of} {_lens(first)} names a thing of the image at "
        f"{percent(shares['named'], True)} of {first['positions']:,} answer positions{_chance(controls['shuffled'])}; "
        f"the answers' own words do at {percent(shares['own'], True)}{_chance(controls['own_shuffled'])}, the words "
        f"emitted there at {percent(shares['emitted'], True)}{_chance(controls['emitted_shuffled'])}."
    )
    rest = ", ".join(f"{_lens(row)} {percent(row['shares']['named'], True)} at layer {row['layer']}" for row in others)
    chosen = " The best layers were chosen on the same images." if layers > 1 else ""
    return told + (f" {rest}." if rest else "") + chosen


def _chance(control: Row | None) -> str:
    return "" if control is None else f", by chance {percent(control)}"


def _lens(row: Row) -> str:
    return LENSES.get(row["lens"], clean(row["lens"]))
