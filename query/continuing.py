"""Readings that are there before the model's own answer, which takes it longest, and that its tokens are added to.

No state of the prompt depends on what the model says after it: what was read before the answer stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

from ..schemas.results import Reading
from .asked import Asked
from .options import QueryOptions


def before_answer(options: QueryOptions) -> QueryOptions | None:
    """What can be read before the model has answered.

    Returns:
        ``None`` where the model gives no answer of its own, or nothing else is read.
    """
    read = tuple(kind for kind in options.read if kind != "answer")
    if options.answer is not None or not read or read == options.read:
        return None
    return replace(options, read=read, answer_tokens=None)


def still_unread(asked: Asked, layer: int, early: Reading) -> Asked:
    """The tokens that a reading of one layer does not have, with their states at that layer; there may be none."""
    known = {token.index for token in early.layers[0].tokens}
    kept = [number for number, token in enumerate(asked.tokens) if token.index not in known]
    return replace(
        asked, tokens=tuple(asked.tokens[number] for number in kept), states={layer: asked.states[layer][kept]}
    )


def continued(early: Reading, asked: Asked, more: Reading | None) -> Reading:
    """A reading of one layer, with what the model has answered since.

    Args:
        early: the layer's reading before the answer.
        asked: everything that is read, with the answer.
        more: the layer's reading of what ``early`` does not have; ``None`` where that is nothing.
    """
    (layer,) = early.layers
    read = {token.index: token for part in (early, more) if part is not None for token in part.layers[0].tokens}
    tokens = tuple(replace(read[token.index], emitted=token.emitted) for token in asked.tokens)
    return replace(
        early,
        layers=(replace(layer, tokens=tokens),),
        read=asked.read,
        answer=asked.answer,
        answer_given=asked.answer_given,
        notes=tuple(dict.fromkeys((*asked.notes, *early.notes))),
    )
