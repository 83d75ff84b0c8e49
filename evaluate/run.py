"""From images to figures: read, then compare with what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..models.answers import require_generating
from ..query.pipeline import QuerySession
from ..query.recall import Recall, recall_note
from ..schemas.errors import UsageError
from ..schemas.progress import Progress
from .annotations import AnnotatedImage
from .answer_measures import answers_summary
from .answers import read_answers
from .coverage import coverage
from .example_pictures import draw_examples
from .matching import Concept, is_nameable
from .orientation import upright
from .outputs import write_outputs
from .reading import read_images, run_settings
from .sampling import ReadingOptions, sampled_images
from .summary import Evaluated, ground_truth_summary

__all__ = ["evaluate_ground_truth", "read_and_gather", "write_outputs"]

# Images left out that are named; the others are counted.
_NAMED = 20


def read_and_gather(
    session: QuerySession,
    images: Sequence[AnnotatedImage],
    options: ReadingOptions,
    out: Path,
    judge: str,
    progress: Progress,
    notes: Sequence[str] = (),
) -> Evaluated:
    """Read every image (or take up what an interrupted run has read) and look up the bank's contexts.

    ``notes`` say what a reader should know of the annotations.

    Raises:
        LensbankError: as :func:`evaluate.reading.read_images`.
    """
    images, of_turned = upright(images)
    left_out: dict[str, str] = {}
    words = read_images(session, images, options, out, progress, left_out)
    images = [image for image in images if image.name not in left_out]
    concepts = dict.fromkeys(thing.concept for image in images for thing in image.things)
    covered = coverage(session.banks[0], concepts) if session.banks else []
    measured = sum((one.recall for one in words if one.recall is not None), Recall())
    recall = recall_note(measured, session.options.top_k)
    read = [*_left_out_notes(left_out), *([recall] if recall else [])]
    said = (*session.notes, *notes, *of_turned, *read, *_unnameable_notes(concepts))
    return Evaluated(judge, run_settings(session, options), images, words, covered, said, session.ways)


def _left_out_notes(reasons: Mapping[str, str], of: str = "") -> list[str]:
    """For people: which images were not read, and why; the first few by name."""
    notes = [f"{name} is left out{of}: {reason}" for name, reason in list(reasons.items())[:_NAMED]]
    if len(reasons) > _NAMED:
        notes.append(
            f"{len(reasons) - _NAMED:,} more images are left out{of} because they could not be read or shown to the "
            "model."
        )
    return notes


def _unnameable_notes(concepts: Iterable[Concept]) -> list[str]:
    names = [repr(concept.name) for concept in concepts if not is_nameable(concept)]
    if not names:
        return []
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"No word can match the names {shown}, so their objects are never named. Give synonyms in a --word-list."]


def evaluate_ground_truth(
    session: QuerySession,
    images: Sequence[AnnotatedImage],
    options: ReadingOptions,
    out: Path,
    progress: Progress,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate with known objects.

    Args:
        session: the model, its lenses and banks.
        images: annotated images.
        options: which visual tokens are read.
        out: folder for the record of what the lenses said.
        progress: where to report to.
        notes: what a reader should know of the annotations.

    Returns:
        The summary; :func:`write_outputs` writes it.

    Raises:
        UsageError: nothing is annotated; ``out`` holds a run with other settings.
        LensbankError: as :func:`read_and_gather`.
    """
    if not any(image.things for image in images):
        raise UsageError(
            " ".join(["No object is annotated, so words cannot be compared with objects.", *notes]),
            "Give --annotations with objects.",
        )
    if not any(not thing.crowd for image in images for thing in image.things):
        raise UsageError(
            "Every object is marked iscrowd (a region of many), where patches are not judged, so words cannot be "
            "compared with objects.",
            "Set iscrowd to 0 where a box holds one object.",
        )
    options.require_raw_answers(session.options.centre)
    if options.answer_tokens is not None:
        require_generating(session.loaded, "Leave out --answer-tokens.")
    chosen = sampled_images(images, options)
    done = read_and_gather(session, chosen, options, out, "ground-truth", progress, notes)
    summary = ground_truth_summary(done)
    if options.answer_tokens is not None:
        summary["answers"], told = _answers(session, done.images, options.answer_tokens, out, progress)
        summary["notes"] += told
    paths = {image.name: image.path for image in chosen}
    for number, shown in enumerate(summary["examples"]):
        draw_examples(shown, paths, out, number)
    return summary


def _answers(
    session: QuerySession, images: Sequence[AnnotatedImage], tokens: int, out: Path, progress: Progress
) -> tuple[dict[str, Any], list[str]]:
    """The figures of the answers to those images that have a thing, and what a reader should know of them."""
    left_out: dict[str, str] = {}
    having = [image for image in images if image.things]
    answers = read_answers(session, having, tokens, out, progress, left_out)
    notes = _left_out_notes(left_out, " of the answers")
    if silent := sum(not found.own for found in answers):
        notes.append(f"The model ended its answer at once, without a position to read, on {silent:,} images.")
    measured = sum((found.recall for found in answers if found.recall is not None), Recall())
    if recall := recall_note(measured, session.options.top_k):
        notes.append(f"Answers: {recall}")
    return answers_summary([image for image in having if image.name not in left_out], answers, tokens), notes
