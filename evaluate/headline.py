"""What an evaluation found, in a sentence for each group: the best layer of each lens, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..schemas.results import LENSES
from ..show.display import clean
from .report_judged import percent

Row = Mapping[str, Any]
#: The share that a table and the main plot lead with, by judge.
HEADLINE = {"ground-truth": "concrete", "words": "interpretable", "llm": "interpretable"}


def best_rows(rows: list[Row], share: str) -> list[Row]:
    """The row of each lens's best layer (the first of equals), best lens first."""
    known = [row for row in rows if row["shares"][share] is not None]
    best: dict[str, Row] = {}
    for row in known:
        if row["lens"] not in best or row["shares"][share]["value"] > best[row["lens"]]["shares"][share]["value"]:
            best[row["lens"]] = row
    return sorted(best.values(), key=lambda row: -row["shares"][share]["value"])


def headline(summary: Row, group: str) -> str:
    """The sentence of a group; empty where nothing was measured."""
    share = HEADLINE[summary["judge"]]
    rows = [row for row in summary["results"] if row["group"] == group]
    best = best_rows(rows, share)
    if not best:
        return ""
    first, *others = best
    layers = len({row["layer"] for row in rows})
    of = f", its best of {layers}," if layers > 1 else ""
    value = percent(first["shares"][share], True)
    lens = LENSES.get(first["lens"], clean(first["lens"]))
    if summary["judge"] == "ground-truth":
        done = f"{lens} names the thing under {value} of {first['object_patches']:,} object patches"
    else:
        done = f"{lens}'s words are {share} for {value} of {first['judged']:,} visual tokens"
    chance = (first.get("controls") or {}).get("shuffled")
    told = f"; the chance level (the same words on other images) is {percent(chance)}" if chance else ""
    rest = ", ".join(
        f"{LENSES.get(row['lens'], clean(row['lens']))} {percent(row['shares'][share], True)} at layer {row['layer']}"
        for row in others
    )
    chosen = " The best layers were chosen on the same images." if layers > 1 else ""
    return f"{clean(group)}: at layer {first['layer']}{of} {done}{told}." + (f" {rest}." if rest else "") + chosen
