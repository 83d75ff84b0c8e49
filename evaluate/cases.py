"""Single patches of an evaluation: shares by concept, and hits and misses to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .measures import Case, GroundTruth

#: Hits, and misses, that are shown.
SHOWN = 8
#: Parts of about equal size that patches are cut into by their gap.
PARTS = 4


def by_concept(truth: GroundTruth, layer: int, lens: str) -> list[dict[str, Any]]:
    """For each concept its object patches and how many of them were named, most patches first.

    Returns:
        ``concept``, ``patches``, ``named`` (both numbers), and ``share``: an estimate, or ``None``.
    """
    counts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for case in truth.cases(layer, lens):
        for name in case.under:
            patches, named = counts.setdefault(name, (np.zeros(truth.images), np.zeros(truth.images)))
            patches[case.image] += 1
            named[case.image] += name in case.named
    rows = [
        {
            "concept": name,
            "patches": int(patches.sum()),
            "named": int(named.sum()),
            "share": None if (share := truth.share(named, patches)) is None else _rounded(share.to_dict()),
        }
        for name, (patches, named) in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["patches"], row["concept"]))


def by_gap(truth: GroundTruth, layer: int, lens: str) -> list[dict[str, Any]]:
    """How often the best word of an object patch is right, by how far it stands above its baseline.

    Patches are cut into :data:`PARTS` parts of about equal size by their gap. Equal gaps stay together, so there may be
    fewer parts. Patches without a gap are left out.

    Returns:
        Lowest gaps first: ``part`` (from 1), ``gap_from`` and ``gap_to`` (both included), ``patches`` and ``right``
        (both numbers), and ``share``: an estimate.
    """
    cases = [(case.image, case.right, case.gap) for case in truth.cases(layer, lens) if case.gap is not None]
    if not cases:
        return []
    values = np.array([gap for _, _, gap in cases])
    cuts = np.unique(np.quantile(values, np.arange(1, PARTS) / PARTS, method="higher"))
    parts = np.searchsorted(cuts, values, side="right")
    rows: list[dict[str, Any]] = []
    for part in np.unique(parts):
        patches, right = np.zeros(truth.images), np.zeros(truth.images)
        for i in np.flatnonzero(parts == part):
            image, is_right, _ = cases[i]
            patches[image] += 1
            right[image] += is_right
        share = truth.share(right, patches)
        rows.append(
            {
                "part": len(rows) + 1,
                "gap_from": float(values[parts == part].min()),
                "gap_to": float(values[parts == part].max()),
                "patches": int(patches.sum()),
                "right": int(right.sum()),
                "share": None if share is None else _rounded(share.to_dict()),
            }
        )
    return rows


def examples(truth: GroundTruth, names: Sequence[str], layer: int, lens: str) -> dict[str, list[dict[str, Any]]]:
    """Hits and misses, :data:`SHOWN` of each: in an order that the seed of no run decides, images and concepts varied.

    Args:
        truth: the counts.
        names: of the images, in their order.
        layer: query layer.
        lens: its words.
    """
    found: dict[str, list[Case]] = {"hits": [], "misses": []}
    for case in truth.cases(layer, lens):
        found["hits" if case.named else "misses"].append(case)
    return {
        kind: [_plain(case, names) for case in _varied(sorted(cases, key=lambda one: _lot(one, names)))]
        for kind, cases in found.items()
    }


def _lot(case: Case, names: Sequence[str]) -> bytes:
    patch = case.patch
    place = f"{names[case.image]}\0{patch.view}\0{patch.row}\0{patch.col}"
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).digest()


def _varied(cases: Sequence[Case]) -> list[Case]:
    """The first ones of images and concepts that are not shown yet, then the first of the others."""
    chosen: list[Case] = []
    rest: list[Case] = []
    for case in cases:
        seen = any(one.image == case.image or one.under == case.under for one in chosen)
        (rest if seen or len(chosen) == SHOWN else chosen).append(case)
    return [*chosen, *rest][:SHOWN]


def _plain(case: Case, names: Sequence[str]) -> dict[str, Any]:
    box = case.patch.box
    return {
        "image": names[case.image],
        "view": case.patch.view,
        "row": case.patch.row,
        "col": case.patch.col,
        "box": [box.x0, box.y0, box.x1, box.y1],
        "things": list(case.under),
        "named": list(case.named),
        "words": list(case.words),
    }


def _rounded(estimate: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in estimate.items()}
