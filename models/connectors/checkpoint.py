"""A published connector: ``connector.pt`` (five tensors) and ``config.yaml`` (how it was trained).

Layout, names and settings as published with LatentLens (github.com/McGill-NLP/latentlens, folders ``reproduce`` and
``molmo``; weights at McGill-NLP/latentlens-connectors on the hub). Of the configuration, only what decides the
architecture is read, and whatever is not as in those nine models is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from ...schemas.errors import InputError, ModelError
from ..files.tensor_files import tensors_of

#: Published tensor → tensor of :class:`models.connectors.model.ConnectorVlm`.
TENSORS = {
    "vision_backbone.image_projector.w1.weight": "connector.w1.weight",
    "vision_backbone.image_projector.w2.weight": "connector.w2.weight",
    "vision_backbone.image_projector.w3.weight": "connector.w3.weight",
    "vision_backbone.pad_embed": "padding_embedding.weight",
    "transformer.wte.new_embedding": "additional_embedding.weight",
}
_LONGEST_CONFIG = 1 << 18  # bytes; the nine have some 10,000
#: Order of the special tokens' ids.
SPECIAL_TOKENS = ("im_start", "im_end", "im_patch", "im_col")
#: What all nine have in common.
_EXPECTED = {
    "image_projector": "mlp",
    "image_pooling_2d": "none",
    "image_pooling_h": 1,
    "image_pooling_w": 1,
    "crop_mode": "resize",
    "normalize_input_embeds": False,
    "scale_logits": False,
}
_RESIZING = {"default": "letterbox", "siglip": "stretch-bilinear", "dino": "stretch-bicubic"}
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
#: Kind of encoder → its ``model_type`` in transformers, and the mean and deviation of its pixels.
ENCODERS = {
    "openai": ("clip_vision_model", _CLIP),
    "siglip": ("siglip_vision_model", _HALF),
    "dino": ("dinov2", _IMAGENET),
}


@dataclass(frozen=True)
class Recipe:
    """How a connector was trained: what decides the architecture.

    Attributes:
        encoder: ``openai``, ``siglip`` or ``dino``.
        resizing: see `models.connectors.pixels`.
        image_size: side of the square picture.
        vision: settings that the vision encoder must have, in transformers' names.
        vision_layers: ``hidden_states`` that are concatenated.
        text: settings that the language model must have, in transformers' names.
        norm_eps: of the language model's norms in training.
        connector_hidden_size: width inside the connector.
        first_special_id: id of the start token; the others follow; ``None``: after the tokenizer's last.
        additional_embeddings: rows of the additional embedding.
        column_tokens: whether a column token follows every row.
        padding_embedding: whether there are trained vectors for padding.
    """

    encoder: str
    resizing: str
    image_size: int
    vision: Mapping[str, Any]
    vision_layers: tuple[int, ...]
    text: Mapping[str, Any]
    norm_eps: float
    connector_hidden_size: int
    first_special_id: int | None
    additional_embeddings: int
    column_tokens: bool
    padding_embedding: bool


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The connector's tensors, named as in our model.

    Raises:
        InputError: the file cannot be read safely.
        ModelError: a tensor too many or missing. (Shapes are checked when they are written.)
    """
    found = dict(tensors_of(path))
    extra, missing = sorted(set(found) - set(TENSORS)), sorted(set(TENSORS) - set(found))
    if "vision_backbone.pad_embed" in missing:
        missing.remove("vision_backbone.pad_embed")  # a connector trained without
    if extra or missing:
        seen = f"holds {extra[0]}" if extra else f"lacks {missing[0]}"
        raise ModelError(f"{path} {seen}; expected the tensors of a connector: {', '.join(TENSORS)}.")
    return {TENSORS[name]: tensor for name, tensor in found.items()}


