"""A summary as a table for the terminal and as a Markdown report that a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..schemas.results import LENSES
from ..show.display import clean, columns
from .headline import HEADLINE, headline
from .report_answers import RULES, answer_tables
from .report_judged import (
    judged_cells,
    judged_facts,
    judged_header,
    judged_rules,
    judged_tables,
    percent,
)
from .report_parts import WIDTH, concept_lines, escaped, example_lines, folded_lines, gap_lines, stacked

__all__ = ["HEADLINE", "escaped", "percent", "to_markdown", "to_table"]

Row = Mapping[str, Any]
_SHOWN_CONCEPTS = 12


def to_table(summary: Row) -> str:
    """The figures by group, lens and layer, in columns."""
    lines: list[str] = []
    for group in _groups(summary):
        lines += [*([""] if lines else []), clean(_group_title(summary, group)), ""]
        lines += _aligned(_header(summary), [_cells(summary, row) for row in _rows(summary, group)])
    for title, header, rows in judged_tables(summary):
        lines += ["", title, "", *_aligned(header, rows)]
    for title, said, header, rows in answer_tables(summary):
        lines += ["", title, "", *folded_lines([said]), "", *_aligned(header, rows)]
    return "\n".join(lines)


def to_markdown(summary: Row, plots: Sequence[str] = (), pictures: Sequence[tuple[str, Row, str]] = ()) -> str:
    """The report.

    Args:
        summary: as :mod:`evaluate.summary` makes it.
        plots: file names of the plots, relative to the report.
        pictures: of examples: ``hits`` or ``misses``, group, lens and layer, file name.
    """
    lines = [f"# Evaluation of {escaped(str(summary['settings']['model']['id']))}", ""]
    lines += [part for group in _groups(summary) if (said := headline(summary, group)) for part in (_bold(said), "")]
    lines += [*_opening(summary), ""]
    lines += [part for name in plots for part in (f"![{_alt(name)}]({name})", "")]
    if plots:
        lines += ["Each figure also exists as a PDF and an SVG of the same name.", ""]
    for group in _groups(summary):
        lines += [f"## {escaped(_group_title(summary, group))}", ""]
        lines += [*_markdown_table(_header(summary), [_cells(summary, row) for row in _rows(summary, group)]), ""]
        lines += _verdict(summary, group)
    lines += example_lines(pictures)
    lines += _rules(summary)
    lines += gap_lines(summary)
    lines += concept_lines(summary)
    for title, header, cells in judged_tables(summary):
        lines += [f"## {title}", "", *_markdown_table(header, [[escaped(c) for c in row] for row in cells]), ""]
    lines += _answers(summary)
    lines += _coverage(summary)
    lines += ["## Settings", "", *_settings(summary), ""]
    if summary["notes"]:
        lines += ["## Notes", "", *(f"* {escaped(note)}" for note in summary["notes"]), ""]
    return "\n".join(folded_lines(lines)).rstrip() + "\n"


def _answers(summary: Row) -> list[str]:
    """What the lenses see at the positions of the model's answers."""
    tables = answer_tables(summary)
    lines = ["## The model's answers", "", RULES, ""] if tables else []
    for title, said, header, cells in tables:
        rows = [[escaped(cell) for cell in row] for row in cells]
        lines += [f"### {escaped(title)}", "", _bold(said), "", *_markdown_table(header, rows), ""]
    return lines


def _bold(said: str) -> str:
    return f"**{escaped(said)}**"


def _groups(summary: Row) -> list[str]:
    return [group["group"] for group in summary["groups"]]


def _group_title(summary: Row, group: str) -> str:
    count = next(g["images"] for g in summary["groups"] if g["group"] == group)
    return f"{group} ({count} image{'s' if count != 1 else ''})"


def _rows(summary: Row, group: str) -> list[Row]:
    return [row for row in summary["results"] if row["group"] == group]


def _has_loose(summary: Row) -> bool:
    """Whether hypernyms or head words made a difference anywhere."""
    return any(row["shares"]["loose"] != row["shares"]["concrete"] for row in summary["results"])


def _header(summary: Row) -> list[str]:
    if summary["judge"] != "ground-truth":
        return judged_header(summary)
    header = ["lens", "layer", "object patches", "concrete (95 %)", "shuffled", "random patches", "random vectors"]
    header += ["loose", "loose shuffled"] if _has_loose(summary) else []
    return [*header, "global", "background patches", "name a thing"]


