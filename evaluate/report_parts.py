"""Parts of the report: its lines folded, hits and misses, the table of concepts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..schemas.results import LENSES
from ..show.display import clean
from .report_judged import percent

Row = Mapping[str, Any]
#: Columns that prose is folded to.
WIDTH = 100
_MOST_CONCEPTS = 200


def escaped(text: str) -> str:
    """Text of unknown origin as Markdown shows it: neither markup nor HTML."""
    return re.sub(r"([\\`*\[\]<>|&])", r"\\\1", clean(text))


def folded_lines(lines: Iterable[str]) -> list[str]:
    """Prose in lines of at most :data:`WIDTH` columns; headings, tables and pictures stay whole."""
    folded: list[str] = []
    for line in lines:
        if len(line) <= WIDTH or line.startswith(("#", "|", "![")):
            folded.append(line)
            continue
        indent = "  " if line.startswith("* ") else ""
        folded += textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return folded


def stacked(header: Sequence[str]) -> list[list[str]]:
    """A table's header with each title's words below each other where that makes columns narrower."""
    titles = [re.split(" (?!%)", title) for title in header]
    if sum(len(title) + 2 for title in header) <= WIDTH:
        titles = [[title] for title in header]
    high = max(map(len, titles), default=1)
    return [
        [words[row - high + len(words)] if row >= high - len(words) else "" for words in titles] for row in range(high)
    ]


def example_lines(pictures: Sequence[tuple[str, Row, str]]) -> list[str]:
    """Hits and misses as pictures; each patch is framed, the thing under it named, and below it the words."""
    if not pictures:
        return []
    lines = ["## Hits and misses", ""]
    lines += [
        "Each picture shows a framed patch, the thing under it, its words, and its place: image, row and column. They "
        "were not chosen by hand: their order is a hash of their place, with different images and things first.",
        "",
    ]
    for kind, of, name in pictures:
        lens = LENSES.get(of["lens"], clean(of["lens"]))
        told = f"{kind.capitalize()} of {lens} at layer {of['layer']}, {of['group']}"
        lines += [escaped(told) + ":", "", f"![{escaped(told)}]({name})", ""]
    return lines


def concept_lines(summary: Row) -> list[str]:
    """Object patches and how many were named, for each concept, at each lens's best layer."""
    rows = summary.get("concepts", ())
    if not rows:
        return []
    places = list(dict.fromkeys((row["group"], row["lens"], row["layer"]) for row in rows))
    lines = [
        "## By concept",
        "",
        "Object patches of each concept, and the share that is named, at the best layer of each lens.",
        "",
    ]
    for group in dict.fromkeys(row["group"] for row in rows):
        mine = [place for place in places if place[0] == group]
        header = [f"{LENSES.get(lens, escaped(lens))}, layer {layer} (95 %)" for _, lens, layer in mine]
        lines += [f"### {escaped(group)}", "", _cells(["concept", "patches", *header]), "|" + "---|" * (2 + len(mine))]
        shares = {(row["lens"], row["concept"]): row for row in rows if row["group"] == group}
        concepts = list(dict.fromkeys(row["concept"] for row in rows if row["group"] == group))
        for concept in concepts[:_MOST_CONCEPTS]:
            found = [shares[lens, concept] for _, lens, _ in mine]
            told = [percent(row["share"], True) for row in found]
            lines.append(_cells([escaped(concept), f"{found[0]['patches']:,}", *told]))
        if len(concepts) > _MOST_CONCEPTS:
            lines += ["", f"{len(concepts) - _MOST_CONCEPTS:,} more concepts with fewer patches are in summary.json."]
        lines.append("")
    return lines


def gap_lines(summary: Row) -> list[str]:
    """How often the best word is right, by how far it stands above its baseline, at each lens's best layer."""
    best = {(row["group"], row["lens"], row["layer"]) for row in summary.get("concepts", ())}
    rows = [row for row in summary.get("gaps", ()) if (row["group"], row["lens"], row["layer"]) in best]
    if not rows:
        return []
    lines = [
        "## Which words to believe",
        "",
        "*Gap*: the score of a patch's best word minus the score that one in a hundred random rows of the bank reaches "
        "for the same patch (for EmbeddingLens: rows of the vocabulary). The object patches are sorted by their gap at "
        "the lens's best layer and cut into quarters. *Right*: the best word alone is the name of a thing under the "
        "patch, a synonym or the plural of one. gaps.csv has every layer.",
        "",
    ]
    header = ["lens", "layer", "gap", "patches", "right (95 %)"]
    for group in dict.fromkeys(row["group"] for row in rows):
        lines += [f"### {escaped(group)}", "", _cells(header), "|" + "---|" * len(header)]
        for row in rows:
            if row["group"] == group:
                lens = LENSES.get(row["lens"], escaped(row["lens"]))
                gap = f"{row['gap_from']:.3f} to {row['gap_to']:.3f}"
                right = percent(row["share"], True)
                lines.append(_cells([lens, str(row["layer"]), gap, f"{row['patches']:,}", right]))
        lines.append("")
    return lines


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
