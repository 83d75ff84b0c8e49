"""Qwen3-VL: the grid of Qwen2-VL, and visual features that enter again after the first blocks (DeepStack).

After block k (k = 1 ... 3, say) the model adds to every visual token a feature from a middle layer of
the vision tower. Layer k is what block k put out, as everywhere: before that addition. Block k + 1 reads the sum.
"""

from __future__ import annotations

from dataclasses import replace

from . import qwen_vl

FAMILY = replace(
    qwen_vl.FAMILY,
    types=("qwen3_vl",),
    notes=(
        "DeepStack: after each of its first blocks, the model adds visual features to these tokens; layer k is the "
        "output of block k before that addition.",
    ),
)
