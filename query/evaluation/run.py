"""From images to files: read, judge, write the table, the summary, the plots and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from query.evaluation.annotations import AnnotatedImage
from query.evaluation.coverage import coverage
from query.evaluation.reading import ReadingOptions, read_images, run_settings, sampled_images
from query.evaluation.records import write_whole
from query.evaluation.report import to_markdown, to_table
from query.evaluation.summary import Evaluated, ground_truth_summary
from query.pipeline import Progress, QuerySession
from schemas.errors import UsageError

SUMMARY_FILE, REPORT_FILE, TABLE_FILE = "summary.json", "report.md", "table.txt"


def read_and_gather(
    session: QuerySession,
    images: Sequence[AnnotatedImage],
    options: ReadingOptions,
    out: Path,
    judge: str,
    progress: Progress,
) -> Evaluated:
    """Read every image (or take up what an interrupted run has read) and look up the bank's contexts.

    Raises:
        LensbankError: as :func:`query.evaluation.reading.read_images`.
    """
    words = read_images(session, images, options, out, progress)
    concepts = dict.fromkeys(thing.concept for image in images for thing in image.things)
    covered = coverage(session.banks[0], concepts) if session.banks else []
    return Evaluated(judge, run_settings(session, options), images, words, covered, session.notes)


def evaluate_ground_truth(
    session: QuerySession, images: Sequence[AnnotatedImage], options: ReadingOptions, out: Path, progress: Progress
) -> dict[str, Any]:
    """Evaluate with known objects.

    Args:
        session: the model, its lenses and banks.
        images: annotated images.
        options: which visual tokens are read.
        out: folder for the record of what the lenses said.
        progress: where to report to.

    Returns:
        The summary; :func:`write_outputs` writes it.

    Raises:
        UsageError: nothing is annotated; ``out`` holds a run with other settings.
        LensbankError: as :func:`read_and_gather`.
    """
    if not any(image.things for image in images):
        raise UsageError("No object is annotated, so nothing can be compared with.", "Give --annotations with objects.")
    chosen = sampled_images(images, options)
    return ground_truth_summary(read_and_gather(session, chosen, options, out, "ground-truth", progress))


def write_outputs(summary: Mapping[str, Any], out: Path) -> tuple[str, str | None]:
    """Write the summary, the table, the plots and the report.

    Returns:
        The table, and why there are no plots (``None`` where there are).
    """
    from query.evaluation.plots import draw

    out.mkdir(parents=True, exist_ok=True)
    table = to_table(summary)
    write_whole(out / SUMMARY_FILE, json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_whole(out / TABLE_FILE, table + "\n")
    lacking = None
    try:
        plots = draw(summary, out)
    except UsageError as error:
        plots, lacking = [], str(error)
    write_whole(out / REPORT_FILE, to_markdown(summary, plots))
    return table, lacking
