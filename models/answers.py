"""What a model says to images and a prompt, or is made to say, with the states of the whole sequence.

A state at position p has read the tokens up to p, and the model says token p + 1 from it. So the first token of an
answer is said at the prompt's last position, and the last token of an answer says another one, which is no position
of the answer any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from ..schemas.errors import ModelError
from .capture import capture_every_pass
from .files.loading_errors import quiet
from .lengths import require_length
from .loading import LoadedModel
from .states import failing, sequence_states
from .visual.patches import unpadded, unsupported
from .visual_tokens import family_of


@dataclass(frozen=True)
class Answered:
    """An answer behind a prompt.

    Attributes:
        ids: of the answer's tokens, without the one that ends it.
        emitted: what the model says at the prompt's last position and at each of the answer's: one more than ``ids``.
        ended: whether the model ended its answer itself, or would here.
        states: layer → ``[prompt and answer, dim]``, float32, on the model's device, raw.
    """

    ids: tuple[int, ...]
    emitted: tuple[int, ...]
    ended: bool
    states: Mapping[int, Tensor]


def answered(
    loaded: LoadedModel,
    inputs: Mapping[str, Tensor],
    layers: Iterable[int],
    tokens: int,
    images: int = 1,
    said: Callable[[Sequence[int]], None] | None = None,
) -> Answered:
    """Let a model answer greedily: transformers' own ``generate``, with a cache, read as it runs.

    At each step the token of the highest logit follows; penalties and the like that a model's
    ``generation_config.json`` asks for are left out, its end tokens are kept.

    Args:
        loaded: the model.
        inputs: its keyword arguments for one prompt without padding.
        layers: to read.
        tokens: of the answer, at most; one more is said, and not read.
        images: of the prompt; for messages.
        said: told the answer so far at each of its tokens. What it raises ends the answer, and is passed on.

    Raises:
        ImageError, UsageError: it is too long for the model.
        UnsupportedModelError: the model changes the length of its sequence.
        ModelError: the model failed, or cannot generate.
    """
    length = _length(inputs)
    require_length(loaded, length, images, tokens)
    require_generating(loaded, "Give one with --answer TEXT.")
    model: Any = loaded.model
    ends = end_tokens(loaded)
    with failing(loaded, inputs), torch.inference_mode(), quiet(), _plainly(model, ends):
        with capture_every_pass(loaded.lm, layers) as passes:
            made = model.generate(
                **inputs,
                max_new_tokens=tokens + 1,
                do_sample=False,
                use_cache=True,
                streamer=None if said is None else _Teller(said, tokens, ends),
            )
        emitted = made[0, length:].tolist()
    states = {layer: torch.cat([part[0] for part in parts]) for layer, parts in passes.items()}
    _require_positions(loaded, states, length + len(emitted) - 1)
    floats = {layer: rows.to(loaded.device).float() for layer, rows in states.items()}
    return Answered(tuple(emitted[:-1]), tuple(emitted), emitted[-1] in ends, floats)


class _Teller(BaseStreamer):
    """Tells of an answer token by token, as `generate` says them."""

    def __init__(self, said: Callable[[Sequence[int]], None], tokens: int, ends: frozenset[int]) -> None:
        """See :func:`answered`."""
        self._said, self._tokens, self._ends = said, tokens, ends
        self._ids: list[int] | None = None

    def put(self, value: Tensor) -> None:
        """The prompt, then each token."""
        if self._ids is None:
            self._ids = []
            return
        self._ids += value.flatten().tolist()
        if len(self._ids) <= self._tokens and self._ids[-1] not in self._ends:
            self._said(self._ids)

    def end(self) -> None:
        """There is no more."""


def require_generating(loaded: LoadedModel, hint: str) -> None:
    """Refuse a model that answers nothing by itself.

    Raises:
        ModelError: it is one, and ``hint`` says what to do.
    """
    model: Any = loaded.model
    if not (callable(getattr(model, "generate", None)) and model.can_generate()):
        raise ModelError(f"{loaded.name} ({type(model).__name__}) cannot generate an answer.", hint)


def given_answer(
    loaded: LoadedModel, inputs: Mapping[str, Tensor], layers: Iterable[int], ids: Sequence[int], images: int = 1
) -> Answered:
    """Give a model its answer: one forward pass over prompt and answer.

    Args:
        loaded: the model.
        inputs: its keyword arguments for one prompt without padding.
        layers: to read.
        ids: of the answer; may be empty.
        images: of the prompt; for messages.

    Returns:
        The answer; what the model would have said at each of its positions is in ``emitted``.

    Raises:
        ImageError, UsageError: it is too long for the model.
        UnsupportedModelError: the model changes the length of its sequence.
        ModelError: the model failed.
    """
    length = _length(inputs)
    require_length(loaded, length, images, len(ids))
    wanted = sorted(set(layers))
    extended = _extended(loaded, inputs, ids)
    every = range(length + len(ids))
    states = sequence_states(loaded, extended, {*wanted, loaded.lm.n_layers}, every)
    with torch.inference_mode():
        last = states[loaded.lm.n_layers][length - 1 :].to(loaded.dtype)
        emitted = loaded.lm.logits(last).argmax(dim=-1).tolist()
    kept = {layer: states[layer] for layer in wanted}
    return Answered(tuple(ids), tuple(emitted), emitted[-1] in end_tokens(loaded), kept)


def end_tokens(loaded: LoadedModel) -> frozenset[int]:
    """The ids that end an answer: those of the model's generation settings, else the tokenizer's."""
    settings = getattr(loaded.model, "generation_config", None)
    named = getattr(settings, "eos_token_id", None)
    if named is None:
        named = loaded.tokenizer.eos_token_id
    return frozenset([] if named is None else named if isinstance(named, list | tuple) else [named])


@contextmanager
def _plainly(model: Any, ends: frozenset[int]) -> Iterator[None]:
    """Without what a model's own settings do to its logits; they are put back."""
    own = model.generation_config
    padding = own.pad_token_id if own.pad_token_id is not None else min(ends, default=0)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=sorted(ends) or None, pad_token_id=padding, bos_token_id=own.bos_token_id
    )
    try:
        yield
    finally:
        model.generation_config = own