def read_recipe(path: Path) -> Recipe:
    """Read the configuration of a connector.

    Raises:
        InputError: it is no configuration of that kind.
        ModelError: an architecture other than that of the nine connector VLMs.
    """
    try:
        model = _yaml(path)["model"]
        return _recipe(model, path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as YAML: {' '.join(str(error).split())[:200]}.") from error
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"{path} is not the configuration of a connector: {type(error).__name__}, {str(error)[:200]}.",
            "Fetch it again.",
        ) from error


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without aliases, by which a few lines can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it uses YAML aliases (*name), which the published configurations do not")
        return super().compose_node(parent, index)


def _yaml(path: Path) -> Any:
    with path.open("rb") as file:
        data = file.read(_LONGEST_CONFIG + 1)
    if len(data) > _LONGEST_CONFIG:
        raise yaml.YAMLError(f"it has more than {_LONGEST_CONFIG:,} bytes")
    return yaml.load(data.decode(), _PlainLoader)  # noqa: S506 - a safe loader


def _recipe(model: Mapping[str, Any], path: Path) -> Recipe:
    vision = model["vision_backbone"]
    for name, value in _EXPECTED.items():
        if model[name] != value:
            raise _another(path, name, model[name], value)
    padding = model["image_padding_embed"]
    if padding not in (None, "pad_and_partial_pad"):
        raise _another(path, "image_padding_embed", padding, "pad_and_partial_pad")
    kind, resizing = vision["image_model_type"], vision["resize_mode"]
    if kind not in ENCODERS or resizing not in _RESIZING:
        raise _another(path, "image_model_type, resize_mode", (kind, resizing), "one of CLIP, SigLIP or DINOv2")
    if vision.get("use_n_token_only") not in (None, -1, []):
        raise _another(path, "use_n_token_only", vision["use_n_token_only"], "all tokens")
    if model.get("vit_intermediate_layer") is not None:
        raise _another(path, "vit_intermediate_layer", model["vit_intermediate_layer"], None)
    height, width = vision["image_default_input_size"]
    if height != width or height % vision["image_patch_size"]:
        raise _another(path, "image_default_input_size", (height, width), "a square of whole patches")
    depth = vision["image_num_layers"]
    return Recipe(
        encoder=kind,
        resizing=_RESIZING[resizing],
        image_size=int(height),
        vision={
            "hidden_size": vision["image_emb_dim"],
            "num_attention_heads": vision["image_num_heads"],
            "patch_size": vision["image_patch_size"],
            "layer_norm_eps": float(vision["image_norm_eps"]),
            "hidden_act": vision["image_mlp_activations"],
        },
        # A list of block outputs counted from its end; the encoder's own hidden_states begin with the embedding.
        vision_layers=tuple(depth + int(layer) + 1 if layer < 0 else int(layer) + 1 for layer in model["vit_layers"]),
        text={
            "hidden_size": model["d_model"],
            "num_hidden_layers": model["n_layers"],
            "num_attention_heads": model["n_heads"],
            "num_key_value_heads": model["n_kv_heads"] or model["n_heads"],
            "intermediate_size": model["mlp_hidden_size"] // 2,
            "vocab_size": model["embedding_size"] or model["vocab_size"],
            "rope_theta": float(model["rope_theta"]),
        },
        norm_eps=float(model["layer_norm_eps"]),
        connector_hidden_size=model["mlp_hidden_size"] // 2,
        first_special_id=int(model["vocab_size"]) if model["pad_tokenizer"] else None,
        additional_embeddings=int(model["additional_vocab_size"]),
        column_tokens=bool(model["use_col_tokens"]),
        padding_embedding=padding is not None,
    )


def _another(path: Path, name: str, seen: object, expected: object) -> ModelError:
    shown = str(seen) if len(str(seen)) <= 80 else str(seen)[:77] + "..."
    return ModelError(
        f"{path} says {name}: {shown}; the paper's connector VLMs have {expected}.",
        "Only these nine models can be converted. For another architecture, write a family file "
        "(docs/adding-a-model.md).",
    )
