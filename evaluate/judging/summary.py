"""Verdicts as figures: shares by group, lens and layer with intervals over images, controls, leads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..statistics import ClusteredShares, plain
from .items import CONTROLS, Use
from .verdict import KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: Question → verdict → its share of the verdicts given: 1 for one judge, fractions where people differ.
Scores = Mapping[str, Mapping[str, float]]
SHARES = ("interpretable", *KINDS[:3])


class _Counts:
    """What is judged of some images, by image."""

    def __init__(self, places: Iterable[int]) -> None:
        self._at = {place: n for n, place in enumerate(sorted(set(places)))}
        self._over = ClusteredShares(len(self._at))

    def of(self, uses: Iterable[Use], scores: Scores) -> tuple[dict[str, Floats], Floats, int]:
        """Hits by share, totals, both ``[n_images]``; and how many have no verdict."""
        hits: dict[str, Floats] = {name: np.zeros(len(self._at)) for name in SHARES}
        totals: Floats = np.zeros(len(self._at))
        missing = 0
        for use in uses:
            score = scores.get(use.question)
            if score is None:
                missing += 1
                continue
            at = self._at[use.place]
            totals[at] += 1
            for kind in KINDS[:3]:
                hits[kind][at] += score.get(kind, 0.0)
                hits["interpretable"][at] += score.get(kind, 0.0)
        return hits, totals, missing

    @property
    def over(self) -> ClusteredShares:
        """The same for all figures of these images."""
        return self._over


def judged_summary(
    header: Mapping[str, Any], groups: Sequence[str], uses: Sequence[Use], scores: Scores
) -> dict[str, Any]:
    """The figures of a judge.

    Args:
        header: as :func:`evaluate.summary.summary_header` makes it.
        groups: of each image that was read.
        uses: what is judged; those without a score are counted as missing and otherwise left out.
        scores: by question.

    Returns:
        As for the ground truth: ``results`` a row for each group, lens and layer; ``controls`` a row for
        each lens and control, over all layers and groups; ``means`` over the layers; ``leads``.
    """
    rows: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    leads: list[dict[str, Any]] = []
    measured = [use for use in uses if use.control is None]
    lenses = list(dict.fromkeys(use.lens for use in measured))
    for group in dict.fromkeys(groups):
        here = [use for use in measured if groups[use.place] == group]
        layers = sorted({use.layer for use in here})
        counts = _Counts(use.place for use in here)
        of = {
            (lens, layer): counts.of([u for u in here if (u.lens, u.layer) == (lens, layer)], scores)
            for lens in lenses
            for layer in layers
        }
        rows += [_row(group, lens, layer, counts.over, of[lens, layer]) for lens in lenses for layer in layers]
        for lens in lenses:
            parts = [(of[lens, layer][0]["interpretable"], of[lens, layer][1]) for layer in layers]
            mean = counts.over.mean(parts)
            means.append({"group": group, "lens": lens, "layers": layers, "interpretable": plain(mean)})
        leads += [{"group": group, **lead} for lead in _leads(lenses, layers, counts.over, of)]
    controls = _controls(lenses, uses, scores)
    return {**header, "results": rows, "controls": controls, "means": means, "leads": leads}


def _row(
    group: str, lens: str, layer: int, over: ClusteredShares, counted: tuple[dict[str, Floats], Floats, int]
) -> dict[str, Any]:
    hits, totals, missing = counted
    shares = {name: plain(over.ratio(hits[name], totals)) for name in SHARES}
    return {
        "group": group,
        "lens": lens,
        "layer": layer,
        "judged": int(totals.sum()),
        "missing": missing,
        "shares": shares,
    }


def _controls(lenses: Sequence[str], uses: Sequence[Use], scores: Scores) -> list[dict[str, Any]]:
    rows = []
    for lens in lenses:
        for control in CONTROLS:
            mine = [use for use in uses if use.lens == lens and use.control == control]
            counts = _Counts(use.place for use in mine)
            hits, totals, missing = counts.of(mine, scores)
            if mine:
                share = plain(counts.over.ratio(hits["interpretable"], totals))
                row = {"lens": lens, "control": control, "judged": int(totals.sum()), "missing": missing}
                rows.append({**row, "interpretable": share})
    return rows


def _leads(
    lenses: Sequence[str],
    layers: Sequence[int],
    over: ClusteredShares,
    of: Mapping[tuple[str, int], tuple[dict[str, Floats], Floats, int]],
) -> list[dict[str, Any]]:
    """LatentLens against the better of the others at each layer."""
    others = [lens for lens in lenses if lens != "latent"]
    if "latent" not in lenses or not others:
        return []
    found = []
    for layer in layers:
        parts = {lens: (of[lens, layer][0]["interpretable"], of[lens, layer][1]) for lens in lenses}
        best = max(others, key=lambda lens: parts[lens][0].sum() / max(1.0, parts[lens][1].sum()))  # noqa: B023 - at once
        found.append({"layer": layer, "against": best, "lead": plain(over.difference(parts["latent"], parts[best]))})
    return found
