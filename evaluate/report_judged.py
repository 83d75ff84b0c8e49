"""What table and report say of a judge's verdicts, a model's or people's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..schemas.results import LENSES
from ..show.display import clean

Row = Mapping[str, Any]


def percent(estimate: Row | None, interval: bool = False) -> str:
    """``41.2 %``, or with its interval ``41.2 % (38 to 45)``; ``-`` where nothing was counted.

    A narrow interval has a decimal: ``0.2 % (0.0 to 0.9)``.
    """
    if estimate is None:
        return "-"
    shown = f"{100 * estimate['value']:.1f} %"
    digits = 1 if estimate["high"] - estimate["low"] < 0.02 else 0
    return f"{shown} ({100 * estimate['low']:.{digits}f} to {100 * estimate['high']:.{digits}f})" if interval else shown


def judged_header(summary: Row) -> list[str]:
    """Columns of the table of shares."""
    missing = ["no verdict"] if _lacking(summary) else []
    return ["lens", "layer", "judged", *missing, "interpretable (95 %)", "concrete", "abstract", "global"]


def judged_cells(summary: Row, row: Row) -> list[str]:
    """A row of it, lens and layer left out."""
    shares = row["shares"]
    missing = [str(row["missing"])] if _lacking(summary) else []
    return [
        str(row["judged"]),
        *missing,
        percent(shares["interpretable"], True),
        *(percent(shares[kind]) for kind in ("concrete", "abstract", "global")),
    ]


def judged_tables(summary: Row) -> list[tuple[str, list[str], list[list[str]]]]:
    """Further tables: title, header and rows; none for the ground truth."""
    tables = []
    controls = [
        [
            LENSES.get(row["lens"], clean(row["lens"])),
            row["control"].replace("_", " "),
            str(row["judged"]),
            percent(row["interpretable"], True),
        ]
        for row in summary.get("controls", ())
    ]
    if controls:
        tables.append(("Controls", ["lens", "control", "judged", "interpretable (95 %)"], controls))
    agreement = [
        [
            " and ".join(map(clean, pair["raters"])),
            str(pair["items"]),
            "-" if pair["agreed"] is None else f"{100 * pair['agreed']:.1f} %",
            _kappa(pair["kappa"]),
            _kappa(pair["kappa_interpretable"]),
        ]
        for pair in summary.get("agreement", ())
    ]
    if agreement:
        header = ["raters", "both judged", "same verdict", "kappa, four verdicts", "kappa, interpretable or not"]
        tables.append(("Agreement", header, agreement))
    return tables


def judged_rules(summary: Row) -> list[str]:
    """What was counted, in sentences."""
    text = [
        "*Interpretable*: at least one of the words is related to the image, by the judge's verdict. *Concrete*: it "
        "names or describes what is in the marked region (the patch and its eight neighbours). *Abstract*: it is "
        "related to the region in meaning. *Global*: it belongs to another part of the image. The judge did not know "
        "lens or layer. Every lens and layer is judged on the same patches.",
        "",
        "Controls, over all layers. *Shuffled*: the words are judged on a patch of another image. *Random patches*: "
        "the words of another patch of the same image. *Random vectors*: the words found for random vectors of the "
        "same norm. All controls are mixed with the other questions, without a mark.",
    ]
    if "agreement" in summary:
        text += [
            "",
            "If several people labelled an item, it counts for each verdict by the share of people who gave it. "
            "*Kappa* is Cohen's: 0 for chance agreement, 1 for full agreement.",
        ]
    return text


def judged_facts(summary: Row) -> list[str]:
    """Settings that are particular to the judge."""
    judge = summary["settings"].get("judge")
    if judge is None:
        return []
    facts = [f"{judge['controls']} questions of each control for each lens"]
    if "url" in judge:
        params = ", ".join(f"{name} {value}" for name, value in judge["params"].items()) or "none"
        facts += [
            f"judge: {judge['model']} at {judge['url']}, answering as {', '.join(judge['answered_by']) or 'unnamed'}; "
            f"request fields: {params}; wording {judge['prompt']}",
            f"the judge's recorded answers took {judge['calls']:,} calls, {judge['prompt_tokens']:,} prompt tokens "
            f"and {judge['completion_tokens']:,} completion tokens, as reported by the server",
        ]
    for rater in judge.get("raters", ()):
        facts.append(f"labels of {rater['name']}: {rater['labels']:,} of {judge['items']:,} items")
    return facts


def _lacking(summary: Row) -> bool:
    return any(row["missing"] for row in summary["results"])


def _kappa(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
