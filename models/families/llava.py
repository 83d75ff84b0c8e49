"""LLaVA-1.5 and its likes: one picture, one grid, row by row, without layout tokens.

The vision tower's class token is dropped (strategy ``default``), or there is none (``full``).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from models.families import single
from models.loading import LoadedModel
from models.patches import Family, Plan


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], number: int, size: tuple[int, int]) -> Plan:
    """See :class:`models.patches.Family`."""
    return single.patched(loaded, inputs, number, size, single.patch_size(loaded))


FAMILY = Family(types=("llava",), plan=plan)
