"""Which visual tokens of which images an evaluation reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..schemas.errors import UsageError
from .annotations import AnnotatedImage


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """Which visual tokens are read, and whether the model's answers are.

    Attributes:
        sample: visual tokens in all, spread evenly over the images; ``None`` for every one.
        seed: of the sample and of the random vectors.
        spare: visual tokens of each image beyond the sample, whose words serve as a control.
        answer_tokens: of the model's answer to each annotated image, at most; ``None`` for no answers.
        centre_images: of a centred session: files whose mean states are subtracted; of the
            images evaluated where there are none.
    """

    sample: int | None = None
    seed: int = 0
    centre_images: tuple[Path, ...] = ()
    spare: int = 0
    answer_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check what types cannot.

        Raises:
            UsageError: a number that makes no sense.
        """
        numbers = (("sample", self.sample, 1), ("seed", self.seed, 0), ("spare", self.spare, 0))
        for name, value, least in (*numbers, ("answer_tokens", self.answer_tokens, 1)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise UsageError(f"{name} is {value!r}; expected a whole number of at least {least}.")

    def require_raw_answers(self, centre: bool) -> None:
        """Refuse answers in a centred session: the mean that it subtracts is that of patches.

        Raises:
            UsageError: both are asked for.
        """
        if self.answer_tokens is not None and centre:
            raise UsageError(
                "--centre subtracts a mean of patches, but --answer-tokens asks for positions of the answer.",
                "Leave one of them out, or evaluate twice.",
            )


def sampled_images(images: Sequence[AnnotatedImage], options: ReadingOptions) -> list[AnnotatedImage]:
    """The images of which the sample takes a visual token: no other needs to be shown to the model."""
    quotas = image_quotas(len(images), options)
    return [image for image, quota in zip(images, quotas, strict=True) if quota != 0]


def image_quotas(n_images: int, options: ReadingOptions) -> list[int | None]:
    """How many visual tokens of each image are in the sample; the remainder goes to random images."""
    if options.sample is None:
        return [None] * n_images
    each, rest = divmod(options.sample, n_images)
    lucky = set(np.random.default_rng(options.seed).permutation(n_images)[:rest].tolist())
    return [each + (i in lucky) for i in range(n_images)]
