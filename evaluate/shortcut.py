"""Lenses measured on annotated images, in a few lines of Python: what `lensbank evaluate` does."""

from __future__ import annotations

from pathlib import Path

from ..query.handed import require_session
from ..query.pipeline import QuerySession
from ..show.bars import Bars
from .annotations import read_annotations
from .run import evaluate_ground_truth, write_outputs
from .sampling import ReadingOptions
from .tables import Evaluation


def evaluate(
    opened: QuerySession,
    images: str | Path,
    annotations: str | Path,
    out: str | Path,
    *,
    word_list: str | Path | None = None,
    sample: int | None = None,
    seed: int = 0,
    answer_tokens: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Measure lenses on annotated images, as `lensbank evaluate` does; goes on where it stopped.

    Args:
        opened: the lenses.
        images: folder of the images.
        annotations: COCO-style file (docs/evaluation.md).
        out: folder for report, table, summary and plots.
        word_list: synonyms and hypernyms of the category names.
        sample: visual tokens in all; every one by default.
        seed: of the sample and of random vectors.
        answer_tokens: also judge the model's answer to each annotated image, of so many tokens at most.
        progress: show bars.

    Returns:
        The summary, as in ``summary.json``; :meth:`~evaluate.tables.Evaluation.to_frame` makes a table of it.

    Raises:
        LensbankError: as :func:`evaluate.run.evaluate_ground_truth`.
    """
    require_session(opened)
    known = read_annotations(Path(annotations), Path(images), None if word_list is None else Path(word_list))
    with Bars(progress) as bars:
        reading = ReadingOptions(sample, seed, answer_tokens=answer_tokens)
        summary = evaluate_ground_truth(opened, known.images, reading, Path(out), bars, known.notes)
    write_outputs(summary, Path(out))
    return Evaluation(summary)
