"""An evaluation as plain data (``summary.json``): figures, what they rest on, and what a reader must know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..schemas.version import tool_version
from .annotations import AnnotatedImage
from .cases import by_concept, by_gap, examples
from .coverage import Coverage, few_contexts_note
from .headline import best_rows
from .measures import GroundTruth, Measure, leap
from .records import ImageWords
from .statistics import INTERVALS, Estimate, plain

SUMMARY_VERSION = 1
#: Below this many images it was not tried how often intervals hold the truth.
FEW_IMAGES = 10


@dataclass(frozen=True)
class Evaluated:
    """Everything that a summary is made of, whichever judge spoke.

    Attributes:
        judge: ``ground-truth``, ``words`` or ``llm``.
        settings: of the run; see :func:`evaluate.reading.run_settings`.
        images: what was read.
        words: what the lenses said, in the same order.
        coverage: contexts of each concept; empty where no concepts or no bank are known.
        notes: what a reader must know.
        ways: what compared every row of the banks, as :attr:`schemas.results.SearchSettings.ways`.
    """

    judge: str
    settings: Mapping[str, Any]
    images: Sequence[AnnotatedImage]
    words: Sequence[ImageWords]
    coverage: Sequence[Coverage] = ()
    notes: Sequence[str] = ()
    ways: Sequence[str] = ()


def summary_header(done: Evaluated) -> dict[str, Any]:
    """What every summary begins with; ``results`` and the like are added by the judge."""
    groups = {group: [image for image in done.images if image.group == group] for group in group_names(done.images)}
    layers, banks, shares = leap(done.words)
    few = few_contexts_note(done.coverage)
    return {
        "version": SUMMARY_VERSION,
        "tool": tool_version(),
        "judge": done.judge,
        "settings": dict(done.settings),
        "ways": list(done.ways),
        "intervals": {"kind": INTERVALS},
        "groups": [
            {"group": group, "images": len(images), "things": sum(len(image.things) for image in images)}
            for group, images in groups.items()
        ],
        "leap": {"query_layers": layers, "bank_layers": banks, "shares": shares.round(4).tolist()},
        "coverage": [{"concept": one.name, "contexts": one.contexts} for one in done.coverage],
        "notes": [*done.notes, *([few] if few else []), *_few_images_notes(groups)],
    }


def _few_images_notes(groups: Mapping[str, Sequence[AnnotatedImage]]) -> list[str]:
    """Intervals have images as clusters, so they need some."""
    few = [f"{group} ({len(images)})" for group, images in groups.items() if len(images) < FEW_IMAGES]
    if not few:
        return []
    return [f"Intervals over fewer than {FEW_IMAGES} images are wide, and may still be too narrow: {', '.join(few)}."]


def group_names(images: Sequence[AnnotatedImage]) -> list[str]:
    """The groups, in the order in which they first occur."""
    return list(dict.fromkeys(image.group for image in images))


def ground_truth_summary(done: Evaluated) -> dict[str, Any]:
    """The figures of the ground-truth judge.

    ``results``: a row for each group, lens and layer. ``means``: over the layers, by group and lens.
    ``leads``: LatentLens against the better of the others at each layer, where it was asked for.
    ``concepts``: a row for each concept, at each lens's best layer. ``gaps``: for each group, lens and
    layer how often the best word is right, by its gap. ``examples``: hits and misses of the best lens
    at its best layer, by group.
    """
    rows: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    leads: list[dict[str, Any]] = []
    concepts: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for group in group_names(done.images):
        places = [i for i, image in enumerate(done.images) if image.group == group]
        truth = GroundTruth([done.images[i] for i in places], [done.words[i] for i in places])
        rows += [_row(group, truth.measure(layer, lens)) for lens in truth.lenses for layer in truth.layers]
        for lens in truth.lenses:
            shares = {name: plain(truth.mean(lens, name)) for name in ("concrete", "loose", "shuffled")}
            means.append({"group": group, "lens": lens, "layers": list(truth.layers), **shares})
        for lens in truth.lenses:
            for layer in truth.layers:
                gaps += [{"group": group, "lens": lens, "layer": layer, **one} for one in by_gap(truth, layer, lens)]
        leads += [{"group": group, **lead} for lead in _leads(truth)]
        best = best_rows([row for row in rows if row["group"] == group], "concrete")
        for row in best:
            place = {"group": group, "lens": row["lens"], "layer": row["layer"]}
            concepts += [{**place, **one} for one in by_concept(truth, row["layer"], row["lens"])]
        if best:
            names = [done.images[i].name for i in places]
            of = {"group": group, "lens": best[0]["lens"], "layer": best[0]["layer"]}
            shown.append({**of, **examples(truth, names, best[0]["layer"], best[0]["lens"])})
    found = {"results": rows, "means": means, "leads": leads, "concepts": concepts, "gaps": gaps, "examples": shown}
    return {**summary_header(done), **found}


def _row(group: str, measure: Measure) -> dict[str, Any]:
    return {
        "group": group,
        "lens": measure.lens,
        "layer": measure.layer,
        "object_patches": measure.object_patches,
        "background_patches": measure.background_patches,
        "shares": {
            "concrete": plain(measure.concrete),
            "loose": plain(measure.loose),
            "global": plain(measure.elsewhere),
            "background": plain(measure.background),
            "above_chance": plain(measure.above_chance),
        },
        "controls": {
            "shuffled": plain(measure.shuffled),
            "shuffled_loose": plain(measure.shuffled_loose),
            "random_patches": plain(measure.random_patches),
            "random_vectors": plain(measure.random_vectors),
        },
    }


def _leads(truth: GroundTruth) -> list[dict[str, Any]]:
    others = [lens for lens in truth.lenses if lens != "latent"]
    if "latent" not in truth.lenses or not others:
        return []
    found = []
    for layer in truth.layers:
        best = max(others, key=lambda lens: _value(truth.measure(layer, lens).concrete))  # noqa: B023 - used at once
        found.append({"layer": layer, "against": best, "lead": plain(truth.lead("latent", best, (layer,)))})
    return found


def _value(estimate: Estimate | None) -> float:
    return estimate.value if estimate else -1.0
