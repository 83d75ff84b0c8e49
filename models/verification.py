"""Check by experiment what a table cannot promise: a language model found by discovery."""

from __future__ import annotations

from typing import Any

import torch

from models.capture import capture_hidden_states
from models.layers import LanguageModel
from schemas.errors import UnsupportedModelError


def verify_language_model(lm: LanguageModel) -> None:
    """Run a few tokens through a discovered architecture; known ones are trusted.

    Two things must hold, or banks would be wrong without anyone noticing: the final norm applied
    to the last block's output gives the model's own last hidden state, and a token's state depends
    on nothing that follows it (point ids identify a state with its prefix).

    Raises:
        UnsupportedModelError: one of them does not.
    """
    if lm.verified:
        return
    config: Any = lm.module.config
    kind = config.model_type
    device = next(lm.embed_tokens.parameters()).device
    ids = torch.tensor([[3, 1, 4, 1, 5]], device=device) % lm.vocab_size
    other = ids.clone()
    other[0, -1] = 2 % lm.vocab_size
    with torch.inference_mode():
        with capture_hidden_states(lm, [lm.n_layers], stop_early=False) as states:
            last = lm.module(input_ids=ids, use_cache=False).last_hidden_state
        with capture_hidden_states(lm, [lm.n_layers]) as changed:
            lm.module(input_ids=other, use_cache=False)
        deepest = states[lm.n_layers]
        if not torch.allclose(lm.final_norm(deepest), last, rtol=1e-2, atol=1e-3):
            raise UnsupportedModelError(
                f"The architecture {kind!r} does not end in the norm that was found.",
                "Add a line for it to LAYOUTS in models/layers.py.",
            )
        if not torch.allclose(deepest[:, :-1], changed[lm.n_layers][:, :-1], rtol=1e-2, atol=1e-3):
            raise UnsupportedModelError(
                f"The architecture {kind!r} is not causal: a token's state depends on what follows it.",
                "Use a decoder-only (causal) language model.",
            )
