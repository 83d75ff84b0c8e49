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
    loaded: LoadedModel, inputs: Mapping[str, Tensor], visual: int, layers: Collection[int]
) -> MemoryEstimate:
    """What one image takes.

    Args:
        loaded: the model.
        inputs: its keyword arguments for the image.
        visual: visual tokens that are read.
        layers: that are read.
    """
    width = _width(loaded.dtype)
    length = int(inputs["input_ids"].shape[1])
    language = _transformer(loaded.lm.module.config, length, 1, width)
    tower = _tower(loaded, inputs, width)
    # Tower and connector are done before the first block runs; the embedded prompt is there all along.
    widest = max(language, tower) + 2 * length * loaded.lm.dim * width
    kept = len(layers) * loaded.lm.dim * (length * width + visual * 4)
    return MemoryEstimate(_weights(loaded.model), widest, kept)


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
    heads = _number(config, ("num_attention_heads", "num_heads"), 1)
    head = _number(config, ("head_dim",), dim // heads)
    pairs = _number(config, ("num_key_value_heads",), heads)
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
