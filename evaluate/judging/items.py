"""Questions to a judge, what their answers count for, and the plan of all of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..records import Patch, Words

CONTROLS = ("shuffled", "random_patches", "random_vectors")


@dataclass(frozen=True, slots=True)
class Question:
    """A patch with words that are said to describe it.

    Attributes:
        id: a hash of the image's bytes, the patch's box and the words.
        place: of the image among those that were read.
        patch: that is shown.
        words: best first, as a judge sees them: cleaned, of bounded length. Empty where filters left
            none, and then there is nothing to ask.
    """

    id: str
    place: int
    patch: Patch
    words: Words


@dataclass(frozen=True, slots=True)
class Use:
    """What an answer counts for.

    Attributes:
        question: its id.
        place: of the image that the words come from.
        layer: query layer of the words.
        lens: that found them.
        control: one of :data:`CONTROLS`; ``None`` for what is measured.
    """

    question: str
    place: int
    layer: int
    lens: str
    control: str | None = None


@dataclass(frozen=True)
class QuestionPlan:
    """Everything that is judged.

    Attributes:
        questions: by id, in an order in which all lenses and layers of a patch come together and
            patches by lot, so that any beginning of it is a fair sample.
        uses: what their answers count for.
        patches: how many patches are in the sample.
        lacking: controls that cannot be had, with the reason, one sentence each.
    """

    questions: dict[str, Question]
    uses: tuple[Use, ...]
    patches: int
    lacking: tuple[str, ...] = ()

    @property
    def to_ask(self) -> list[Question]:
        """The questions that need a judge."""
        return [question for question in self.questions.values() if question.words]
