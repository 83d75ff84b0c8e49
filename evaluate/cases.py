"""Single patches of an evaluation: shares by concept, and hits and misses to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .measures import Case, GroundTruth

#: Hits, and misses, that are shown.
SHOWN = 8


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
