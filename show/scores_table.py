"""The scores of labels as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .display import clean, columns, fit

_LABEL = 28


def scores_table(scores: Mapping[str, Any], means_only: bool = False) -> str:
    """One line a layer, lens and label, from :meth:`images.scoring.Scores.to_dict`; then the means over labels."""
    images, labels = scores["images"], scores["labels"]
    counted = f"{images:,} image{'s' * (images != 1)}, {len(labels)} label{'s' * (len(labels) != 1)}"
    lines = [f"{counted}. Shares of neighbours in percent; 95 % intervals over images."]
    widest = min(_LABEL, max(columns(clean(label)) for label in ("label", *labels)))
    with_things = any(one["precision"] is not None for one in scores["scores"])
    head = f"{'layer':>5}  {'lens':<9}  {fit('label', widest)}  {'share':>18}  {'shuffled labels':>18}"
    lines.append(head + (f"  {'precision':>9}  {'other labels':>12}  {'chance':>10}" if with_things else ""))
    lines += [_line(one, widest, with_things) for one in scores["scores"]]
    if means_only:
        lines = lines[:1]
    if scores["means"]:
        lines += ["", "Mean average precision of the labels that are annotated things:", *_means(scores["means"])]
    return "\n".join(lines)


def _line(one: Mapping[str, Any], widest: int, with_things: bool) -> str:
    share, low, high = (100 * one["share"][name] for name in ("value", "low", "high"))
    shuffled = (100 * one[name] for name in ("shuffled", "shuffled_low", "shuffled_high"))
    line = (
        f"{one['layer']:>5}  {one['lens']:<9}  {fit(clean(one['label']), widest)}  {_span(share, low, high):>18}  "
        f"{_span(*shuffled):>18}"
    )
    if not with_things:
        return line
    return line + f"  {_percent(one['precision']):>9}  {_percent(one['other']):>12}  {_percent(one['chance']):>10}"


def _means(means: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"{'layer':>5}  {'lens':<9}  {'labels':>6}  {'precision':>18}  {'other labels':>12}  {'chance':>10}"]
    for one in means:
        mean = [100 * one["precision"][name] for name in ("value", "low", "high")]
        lines.append(
            f"{one['layer']:>5}  {one['lens']:<9}  {one['labels']:>6}  {_span(*mean):>18}  "
            f"{_percent(one['other']):>12}  {_percent(one['chance']):>10}"
        )
    return lines


def _span(value: float, low: float, high: float) -> str:
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
