"""PaliGemma and PaliGemma 2: one square picture, one token per patch, and a prompt that is read in both directions.

The prompt (image and question) is a prefix: every token of it attends to every other. So a visual token's
states depend on the question, too. The corpus is read as text is written, one token after the other. Text
embeddings are scaled by the square root of the width, inside the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..loading import LoadedModel
from ..visual.patches import Family, Plan, Shown
from . import single


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    return single.patched(loaded, inputs, shown, single.patch_size(loaded))


FAMILY = Family(
    types=("paligemma",),
    plan=plan,
    notes=(
        "The model reads its whole prompt in both directions: the states of the visual tokens depend on the question.",
    ),
    separator="",
    answer_type=1,
)