def _length(inputs: Mapping[str, Tensor]) -> int:
    """Tokens of the prompt.

    Raises:
        ValueError: some are padding, or there are several prompts.
    """
    mask = unpadded(inputs)
    if inputs["input_ids"].shape[0] != 1 or not bool(mask.all()):
        raise ValueError("one prompt without padding is needed")
    return int(mask.shape[0])


def _extended(loaded: LoadedModel, inputs: Mapping[str, Tensor], ids: Sequence[int]) -> dict[str, Tensor]:
    """The inputs of a prompt, with an answer behind it.

    Raises:
        UnsupportedModelError: the model's processor says something about each token that is not known here.
    """
    prompt = inputs["input_ids"]
    behind: dict[str, Any] = {
        "input_ids": prompt.new_tensor([list(ids)]),
        "attention_mask": 1,
        "token_type_ids": family_of(loaded).answer_type,
        "mm_token_type_ids": 0,
    }
    extended = dict(inputs)
    for name, value in inputs.items():
        if value.shape != prompt.shape:
            continue
        if name not in behind:
            raise unsupported(loaded, f"its processor gives {name} for each token, and what an answer's are is unknown")
        more = behind[name]
        added = more if isinstance(more, Tensor) else value.new_full((1, len(ids)), more)
        extended[name] = torch.cat([value, added.to(value)], dim=1)
    return extended


def _require_positions(loaded: LoadedModel, states: Mapping[int, Tensor], expected: int) -> None:
    """Every position once: otherwise states would be ambiguous.

    Raises:
        UnsupportedModelError: there are more or fewer.
    """
    for rows in states.values():
        if len(rows) != expected:
            raise unsupported(loaded, f"it read {len(rows)} positions of {expected} as it generated")
