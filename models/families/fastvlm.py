"""FastVLM: a convolutional tower whose feature map is the patch grid.

``get_image_features`` flattens the tower's last feature map ``[1, channels, rows, cols]`` row by
row into the connector, so the map itself says how many rows and columns there are: 7 x 7 for an
EfficientNet at 224 px, 16 x 16 for FastViTHD at 1024 px.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from models.loading import LoadedModel
from models.patches import (
    Placement,
    feature_count,
    image_features,
    place_grid,
    token_positions,
    trace_pixels,
    unsupported,
)


def place(loaded: LoadedModel, inputs: Mapping[str, Tensor], size: tuple[int, int]) -> Placement:
    """Locate the visual tokens of one image.

    Args:
        loaded: a FastVLM model.
        inputs: what its processor made.
        size: width and height of the original image.

    Raises:
        UnsupportedModelError: token and feature counts differ, or the processor cannot be traced.
    """
    features = image_features(loaded, inputs)
    positions = token_positions(loaded, inputs, feature_count(features))
    feature_map = getattr(features, "last_hidden_state", None)
    if feature_map is None or feature_map.ndim != 4:
        raise unsupported(loaded, "its vision tower gave no feature map [1, channels, rows, cols]")
    rows, cols = feature_map.shape[-2:]
    return place_grid(trace_pixels(loaded, inputs, size), rows, cols, positions)
