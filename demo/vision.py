"""EfficientNet-Lite0 with ImageNet weights, expressed as transformers' EfficientNetModel.

Lite0 has no squeeze-and-excite and uses ReLU6. transformers' blocks always have a
squeeze-and-excite; with zero weights and a large bias in its last convolution its gate is
sigmoid(large) = 1.0 exactly, so it multiplies by one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from transformers import EfficientNetConfig, EfficientNetModel

IMAGE_SIZE = 224
GRID = 7
FEATURES = 1280
PIXEL_MEAN = 127.0
PIXEL_STD = 128.0
_OPEN_GATE = 50.0  # sigmoid(50) is 1.0 in float32


def vision_config() -> EfficientNetConfig:
    """The configuration that makes transformers' EfficientNet an EfficientNet-Lite0."""
    factory: Any = EfficientNetConfig  # hidden_size is ours: FastVLM's projector asks for it
    config: EfficientNetConfig = factory(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_act="relu6",
        hidden_dim=FEATURES,
        image_size=IMAGE_SIZE,
        hidden_size=FEATURES,
    )
    return config


def load_vision_tower(weights: Path) -> EfficientNetModel:
    """Copy the published weights into a fresh EfficientNetModel, layer by layer in order.

    Args:
        weights: the ``efficientnet-lite0-*.pth`` state dict.

    Raises:
        ValueError: the number or shapes of the layers differ.
    """
    published = torch.load(weights, map_location="cpu", weights_only=True)
    groups = _layers_in_order(published)
    model: Any = EfficientNetModel(vision_config())
    model.eval()
    targets = _targets_in_order(model)
    if len(groups) != len(targets):
        raise ValueError(f"the published weights have {len(groups)} layers, the model {len(targets)}")
    with torch.no_grad():
        for target, group in zip(targets, groups, strict=True):
            own = {k: v for k, v in target.state_dict().items() if k != "num_batches_tracked"}
            if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in group.items()}:
                raise ValueError(f"a layer's shapes differ: {own.keys()} against {group.keys()}")
            for name, value in group.items():
                own[name].copy_(value)
    _open_gates(model)
    tower: EfficientNetModel = model
    return tower


def preprocess(image: Image.Image) -> NDArray[np.float32]:
    """One RGB picture of any size as (3, 224, 224), as the model directory's processor does it."""
    resized = image.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(((np.asarray(resized, np.float32) - PIXEL_MEAN) / PIXEL_STD).transpose(2, 0, 1))


@torch.inference_mode()
def features(model: EfficientNetModel, pixels: NDArray[np.float32]) -> NDArray[np.float16]:
    """(n, 3, 224, 224) pixels to (n, 49, 1280) features, row by row from the top left."""
    out = model(torch.from_numpy(pixels)).last_hidden_state
    return np.asarray(out.flatten(2).transpose(1, 2).half().numpy())


def _layers_in_order(published: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in published.items():
        layer, _, name = key.rpartition(".")
        if name != "num_batches_tracked" and layer != "_fc":
            groups.setdefault(layer, {})[name] = value
    return list(groups.values())


def _targets_in_order(model: EfficientNetModel) -> list[nn.Module]:
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and "squeeze_excite" not in name
    ]


def _open_gates(model: EfficientNetModel) -> None:
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d) and "squeeze_excite" in name:
                module.weight.zero_()
                bias: Any = module.bias
                bias.fill_(_OPEN_GATE if name.endswith("expand") else 0.0)
