"""Where an architecture keeps its embeddings, blocks, final norm and unembedding: one table.

To add an architecture whose decoder stack is not found by itself, add one line to
:data:`LAYOUTS`, keyed by the ``model_type`` of the decoder's own configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..schemas.errors import UnsupportedModelError
from ..schemas.layers import asked_layers, check_layers, default_layers

__all__ = ["LAYOUTS", "LanguageModel", "asked_layers", "check_layers", "default_layers", "find_language_model"]


@dataclass(frozen=True)
class Layout:
    """Attribute names inside a decoder stack.

    Attributes:
        blocks: the ``nn.ModuleList`` of transformer blocks.
        norms: what is applied after the last block, in order; an entry may be ``None`` in a model.
        entry: what is applied between the embedding and the first block, positions apart; likewise.
    """

    blocks: str
    norms: tuple[str, ...]
    entry: tuple[str, ...] = ()


_LLAMA_LIKE = Layout("layers", ("norm",))
_GPT2_LIKE = Layout("h", ("ln_f",))

# fmt: off
_LLAMA_LIKE_TYPES = (
    "llama", "smollm3", "mistral", "ministral", "mixtral",
    "qwen2", "qwen2_moe", "qwen3", "qwen3_moe",
    "gemma", "gemma2", "gemma3_text",
    "olmo", "olmo2", "olmo3", "olmoe",
    "phi3", "phimoe",
    "stablelm", "starcoder2", "granite", "cohere", "cohere2",
    "glm", "glm4", "exaone4", "gpt_oss", "helium", "nemotron",
)
# fmt: on

#: By the decoder's ``model_type``. Every entry is compared with the architecture's own forward pass
#: in tests; others are discovered. `models.verification` checks either when
#: a model is loaded.
LAYOUTS: dict[str, Layout] = {
    **dict.fromkeys(_LLAMA_LIKE_TYPES, _LLAMA_LIKE),
    "phi": Layout("layers", ("final_layernorm",)),
    **dict.fromkeys(("gpt2", "gptj", "gpt_neo", "codegen", "falcon"), _GPT2_LIKE),
    "bloom": Layout("h", ("ln_f",), ("word_embeddings_layernorm",)),
    "gpt_neox": Layout("layers", ("final_layer_norm",)),
    "opt": Layout("layers", ("final_layer_norm", "project_out"), ("project_in",)),
    "mpt": Layout("blocks", ("norm_f",)),
}


_BOTH_WAYS_BY_MASK = ("paligemma",)


@dataclass(frozen=True)
class LanguageModel:
    """The decoder-only language model inside a text LLM or a VLM.

    Attributes:
        module: the decoder stack; takes ``input_ids`` or ``inputs_embeds``, has no LM head.
        blocks: its transformer blocks, in order of depth.
        final_norm: what follows the last block (usually one norm).
        embed_tokens: the input embedding.
        entry: what follows it before the first block (OPT's projection, BLOOM's norm); usually nothing.
        unembed: the LM head (often tied to the input embedding).
        n_layers: number of blocks; layers are numbered 0 ... n_layers.
        dim: width of a hidden state.
        vocab_size: rows of the unembedding.
        logit_scale: factor on the logits (Cohere, Granite); 1 elsewhere.
        logit_softcap: ``cap * tanh(logits / cap)`` (Gemma 2); ``None`` elsewhere.
        tied: whether the LM head is the input embedding.
    """

    module: nn.Module
    blocks: nn.ModuleList
    final_norm: nn.Module
    embed_tokens: nn.Module
    entry: nn.Module
    unembed: nn.Module
    n_layers: int
    dim: int
    vocab_size: int
    logit_scale: float
    logit_softcap: float | None
    tied: bool = False

    def logits(self, states: Tensor) -> Tensor:
        """What the model would predict from hidden states (Logit lens).

        Args:
            states: ``[..., dim]``, as a block emitted them (before the final norm).

        Returns:
            ``[..., vocab_size]`` logits, in the model's dtype. At layer ``n_layers`` they are the
            model's own.
        """
        scores: Tensor = self.unembed(self.final_norm(states)) * self.logit_scale
        if self.logit_softcap is not None:
            scores = torch.tanh(scores / self.logit_softcap) * self.logit_softcap
        return scores

    def embeddings(self, ids: Tensor) -> Tensor:
        """What stands for vocabulary entries at layer 0, position embeddings left out (Embedding lens).

        Scaling by one number (Granite) is left out, too: no cosine can show it.

        Args:
            ids: vocabulary ids, ``[n]``.

        Returns:
            ``[n, dim]``, in the model's dtype.
        """
        rows: Tensor = self.entry(self.embed_tokens(ids))
        return rows


def require_decoder_only(config: Any) -> None:
    """Refuse an encoder-decoder: half of its blocks never see what the other half reads.

    Raises:
        UnsupportedModelError: the configuration says it is one.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"The architecture {config.model_type!r} is an encoder-decoder; expected a decoder-only language model.",
            "Use a causal language model, or a VLM built on one.",
        )