def _cells(summary: Row, row: Row) -> list[str]:
    shares = row["shares"]
    cells = [LENSES.get(row["lens"], clean(row["lens"])), str(row["layer"])]
    if summary["judge"] != "ground-truth":
        return cells + judged_cells(summary, row)
    controls = row["controls"]
    cells += [str(row["object_patches"]), percent(shares["concrete"], True)]
    cells += [percent(controls[name]) for name in ("shuffled", "random_patches", "random_vectors")]
    cells += [percent(shares["loose"]), percent(controls["shuffled_loose"])] if _has_loose(summary) else []
    return [*cells, percent(shares["global"]), str(row["background_patches"]), percent(shares["background"])]


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns; columns beyond :data:`WIDTH` go on below, behind the first two again."""
    table = [*stacked(header), *map(list, rows)]
    widths = [max(columns(row[i]) for row in table) for i in range(len(header))]
    lines: list[str] = []
    for part in _parts(widths):
        lines += [""] if lines else []
        for row in table:
            cells = (row[i] + " " * (widths[i] - columns(row[i])) for i in part)
            lines.append("  ".join(cells).rstrip())
    return lines


def _parts(widths: Sequence[int]) -> list[list[int]]:
    """Numbers of the columns that stand beside each other."""
    repeated = [0, 1][: len(widths)]
    parts = [list(repeated)]
    for i in range(len(repeated), len(widths)):
        if sum(widths[j] + 2 for j in (*parts[-1], i)) - 2 > WIDTH and len(parts[-1]) > len(repeated):
            parts.append(list(repeated))
        parts[-1].append(i)
    return parts


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _opening(summary: Row) -> list[str]:
    settings = summary["settings"]
    lenses = ", ".join(LENSES.get(lens, lens) for lens in settings["lenses"])
    images = sum(group["images"] for group in summary["groups"])
    layers = ", ".join(map(str, settings["layers"]))
    lines = [f"{images} images, query layers {layers}, {lenses}, {settings['top_k']} words per visual token."]
    if settings["banks"]:
        rows = settings["banks"][0]["rows"]
        banks = ", ".join(str(bank["layer"]) for bank in settings["banks"])
        corpora = ", ".join(dict.fromkeys(c["name"] for bank in settings["banks"] for c in bank["corpora"]))
        lines.append(f"LatentLens searched bank layers {banks}, {rows:,} rows each, of {escaped(corpora)}.")
    lines.append(
        "Intervals (95 %) treat images as the sampling units, because patches of one image are alike "
        "(docs/evaluation.md). Patches that see only padding are not counted."
    )
    return lines


def _verdict(summary: Row, group: str) -> list[str]:
    """In sentences: which lens is ahead where."""
    lines, headline = [], HEADLINE[summary["judge"]]
    for mean in summary.get("means", ()):
        if mean["group"] == group and mean[headline] is not None:
            chance = f", shuffled {percent(mean['shuffled'])}" if "shuffled" in mean else ""
            lines.append(
                f"* {LENSES.get(mean['lens'], mean['lens'])}, mean of the layers: {headline} "
                f"{percent(mean[headline], True)}{chance}."
            )
    ahead: dict[str, list[str]] = {}
    for lead in summary.get("leads", ()):
        if lead["group"] == group and lead["lead"] is not None:
            low, high = lead["lead"]["low"], lead["lead"]["high"]
            winner = "latent" if low > 0 else lead["against"] if high < 0 else "neither"
            ahead.setdefault(winner, []).append(str(lead["layer"]))
    for winner, layers in ahead.items():
        who = "No lens is ahead" if winner == "neither" else f"{LENSES.get(winner, winner)} is ahead"
        lines.append(f"* {who} at layer {', '.join(layers)} (95 % interval of the difference in {headline}).")
    return [*lines, ""] if lines else []


def _rules(summary: Row) -> list[str]:
    if summary["judge"] == "ground-truth":
        text = [
            "*Object patches*: their centre lies in the box of a thing. *Concrete*: one of the words is the name of a "
            "thing under the patch, a synonym or the plural of one. *Loose*: also its hypernyms and the last word of a "
            "name of several words. *Global*: not concrete, but one of the words names a thing elsewhere in the image. "
            "*Name a thing*: background patches whose words name a thing of the image.",
            "",
            "Controls for concrete. *Shuffled*, the chance level: the same words against the things under a random "
            "object patch of another image. *Random patches*: the words of another patch of the same image. *Random "
            "vectors*: the words found for random vectors of the same norm. *Loose shuffled* is the control for loose.",
        ]
    else:
        text = judged_rules(summary)
    return ["## What was counted", "", *text, ""]


def _coverage(summary: Row) -> list[str]:
    covered = summary["coverage"]
    if not covered:
        return []
    counts = sorted(one["contexts"] for one in covered)
    fewest = ", ".join(f"{escaped(one['concept'])} {one['contexts']}" for one in covered[:_SHOWN_CONCEPTS])
    return [
        "## What the bank holds",
        "",
        f"Contexts (rows of the bank) for each of the {len(covered)} concepts: median {counts[len(counts) // 2]}; "
        f"fewest: {fewest}.",
        "",
    ]


def _search(summary: Row) -> str:
    if not summary["settings"]["exact"]:
        return "approximate search"
    ways = summary.get("ways", ())
    return f"exact search{' by ' + ' and '.join(ways) if ways else ''}"


def _settings(summary: Row) -> list[str]:
    settings = summary["settings"]
    model = settings["model"]
    facts = [
        f"model {model['id']}, revision {model['revision']}, weights {model['weights'][:12]}, {model['dtype']}",
        f"{_search(summary)}; filters: {' and '.join(settings['where']) or 'none'}; "
        f"distinct: {settings['distinct'] or 'no'}",
        f"centred: {_centring(settings)}",
        f"sample: {settings['sample'] or 'every patch'}; seed {settings['seed']}; "
        f"{settings['random_vectors']} random vectors per image and layer",
        *([f"answers: greedy, {summary['answers']['tokens']} tokens at most"] if "answers" in summary else []),
        *judged_facts(summary),
        f"{summary['tool']}",
    ]
    return [f"* {escaped(fact)}" for fact in facts]


def _alt(name: str) -> str:
    return {"shares.png": "Share of visual tokens by layer and lens", "leap.png": "Bank layers by query layer"}.get(
        name, name
    )


def _centring(settings: Row) -> str:
    centring = settings.get("centring")
    if centring is None:
        return "no"
    whose = "other images" if centring["source"] == "folder" else "the images evaluated"
    return (
        f"yes, for LatentLens: the mean of the {centring['tokens']:,} visual tokens of {whose} "
        f"({centring['images']}) was subtracted, and the bank's text mean from its rows"
    )
