"""Positions of every kind: patches, the prompt's tokens, the answer's, special ones, with their hidden states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..models.answers import Answered, answered, given_answer
from ..models.loading import LoadedModel
from ..models.positions import TextPosition, answer_positions, answer_text, prompt_positions
from ..models.states import require_finite, sequence_states
from ..models.tokens import require_embedded
from ..models.visual.patches import image_token_id
from ..models.visual_tokens import VisualInput
from ..schemas.errors import UsageError
from ..schemas.positions import Emitted
from ..schemas.words import visible
from .asked import AskedToken
from .options import ANSWER_TOKENS, QueryOptions
from .vocabulary import readable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Positions:
    """What is read of one prompt.

    Attributes:
        tokens: in sequence order.
        states: layer → ``[len(tokens), dim]``, float32, by layer.
        answer: its text; ``None`` where none was asked for.
        notes: what a reader should know, one sentence each.
    """

    tokens: tuple[AskedToken, ...]
    states: Mapping[int, NDArray[np.float32]]
    answer: str | None = None
    notes: tuple[str, ...] = ()


def read_positions(
    loaded: LoadedModel,
    shown: VisualInput,
    layers: Sequence[int],
    options: QueryOptions,
    patches: Sequence[AskedToken],
    said: Callable[[str], None] | None = None,
) -> Positions:
    """Read the kinds of positions that are asked for.

    Args:
        loaded: the VLM.
        shown: images and prompt.
        layers: to read.
        options: kinds, and the answer.
        patches: to read, if patches are asked for.
        said: told the model's own answer so far, at each of its tokens.

    Raises:
        UsageError: an answer that the model cannot take.
        StateError: a hidden state is NaN, infinite or zero.
        LensbankError: as :func:`models.states.sequence_states`.
    """
    texts = prompt_positions(loaded, shown)
    found: Answered | None = None
    answer, emitted, notes = None, {}, []
    if "answer" in options.read:
        length = int(shown.inputs["input_ids"].shape[1])
        found = _answered(loaded, shown, layers, options, said)
        answer, behind = answer_positions(loaded, length, found.ids)
        texts = (*texts, *behind)
        emitted = dict(enumerate(_emitted(loaded.tokenizer, found.emitted), length - 1))
        notes = _notes(found, options)
    tokens = [patch for patch in patches if "image" in options.read]
    tokens += [_asked(text, emitted.get(text.index)) for text in texts if text.kind in options.read]
    tokens.sort(key=lambda token: token.index)
    index = [token.index for token in tokens]
    if found is None:
        states = sequence_states(loaded, shown.inputs, layers, index)
    else:
        states = {layer: rows[index] for layer, rows in found.states.items()}
    labels = [f"{token.kind} position {token.index} ({token.label})" for token in tokens]
    for layer, rows in states.items():
        require_finite(loaded, layer, rows, labels)
    return Positions(tuple(tokens), _arrays(states), answer, tuple(notes))


def _asked(text: TextPosition, emitted: Emitted | None) -> AskedToken:
    return AskedToken(text.index, text.label, char_start=text.start, char_end=text.end, kind=text.kind, emitted=emitted)


def _arrays(states: Mapping[int, Tensor]) -> dict[int, NDArray[np.float32]]:
    return {layer: states[layer].cpu().numpy() for layer in sorted(states)}


def _answered(
    loaded: LoadedModel,
    shown: VisualInput,
    layers: Sequence[int],
    options: QueryOptions,
    said: Callable[[str], None] | None,
) -> Answered:
    images = 1 + shown.views[-1].image
    if options.answer is None:
        # A character may be spread over tokens: what of it is there has no text yet.
        told = None if said is None else lambda ids: said(answer_text(loaded.tokenizer, ids).rstrip("\ufffd"))
        return answered(loaded, shown.inputs, layers, options.answer_tokens or ANSWER_TOKENS, images, told)
    ids = answer_ids(loaded, options.answer)
    if image_token_id(loaded) in ids:
        raise UsageError("The answer contains the model's image token.", "Leave it out of --answer.")
    weight: Any = loaded.lm.embed_tokens.weight
    require_embedded(max(ids, default=0), int(weight.shape[0]))
    return given_answer(loaded, shown.inputs, layers, ids, images)


def answer_ids(loaded: LoadedModel, answer: str) -> list[int]:
    """The tokens of an answer that is given."""
    ids: list[int] = loaded.tokenizer(answer, add_special_tokens=False)["input_ids"]
    return ids


def _emitted(tokenizer: Any, ids: Sequence[int]) -> list[Emitted]:
    """What a model says, as a person reads it."""
    known = len(tokenizer)
    found = []
    for number in ids:
        token = str(tokenizer.convert_ids_to_tokens(number)) if number < known else f"[id {number}]"
        text = tokenizer.backend_tokenizer.decode([number], skip_special_tokens=False) if number < known else token
        found.append(Emitted(readable(token, visible(text)), token, number))
    return found


def _notes(said: Answered, options: QueryOptions) -> list[str]:
    if options.answer is not None:
        return [] if said.ids else ["The given answer is empty: no position of it can be read."]
    if not said.ids:
        return ["The model ended its answer at once: no position of it can be read."]
    if not said.ended:
        return [f"The answer was cut after {len(said.ids)} tokens; the model would go on."]
    return []
