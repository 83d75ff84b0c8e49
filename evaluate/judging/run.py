"""From images to a judge's figures: read, plan, then a model or people, then the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...query.pipeline import QuerySession
from ...schemas.errors import UsageError
from ...schemas.progress import Progress
from ..annotations import AnnotatedImage
from ..run import read_and_gather
from ..sampling import ReadingOptions, sampled_images
from ..summary import Evaluated, summary_header
from .export import export
from .items import QuestionPlan
from .llm import JudgeLimits, LlmJudge
from .pictures import Pictures
from .questions import plan_questions
from .settings import EndpointSettings
from .summary import Scores, judged_summary

#: Visual tokens that are judged at every layer through every lens, as in the paper.
SAMPLE = 100
#: Questions of each control for each lens.
CONTROLS = 50


@dataclass(frozen=True)
class Prepared:
    """Images that have been read, and what the judge is asked about them."""

    done: Evaluated
    plan: QuestionPlan
    options: ReadingOptions
    controls: int
    max_pixels: int

    def pictures(self, only_jpeg: bool = False) -> Pictures:
        """What judges see."""
        return Pictures(self.done.images, self.done.words, self.max_pixels, only_jpeg)

    def header(self, judge: Mapping[str, Any], notes: Sequence[str] = ()) -> dict[str, Any]:
        """The beginning of a summary, with what is particular to the judge."""
        settings = {**self.done.settings, "judge": {"controls": self.controls, **judge}}
        lacking = _shortage(self.plan, self.options)
        return summary_header(replace(self.done, settings=settings, notes=(*self.done.notes, *lacking, *notes)))

    @property
    def groups(self) -> list[str]:
        """Of each image."""
        return [image.group for image in self.done.images]


def prepare(
    session: QuerySession,
    images: Sequence[AnnotatedImage],
    judge: str,
    reading: ReadingOptions,
    controls: int,
    out: Path,
    progress: Progress,
    notes: Sequence[str] = (),
) -> Prepared:
    """Read the sample of images and plan what is judged; a run that was interrupted goes on.

    Args:
        session: the model, its lenses and banks.
        images: to draw the sample from.
        judge: ``words`` or ``llm``.
        reading: how they are read; without a sample, :data:`SAMPLE` visual tokens are drawn.
        controls: see :func:`evaluate.judging.questions.plan_questions`.
        out: folder of the evaluation.
        progress: where to report to.
        notes: what a reader should know of the annotations.

    Raises:
        LensbankError: as :func:`evaluate.run.read_and_gather`.
    """
    options = replace(reading, sample=SAMPLE if reading.sample is None else reading.sample, spare=1)
    chosen = sampled_images(images, options)
    done = read_and_gather(session, chosen, options, out, judge, progress, notes)
    plan = plan_questions(done.images, done.words, options, controls)
    return Prepared(done, plan, options, controls, session.options.max_pixels)


def judge_with_llm(
    prepared: Prepared,
    endpoint: EndpointSettings,
    limits: JudgeLimits,
    out: Path,
    progress: Progress,
    notify: Callable[[str], None],
    consent: Callable[[], bool],
) -> dict[str, Any]:
    """Have a model judge what is planned.

    Args:
        prepared: see :func:`prepare`.
        endpoint: where the model is.
        limits: how much may be asked.
        out: folder of the evaluation; every answer is kept there.
        progress: where to report to.
        notify: for lines to the user: first of all what would be sent.
        consent: asked before anything is sent, unless every answer is on record.

    Returns:
        The summary; where a limit was reached, of the answers until then, with a note.

    Raises:
        UsageError: there was no consent; nothing was sent.
        JudgeError: the endpoint cannot be used.
        InputError: an image has changed; the record is damaged.
    """
    judge = LlmJudge(endpoint, limits, out, prepared.done.images, prepared.pictures())
    questions = prepared.plan.to_ask
    if judge.waiting(questions):
        for line in judge.announcement(questions):
            notify(line)
        if not consent():
            raise UsageError("Nothing was sent.", "Add --yes to send it.")
        judge.ask(questions, progress, notify)
    verdicts = judge.verdicts()
    scores = {**{question: {v.kind: 1.0} for question, v in verdicts.items()}, **_wordless(prepared.plan)}
    lacking = sum(question.id not in verdicts for question in questions)
    notes = []
    if judge.stopped:
        notes.append(
            f"{judge.stopped}: {len(questions) - lacking:,} of {len(questions):,} questions were answered, in random "
            "order. The same command with a higher limit continues."
        )
    elif lacking:
        notes.append(
            f"{lacking:,} of {len(questions):,} answers could not be read and are left out; the same command asks for "
            "them again."
        )
    return judged_summary(prepared.header(judge.facts(), notes), prepared.groups, prepared.plan.uses, scores)


def export_for_people(prepared: Prepared, out: Path, progress: Progress) -> int:
    """Write lists and pictures for people to label; see :func:`evaluate.judging.export.export`.

    Returns:
        How many items there are.

    Raises:
        UsageError: other lists are there already.
        InputError: an image has changed.
    """
    pictures, seed = prepared.pictures(only_jpeg=True), prepared.options.seed
    return export(out, prepared.done.images, prepared.plan, pictures, seed, prepared.header({}), progress)


def _wordless(plan: QuestionPlan) -> Scores:
    """Where filters left no word there is nothing to judge: none of them fits."""
    return {question.id: {"none": 1.0} for question in plan.questions.values() if not question.words}


def _shortage(plan: QuestionPlan, options: ReadingOptions) -> list[str]:
    notes = list(plan.lacking)
    if options.sample is not None and plan.patches < options.sample:
        notes.append(
            f"The images have only {plan.patches:,} visual tokens, fewer than the sample of {options.sample:,}."
        )
    return notes
