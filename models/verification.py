"""Check by experiment the properties of a language model that no table or configuration guarantees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..schemas.errors import ModelError, UnsupportedModelError
from .capture import capture_hidden_states, changed_output
from .layers import LanguageModel
from .machine.offload import execution_device

# Relative to the norm: the same sums in another order differ by less, even in bfloat16.
_TOLERANCE = 0.02
# Logits are made of one and the same state by the same operations: in float32 only their last roundings differ.
_LOGIT_TOLERANCE = {torch.float32: 1e-3}


# An unknown soft cap moves ordinary logits by half a percent, as much as 16 bits round: they are compared at a size
# that every cap in use (30 to 50) bends by a third at least.
_LOUD = 200.0


def verify_language_model(lm: LanguageModel) -> None:
    """Run two short sequences through a model (milliseconds; a second at 7 B on a CPU).

    Two things must hold, or banks would be wrong without anyone noticing: the final norm applied
    to the last block's output gives the model's own last hidden state, and a token's state depends
    on nothing that follows it (point ids identify a state with its prefix; models made for
    retrieval are often causal ones with the mask taken away).

    Raises:
        UnsupportedModelError: one of them does not.
    """
    config: Any = lm.module.config
    kind, deepest = config.model_type, lm.n_layers
    ids = torch.tensor([[3, 1, 4, 1, 5]], device=execution_device(lm.embed_tokens)) % lm.vocab_size
    other = ids.clone()
    other[0, -1] = 2 % lm.vocab_size
    with torch.inference_mode(), _explained(kind):
        with capture_hidden_states(lm, [deepest], stop_early=False) as states:
            last = lm.module(input_ids=ids, use_cache=False).last_hidden_state
        with capture_hidden_states(lm, [deepest]) as changed:
            lm.module(input_ids=other, use_cache=False)
        if _differ(lm.final_norm(states[deepest]), last):
            raise UnsupportedModelError(
                f"The architecture {kind!r} does not end in the norm that lensbank found.",
                "Add a line for this architecture to LAYOUTS in models/layers.py.",
            )
        if _differ(states[deepest][:, :-1], changed[deepest][:, :-1]):
            raise UnsupportedModelError(
                f"This {kind!r} model is not causal: a token's state depends on what follows it.",
                "Use a decoder-only (causal) language model.",
            )


@contextmanager
def _explained(kind: str) -> Iterator[None]:
    """Say in a sentence that a model's own code fails on five tokens: its configuration contradicts itself, mostly."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        said = (str(error).strip() or type(error).__name__).partition("\n")[0][:200].rstrip(".")
        raise ModelError(
            f"This {kind!r} model fails on a text of five tokens: {said}.",
            "Check the sizes in config.json, or update transformers.",
        ) from error


def with_own_logits(lm: LanguageModel, model: Any) -> LanguageModel:
    """Say how the model as a whole makes logits of its last state, found by experiment.

    A language model's configuration may speak of a scale or a soft cap that the class around it (a VLM's)
    does not apply.

    Args:
        lm: as found by its configuration.
        model: the model it is part of; text alone must be a possible input.

    Raises:
        UnsupportedModelError: no known way gives the model's logits.
    """
    ids = torch.tensor([[3, 1, 4, 1, 5]], device=execution_device(lm.embed_tokens)) % lm.vocab_size
    with torch.inference_mode():
        try:
            with _loud(lm, model), capture_hidden_states(lm, [lm.n_layers], stop_early=False) as states:
                logits = model(input_ids=ids, use_cache=False).logits
        except (TypeError, ValueError, AttributeError) as error:
            raise UnsupportedModelError(
                f"{type(model).__name__} cannot read text without an image: {error}.",
                "lensbank cannot make banks with this model or check its logits; see docs/adding-a-model.md.",
            ) from error
        plain = replace(lm, logit_scale=1.0)
        ways = [lm, replace(lm, logit_softcap=None), plain, replace(plain, logit_softcap=None)]
        with _loud(lm, model):
            gaps = [_gap(way.logits(states[lm.n_layers]), logits) for way in ways]
    best = min(gaps)
    if best > _LOGIT_TOLERANCE.get(states[lm.n_layers].dtype, _TOLERANCE):
        raise UnsupportedModelError(
            f"The logits of {type(model).__name__} differ from its last state after norm and head.",
            "The model computes something else in between; see docs/adding-a-model.md.",
        )
    return ways[gaps.index(best)]


@contextmanager
def _loud(lm: LanguageModel, model: nn.Module) -> Iterator[None]:
    """Scale what the final norm gives, for whoever calls it, until the largest logit is :data:`_LOUD`."""
    last = lm.final_norm
    while isinstance(last, nn.Sequential) and len(last):
        last = last[-1]  # the model calls the parts, not what we made of them
    if all(module is not last for module in model.modules()):
        yield
        return

    def scale(output: Tensor) -> Tensor:
        top = float((lm.unembed(output) * lm.logit_scale).abs().max())
        return output * (_LOUD / top) if 0 < top < _LOUD else output

    with changed_output(last, scale):
        yield


def _gap(one: Tensor, other: Tensor) -> float:
    """Distance relative to the second one's norm; 0 where neither is finite (broken states have their own error)."""
    if one.shape != other.shape:
        return float("inf")
    one, other = one.float().cpu(), other.float().cpu()  # a spread model's parts answer from different devices
    sound = bool(one.isfinite().all()), bool(other.isfinite().all())
    if not all(sound):
        return float("inf") if any(sound) else 0.0
    norm = torch.linalg.vector_norm(other)
    gap = torch.linalg.vector_norm(one - other)
    return float(gap / norm) if norm > 0 else float(gap)


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are apart. NaN on both sides counts as equal: broken states have their own error."""
    return _gap(one, other) > _TOLERANCE
