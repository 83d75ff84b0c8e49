"""Any VLM that sees one picture as one grid of patches, row by row: for families without a file of their own.

The grid is a guess that is announced with every result. What cannot be guessed is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from models.families import single
from models.geometry import cells_of, even
from models.loading import LoadedModel
from models.patches import Family, Plan, Shown, image_features, unsupported


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.patches.Family`.

    Raises:
        UnsupportedModelError: several pictures (tiles), a count that is no grid, or a processor
            that cannot be traced.
    """
    pictures = inputs.get("pixel_values")
    if pictures is None or pictures.ndim != 4 or pictures.shape[0] != 1:
        seen = "no pixel_values" if pictures is None else f"pixel_values of shape {tuple(pictures.shape)}"
        raise unsupported(loaded, f"expected one picture [1, 3, height, width], its processor gave {seen}")
    pixels, mapped = single.picture(loaded, inputs, shown)
    count = single.measured_once(loaded, pixels, lambda: _feature_count(image_features(loaded, inputs)))
    height, width = mapped.y.size, mapped.x.size
    patch = _declared_patch(loaded)
    if patch and (height // patch) * (width // patch) == count:
        return single.one_grid(pixels, mapped, cells_of(height // patch, patch), cells_of(width // patch, patch))
    side = math.isqrt(count)
    if side * side == count and height == width:
        return single.one_grid(pixels, mapped, even(side, height), even(side, width))
    raise unsupported(loaded, f"{count} visual tokens of a {width} x {height} picture are no square grid")


def _feature_count(features: object) -> int:
    """How many feature vectors the connector made."""
    pooled = getattr(features, "pooler_output", features)
    parts = pooled if isinstance(pooled, list | tuple) else [pooled]
    return sum(part.numel() // part.shape[-1] for part in parts if isinstance(part, Tensor))


def _declared_patch(loaded: LoadedModel) -> int | None:
    patch = getattr(getattr(loaded.model.config, "vision_config", None), "patch_size", None)
    return patch if isinstance(patch, int) else None


FAMILY = Family(types=(), plan=plan)
