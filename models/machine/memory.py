"""How much memory reading one image takes, worked out before anything runs.

A bound for planning, not a promise: weights and kept states are exact, activations are counted from the
configuration's widths, and what libraries take for themselves (CUDA's context, kernels' workspaces) is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...schemas.inspection import MemoryEstimate
from ..loading import LoadedModel

# Values of a convolutional tower's first feature maps per pixel of the picture, as two of them are in memory.
_CONVOLUTION_VALUES = 96


def estimate_memory(
    loaded: LoadedModel,
    inputs: Mapping[str, Tensor],
    visual: int,
    layers: Collection[int],
    answer: int | None = None,
    generated: bool = False,
) -> MemoryEstimate:
    """What one image takes.

    Args:
        loaded: the model.
        inputs: its keyword arguments for the image.
        visual: visual tokens, or other positions, that are read.
        layers: that are read.
        answer: tokens of an answer that is read, too; ``None`` where there is none.
        generated: whether the model generates it, with a cache; else it is given.
    """
    width, dim = _width(loaded.dtype), loaded.lm.dim
    length = int(inputs["input_ids"].shape[1]) + (answer or 0)
    config: Any = loaded.lm.module.config
    language = _transformer(config, length, 1, width)
    tower = _tower(loaded, inputs, width)
    # Tower and connector are done before the first block runs; the embedded prompt is there all along.
    widest = max(language, tower) + 2 * length * dim * width
    kept, cache = len(layers) * dim * (length * width + visual * 4), 0
    if answer is not None:
        # Of every position: as each pass leaves it, joined, and in float32.
        kept = (len(layers) + 1) * dim * length * (2 * width + 4)
        said = 1 if generated else answer + 1  # positions whose logits there are at once
        widest += said * int(config.vocab_size) * (width + 8)
    if generated:  # a block's part is copied as it grows
        heads, head, pairs = _heads(config)
        cache = 2 * (loaded.lm.n_layers + 1) * length * pairs * head * width
    return MemoryEstimate(_weights(loaded.model), widest, kept, cache)


def _heads(config: Any) -> tuple[int, int, int]:
    """Heads of queries, their width, and heads of keys and values."""
    heads = _number(config, ("num_attention_heads", "num_heads"), 1)
    head = _number(config, ("head_dim",), int(config.hidden_size) // heads)
    return heads, head, _number(config, ("num_key_value_heads",), heads)


def _weights(model: nn.Module) -> int:
    held: dict[int, int] = {}
    fetched = 0
    for module in model.modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        held |= {t.data_ptr(): t.numel() * t.element_size() for t in own if not t.is_meta}
        fetched = max(fetched, sum(t.numel() * t.element_size() for t in own if t.is_meta))
    return sum(held.values()) + fetched


def _tower(loaded: LoadedModel, inputs: Mapping[str, Tensor], width: int) -> int:
    pixels = inputs.get("pixel_values")
    if pixels is None:
        return 0
    config: Any = getattr(loaded.model.config, "vision_config", None)
    patch = getattr(config, "patch_size", None)
    side: Any = patch[0] if isinstance(patch, list | tuple) else patch
    if not isinstance(side, int) or not getattr(config, "hidden_size", None):
        return pixels.numel() // 3 * _CONVOLUTION_VALUES * width
    # Qwen's processors give each patch twice, as two frames of a video.
    frames = _number(config, ("temporal_patch_size",), 1) if pixels.ndim == 2 else 1
    patches = pixels.numel() // (3 * side * side * frames)
    pictures = max(1, pixels.numel() // (3 * pixels.shape[-1] * pixels.shape[-2])) if pixels.ndim >= 4 else 1
    alive = _transformer(config, patches, pictures, width)
    if getattr(loaded.model.config, "vision_feature_layer", None) is not None:  # the tower keeps what every block gives
        alive += _blocks_of(config) * patches * int(config.hidden_size) * width
    return alive + pixels.numel() * width


def _transformer(config: Any, tokens: int, sequences: int, width: int) -> int:
    """The widest point of one block: attention or feed-forward, beside the residual stream and its normed copy."""
    dim = int(config.hidden_size)
    heads, head, pairs = _heads(config)
    wide = _number(config, ("intermediate_size",), dim * _number(config, ("mlp_ratio",), 4))
    # Queries and keys before and after rotation, values, the output and its projection.
    attention = tokens * (3 * heads * head + 3 * pairs * head + dim) * width
    each = tokens // sequences
    scores = sequences * each * each
    if getattr(config, "_attn_implementation", "sdpa") == "eager":
        attention += heads * scores * (4 + 2 * width)  # logits, softmax in float32, weights
    feed_forward = tokens * (3 * wide + dim) * width
    return 3 * tokens * dim * width + max(attention, feed_forward) + scores * width


def _blocks_of(config: Any) -> int:
    return _number(config, ("num_hidden_layers", "depth"), 0)


def _number(config: Any, names: tuple[str, ...], otherwise: int) -> int:
    """The first setting there is; the largest where blocks differ."""
    for name in names:
        value: Any = getattr(config, name, None)
        if value:
            return int(math.ceil(max(value) if isinstance(value, list | tuple) else value))
    return otherwise


def _width(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()
