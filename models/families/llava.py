"""LLaVA-1.5 and its likes: one picture, one grid, row by row, without layout tokens.

The vision tower's class token is dropped (strategy ``default``), or there is none (``full``). The tower may
be Pixtral's, with pictures of any size and break tokens: see `models.families.pixtral`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..loading import LoadedModel
from ..patches import Family, Plan, Shown, vision_config
from . import pixtral, single


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.patches.Family`."""
    if vision_config(loaded).model_type == "pixtral":
        return pixtral.plan(loaded, inputs, shown)
    return single.patched(loaded, inputs, shown, single.patch_size(loaded))


FAMILY = Family(types=("llava",), plan=plan, markers=pixtral.MARKERS)
