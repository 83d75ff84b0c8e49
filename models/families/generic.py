"""Any VLM that sees one picture as one grid of patches, row by row: for families without a file of their own.

The grid is a guess that is announced with every result. What cannot be guessed is refused, and so is a guess that
an experiment contradicts: pixels under some cells are changed, and the tokens that stand for those cells must be
among those that notice most. Learned queries (Q-Former, Perceiver resampler), whose number may well be a square,
see the whole picture each and fail it, as do other orders of the patches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..loading import LoadedModel
from ..visual.geometry import Span, cells_of, even
from ..visual.patches import Family, Plan, Shown, image_features, unsupported
from . import single

_PROBES = 12
# Share of tokens that may notice a change more than the one whose pixels were changed, on average. By chance it is
# half of them, with a standard deviation of 0.08 over so many places; where attention mixes patches it is near 0.
_AHEAD = 0.15


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`.

    Raises:
        UnsupportedModelError: several pictures (tiles), a count that is no grid, or a processor
            that cannot be traced.
    """
    pictures = inputs.get("pixel_values")
    if pictures is None or pictures.ndim != 4 or pictures.shape[0] != 1:
        seen = "no pixel_values" if pictures is None else f"pixel_values of shape {tuple(pictures.shape)}"
        raise unsupported(loaded, f"its processor returned {seen}; expected one picture [1, 3, height, width]")
    pixels, mapped = single.picture(loaded, inputs, shown)
    count = single.measured_once(loaded, pixels, lambda: len(_features(image_features(loaded, inputs))))
    rows, cols = _guess(loaded, count, mapped.y.size, mapped.x.size)
    if not single.measured_once(loaded, pixels, lambda: _is_local(loaded, inputs, rows, cols), "local"):
        raise unsupported(
            loaded,
            f"a test changed pixels under cells of a {len(rows)} x {len(cols)} grid, and the tokens at those places "
            "did not change most, so its visual tokens are not patches in rows",
        )
    return single.one_grid(pixels, mapped, rows, cols)


def _guess(loaded: LoadedModel, count: int, height: int, width: int) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Rows and columns, by the declared size of a patch or as a square."""
    patch = _declared_patch(loaded)
    if patch and (height // patch) * (width // patch) == count:
        return cells_of(height // patch, patch), cells_of(width // patch, patch)
    side = math.isqrt(count)
    if side * side == count and height == width:
        return even(side, height), even(side, width)
    raise unsupported(loaded, f"{count} visual tokens of a {width} x {height} picture do not form a square grid")


def _is_local(
    loaded: LoadedModel, inputs: Mapping[str, Tensor], rows: tuple[Span, ...], cols: tuple[Span, ...]
) -> bool:
    """Whether tokens answer to the pixels of their own cells, at chosen places of a picture of noise."""
    pixels = inputs["pixel_values"]
    chance = torch.Generator().manual_seed(0)
    noise = torch.randn(pixels.shape, generator=chance).to(pixels)
    before = _features(image_features(loaded, {**inputs, "pixel_values": noise}))
    count = len(rows) * len(cols)
    places = torch.randperm(count, generator=chance)[:_PROBES].tolist()
    ahead = 0.0
    for place in places:
        (top, bottom), (left, right) = rows[place // len(cols)], cols[place % len(cols)]
        changed = noise.clone()
        changed[..., round(top) : round(bottom), round(left) : round(right)] *= -1
        moved = (_features(image_features(loaded, {**inputs, "pixel_values": changed})) - before).norm(dim=-1)
        ahead += float((moved > moved[place]).float().mean())
    return ahead / len(places) < _AHEAD


def _features(features: object) -> Tensor:
    """What the connector made, ``[n, dim]`` in float32.

    Raises:
        TypeError: no tensor.
    """
    pooled = getattr(features, "pooler_output", features)
    parts = pooled if isinstance(pooled, list | tuple) else [pooled]
    return torch.cat([part.reshape(-1, part.shape[-1]).float() for part in parts if isinstance(part, Tensor)])


def _declared_patch(loaded: LoadedModel) -> int | None:
    patch = getattr(getattr(loaded.model.config, "vision_config", None), "patch_size", None)
    return patch if isinstance(patch, int) else None


FAMILY = Family(types=(), plan=plan, several=False)