def find_language_model(model: Any) -> LanguageModel:
    """Find the decoder-only language model inside a transformers model.

    Args:
        model: a causal LM or an image-text-to-text model, as transformers loads it.

    Raises:
        UnsupportedModelError: an encoder-decoder, or a stack whose blocks or final norm cannot be
            told apart.
    """
    require_decoder_only(model.config)
    kind = model.config.model_type
    module = _decoder(model)
    config = module.config
    layout = LAYOUTS.get(config.model_type)
    if layout is None:
        layout = _discover(module, kind)
    _read_text_forwards(kind, module)
    blocks = getattr(module, layout.blocks)
    unembed, embed_tokens = model.get_output_embeddings(), module.get_input_embeddings()
    if unembed is None:
        raise _unknown(kind, "it has no output embedding (LM head)")
    return LanguageModel(
        module=module,
        blocks=blocks,
        final_norm=_chain([getattr(module, name) for name in layout.norms]),
        embed_tokens=embed_tokens,
        entry=_chain([getattr(module, name) for name in layout.entry]),
        unembed=unembed,
        n_layers=len(blocks),
        dim=int(config.hidden_size),
        vocab_size=int(unembed.weight.shape[0]),
        logit_scale=_logit_scale(config),
        logit_softcap=getattr(config, "final_logit_softcapping", None),
        # As loaded: once accelerate has fetched weights, nothing shows that two of them are one.
        tied=getattr(unembed, "weight", None) is getattr(embed_tokens, "weight", 0),
    )


def _read_text_forwards(kind: str, module: nn.Module) -> None:
    """Let a language model that reads prompts both ways read text alone from left to right.

    PaliGemma tells its attention not to be causal and then masks every prompt itself, image and question
    seeing each other. Without an image there is no such mask: scaled-dot-product attention would read a
    text both ways, eager attention forwards. With an image this switch has no effect.
    """
    if kind in _BOTH_WAYS_BY_MASK:
        for part in module.modules():
            if hasattr(part, "is_causal"):
                setattr(part, "is_causal", True)  # noqa: B010 - a module attribute that mypy takes for a tensor


def _decoder(model: Any) -> Any:
    """Go inwards until the module is its own decoder: VLM → language model → decoder stack."""
    module = model
    while (inner := module.get_decoder()) is not module:
        if inner is None or not hasattr(inner, "get_decoder"):
            return module if inner is None else inner
        module = inner
    return module


def _logit_scale(config: Any) -> float:
    """Cohere multiplies its logits, Granite divides them."""
    return float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)


def _chain(parts: list[nn.Module | None]) -> nn.Module:
    present = [part for part in parts if part is not None]
    if len(present) == 1:
        return present[0]
    return nn.Sequential(*present)


def _discover(module: Any, kind: str) -> Layout:
    """Guess the layout of an architecture that is not in the table.

    Exactly one list of as many modules as the configuration counts layers, and exactly one norm
    beside it. `models.loading` then checks the guess by experiment.
    """
    n_layers = getattr(module.config, "num_hidden_layers", None)
    lists = [
        name
        for name, child in module.named_children()
        if isinstance(child, nn.ModuleList) and (n_layers is None or len(child) == n_layers) and len(child)
    ]
    if len(lists) != 1:
        raise _unknown(kind, f"expected one list of {n_layers} blocks, found {lists or 'none'}")
    names = [name for name, _ in module.named_children()]
    norms = [name for name in names[names.index(lists[0]) + 1 :] if "norm" in name.lower() or name == "ln_f"]
    if len(norms) != 1:
        raise _unknown(kind, f"expected one norm after the blocks, found {norms or 'none'}")
    return Layout(lists[0], (norms[0],))


def _unknown(kind: str, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The architecture {kind!r} is not known: {why}.",
        "Add a line for this architecture to LAYOUTS in models/layers.py.",
    )
