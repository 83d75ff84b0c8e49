"""GLM-4V (GLM-4.1V, GLM-4.5V, GLM-4.6V): the grid of Qwen2-VL between start and end tokens of its own.

The processor stretches the image to whole merged cells (28 px) within a budget of pixels and cuts it into patches,
cell by cell. A convolution of 2 x 2 patches makes one visual token of each cell. The tower's position embeddings
are interpolated to the grid.
"""

from __future__ import annotations

from dataclasses import replace

from . import qwen_vl

FAMILY = replace(
    qwen_vl.FAMILY,
    types=("glm4v", "glm4v_moe", "glm46v"),
    markers={"<|begin_of_image|>": "start", "<|end_of_image|>": "end"},
)
