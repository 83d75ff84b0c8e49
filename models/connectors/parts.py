"""The language model and the vision encoder that a connector was trained between: fetched, and checked to fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    CLIPVisionModel,
    Dinov2Model,
    SiglipVisionModel,
)

from ...schemas.errors import ModelError
from ..files.loading_errors import translated
from ..files.plausibility import read_configuration
from .checkpoint import ENCODERS, Recipe

_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
_ENCODER_CLASSES: dict[str, Any] = {
    "clip_vision_model": CLIPVisionModel,
    "siglip_vision_model": SiglipVisionModel,
    "dinov2": Dinov2Model,
}
#: ``model_type`` of checkpoints that were published before their class was renamed.
_RENAMED = {"olmo_1124": "olmo2"}


@dataclass(frozen=True)
class Part:
    """A model to take weights from.

    Attributes:
        name: as the user gave it.
        folder: where its files are.
    """

    name: str
    folder: Path


def fetch_part(source: str, with_code: bool = False) -> Part:
    """A directory, or what the hub has under an id: safetensors where there are any, else pickled weights.

    Raises:
        ModelError: neither, or it cannot be fetched.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return Part(source, path.resolve())
    if path.is_file() or source.startswith((".", "/", "~")):
        raise ModelError(f"There is no model directory {source}.", "Give a model directory or a hub id.")
    with translated(source, "weights"):
        small = (*_SMALL_FILES, "*.py") if with_code else _SMALL_FILES
        folder = Path(snapshot_download(source, allow_patterns=[*small, "*.safetensors"]))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(source, allow_patterns=[*small, "pytorch_model*.bin"]))
    return Part(source, folder)


def weight_files(part: Part) -> list[Path]:
    """The files that hold its weights.

    Raises:
        ModelError: there are none.
    """
    found = sorted(part.folder.glob("*.safetensors")) or sorted(part.folder.glob("pytorch_model*.bin"))
    if not found:
        raise ModelError(f"{part.name} has no weights (*.safetensors).", "Fetch the model again.")
    return found


def text_config(part: Part, recipe: Recipe, trust_remote_code: bool = False) -> tuple[Any, list[str]]:
    """The language model's configuration as it was in training, and what had to be changed for that.

    Raises:
        ModelError: it is no language model of that shape.
    """
    with translated(part.name, "configuration"):
        settings = read_configuration(part.folder)
        kind = _RENAMED.get(str(settings.get("model_type")))
        config = (
            AutoConfig.for_model(kind, **{k: v for k, v in settings.items() if k != "model_type"})
            if kind
            # transformers' own class where it has one: of another, no state is known to be the same.
            else AutoConfig.from_pretrained(
                part.folder, trust_remote_code=trust_remote_code and settings.get("model_type") not in CONFIG_MAPPING
            )
        )
    if type(config) not in AutoModelForCausalLM._model_mapping or not hasattr(config, "rms_norm_eps"):
        raise ModelError(
            f"{part.name} is a {config.model_type!r} model; expected a causal language model with RMS norms.",
            "The connectors were trained with OLMo-7B-1024-preview, Qwen2-7B and Meta-Llama-3-8B.",
        )
    _require(part.name, {**recipe.text, "rope_theta": _rope_theta(recipe)}, config, "language model")
    notes = []
    if config.rms_norm_eps != recipe.norm_eps:
        notes.append(
            f"rms_norm_eps of the language model was {config.rms_norm_eps:g}; the connector was trained with "
            f"{recipe.norm_eps:g}, which was written instead."
        )
        config.rms_norm_eps = recipe.norm_eps
    return config, notes


def load_encoder(source: str, recipe: Recipe) -> Any:
    """The vision encoder, with position embeddings for the connector's size of picture.

    Raises:
        ModelError: it cannot be loaded, or is another one than the connector's.
    """
    part = fetch_part(source)
    kind = ENCODERS[recipe.encoder][0]
    with translated(source, "weights"):
        read_configuration(part.folder)
        config = AutoConfig.from_pretrained(part.folder, trust_remote_code=False)
        config = getattr(config, "vision_config", config)
        if config.model_type != kind:
            raise ModelError(f"{source} is a {config.model_type!r} model; the connector was trained with {kind!r}.")
        model, report = _ENCODER_CLASSES[kind].from_pretrained(
            part.folder, config=config, dtype=torch.float32, output_loading_info=True
        )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(f"The weights of {source} are incomplete: {missing[0]} is missing.", "Fetch the model again.")
    _require(source, recipe.vision, config, "vision encoder")
    deepest = max(recipe.vision_layers)
    if not 0 <= min(recipe.vision_layers) <= deepest <= config.num_hidden_layers:
        raise ModelError(f"{source} has {config.num_hidden_layers} blocks; the connector reads block {deepest}.")
    _fit_positions(model, recipe.image_size // config.patch_size)
    model.config.image_size = recipe.image_size
    return model


def _rope_theta(recipe: Recipe) -> Any:
    return recipe.text["rope_theta"]


def _require(name: str, expected: Mapping[str, Any], config: Any, what: str) -> None:
    """Refuse a part of another shape."""
    for setting, value in expected.items():
        seen = _setting(config, setting)
        if seen is not None and seen != value:
            raise ModelError(
                f"{name} is not the {what} of this connector: {setting} is {seen}, expected {value}.",
                "Give the model that the connector was trained with.",
            )


def _setting(config: Any, name: str) -> Any:
    if name == "rope_theta":
        rope = getattr(config, "rope_parameters", None) or {}
        return rope.get("rope_theta", getattr(config, "rope_theta", None))
    return getattr(config, name, None)


def _fit_positions(model: Any, grid: int) -> None:
    """Interpolate position embeddings once, the way the connectors were trained with.

    transformers would interpolate DINOv2's at every call, to slightly other values.
    """
    embeddings = model.embeddings
    own = getattr(embeddings, "position_embedding", None)
    table = own.weight if own is not None else embeddings.position_embeddings[0]
    prefix = table.shape[0] - int((table.shape[0]) ** 0.5) ** 2
    side = int((table.shape[0] - prefix) ** 0.5)
    if side == grid:
        return
    old = table[prefix:].detach().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factor = (grid + 0.1) / side
    new = nn.functional.interpolate(old, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
    rows = torch.cat([table[:prefix].detach(), new.permute(0, 2, 3, 1).reshape(grid * grid, -1)])
    if own is not None:
        own.weight = nn.Parameter(rows)
        own.num_embeddings = len(rows)
    else:
        embeddings.position_embeddings = nn.Parameter(rows[None])
