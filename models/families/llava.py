"""LLaVA-1.5 and its likes: one picture, one grid, row by row, without layout tokens.

The vision tower's class token is dropped (strategy ``default``), there is none, or it is a token of its own in front
of the patches (``full`` with a CLIP tower). The tower may be Pixtral's, with pictures of any size and break tokens:
see `models.families.pixtral`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ..loading import LoadedModel
from ..visual.patches import Family, Plan, Shown, image_features, unsupported, vision_config
from . import pixtral, single


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`.

    Raises:
        UnsupportedModelError: strategy ``full`` keeps more of the tower than patches and one class token, or
            ``default`` drops a patch.
    """
    if vision_config(loaded).model_type == "pixtral":
        return pixtral.plan(loaded, inputs, shown)
    found = single.patched(loaded, inputs, shown, single.patch_size(loaded))
    full = getattr(loaded.model.config, "vision_feature_select_strategy", "default") == "full"
    classes = single.class_tokens(loaded)
    if not full and classes:
        return found
    pictures = inputs["pixel_values"]
    alone = {**inputs, "pixel_values": pictures[shown.number : shown.number + 1]}
    made = single.measured_once(loaded, pictures[shown.number], lambda: _features(loaded, alone))
    extra = made - len(found.cells)
    if extra == 0:
        return found
    if not full:
        raise single.drops_a_patch(loaded)
    if extra != 1 or classes != 1:
        raise unsupported(
            loaded,
            f"its vision tower has {len(found.cells)} patches, but returns {made} tokens "
            "(vision_feature_select_strategy 'full')",
            "The extra tokens are understood only if there is exactly one, the class token. Use a model with strategy "
            "'default'.",
        )
    return replace(found, cells=("class", *found.cells))


def _features(loaded: LoadedModel, inputs: Mapping[str, Tensor]) -> int:
    """How many visual tokens the model makes of a picture."""
    made = image_features(loaded, inputs)
    pooled = getattr(made, "pooler_output", made)
    return len(pooled[0])


FAMILY = Family(types=("llava",), plan=plan, markers=pixtral.MARKERS)
