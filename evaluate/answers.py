"""The model's answer to every annotated image through every lens, on record as the patches are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..query.asked import Asked
from ..query.asking import ask_image
from ..query.pipeline import QuerySession
from ..schemas.errors import ImageError, LensbankError, ModelError, UsageError
from ..schemas.progress import Progress
from ..schemas.words import word_span
from .annotations import AnnotatedImage
from .answer_records import AnswersFile, AnswerWords
from .batches import in_batches, read_on
from .reading import STATES_AT_ONCE, dealt_words
from .records import Words

# Answers take long to generate: no more of them are lost by an interruption.
_ANSWERS_AT_ONCE = 8


def read_answers(
    session: QuerySession,
    images: Sequence[AnnotatedImage],
    tokens: int,
    out: Path,
    progress: Progress,
    left_out: dict[str, str],
) -> list[AnswerWords]:
    """What each lens of a session says at each position of the model's answer to each image.

    Args:
        session: the lenses; not centred.
        images: those that were read.
        tokens: of each answer, at most.
        out: the folder of the evaluation; a run that was interrupted goes on there.
        progress: where to report to.
        left_out: filled with the name of each image that an answer does not fit behind, say, and the reason.

    Returns:
        In the order of ``images``, without those left out.

    Raises:
        InputError: a damaged record.
        LensbankError: no image can be answered; or as :meth:`query.pipeline.QuerySession.image`.
    """
    options = replace(session.options, read=("answer",), answer_tokens=tokens)
    odd: dict[str, LensbankError] = {}

    def show(image: AnnotatedImage) -> tuple[AnnotatedImage, Asked]:
        return image, ask_image(session.loaded, image.path, session.layers, options)

    def full(batch: Sequence[tuple[AnnotatedImage, Asked]]) -> bool:
        states = sum(len(asked.tokens) for _, asked in batch) * len(session.layers)
        return len(batch) == _ANSWERS_AT_ONCE or states >= STATES_AT_ONCE

    def read(waiting: Sequence[AnnotatedImage]) -> Iterator[list[AnswerWords]]:
        for batch in in_batches(waiting, show, full, (ImageError, ModelError, UsageError), odd):
            yield _read_batch(session, batch)

    found = read_on("reading answers", images, AnswersFile(out), read, odd, progress)
    left_out.update({name: error.message for name, error in odd.items()})
    return found


def _read_batch(session: QuerySession, batch: Sequence[tuple[AnnotatedImage, Asked]]) -> list[AnswerWords]:
    stacked = {layer: np.concatenate([asked.states[layer] for _, asked in batch]) for layer in session.layers}
    answers = session.vectors(stacked, silent=True)
    found, start = [], 0
    for number, (image, asked) in enumerate(batch):
        end = start + len(asked.tokens)
        own, emitted = _spoken(asked)
        found.append(
            AnswerWords(
                name=image.name,
                sha256=asked.sha256,
                answer=asked.answer or "",
                own=own,
                emitted=emitted,
                words=dealt_words(answers, start, end),
                recall=answers["latent"].recall if "latent" in answers and not number else None,
            )
        )
        start = end
    return found


def _spoken(asked: Asked) -> tuple[Words, Words]:
    """Of each position the word of the answer that it belongs to, and the one that the next token belongs to.

    What follows the answer's last position stands in no answer: the token is its own word there.
    """
    answer = asked.answer or ""
    own: dict[int, str] = {}
    for token in asked.tokens:
        if token.char_start is None or token.char_end is None:
            own[token.index] = ""
        else:
            first, last = word_span(answer, token.char_start, token.char_end)
            own[token.index] = answer[first:last]
    following = [own.get(t.index + 1, "" if t.emitted is None else t.emitted.word) for t in asked.tokens]
    return tuple(own.values()), tuple(following)
