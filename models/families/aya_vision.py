"""Aya Vision: tiles row by row, then the whole image; pixel shuffle, each picture behind a marker of its own.

Tiling is InternVL's. The text around the pictures reads ``TILE_1``, ``TILE_2`` ... and, before the whole image,
``TILE_GLOBAL``; an image of one picture has only that. Cohere 2 scales its logits; the class around it does not.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..loading import LoadedModel
from ..visual.patches import Family, Plan, Shown
from . import internvl
from .single import patch_size

_TILES = 36  # more than any published processor makes
_MARKERS = {
    "<|START_OF_IMG|>": "start",
    "<|END_OF_IMG|>": "end",
    "TILE_GLOBAL": "tile",
    **{f"TILE_{number}": "tile" for number in range(1, _TILES)},
}


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    return internvl.tiled(loaded, inputs, shown, patch_size(loaded) * int(loaded.model.config.downsample_factor))


FAMILY = Family(types=("aya_vision",), plan=plan, markers=_MARKERS, bounded=None)
