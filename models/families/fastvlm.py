"""FastVLM: a convolutional tower whose feature map is the patch grid.

``get_image_features`` flattens the tower's last feature map ``[n, channels, rows, cols]`` row by
row into the connector, so the map itself says how many rows and columns there are: 7 x 7 for an
EfficientNet at 224 px, 16 x 16 for FastViTHD at 1024 px. A convolution sees beyond its own cell of
the map: the box is that cell's share of the picture, not all that has reached it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..loading import LoadedModel
from ..visual.geometry import even
from ..visual.patches import Family, Plan, Shown, image_features, unsupported
from . import single


def plan(loaded: LoadedModel, inputs: Mapping[str, Tensor], shown: Shown) -> Plan:
    """See :class:`models.visual.patches.Family`."""
    pixels, mapped = single.picture(loaded, inputs, shown)
    rows, cols = single.measured_once(loaded, pixels, lambda: _feature_map(loaded, pixels))
    return single.one_grid(pixels, mapped, even(rows, mapped.y.size), even(cols, mapped.x.size))


def _feature_map(loaded: LoadedModel, pixels: Tensor) -> tuple[int, int]:
    """Rows and columns of the tower's last feature map."""
    feature_map = getattr(image_features(loaded, {"pixel_values": pixels[None]}), "last_hidden_state", None)
    if feature_map is None or feature_map.ndim != 4:
        raise unsupported(loaded, "its vision tower returned no feature map [1, channels, rows, cols]")
    rows, cols = feature_map.shape[-2:]
    return int(rows), int(cols)


FAMILY = Family(types=("fast_vlm",), plan=plan)
