"""Read a model's weights: in the precision that was asked for, and as its files hold them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.quantizers.auto import AutoHfQuantizer

from ...schemas.errors import ModelError, UnsupportedModelError
from ..layers import LanguageModel, find_language_model, require_decoder_only
from ..machine.large import explained, onto_disk, quantisation, require_known
from .adapters import adapter_error, is_adapters
from .loading_errors import quiet, translated
from .plausibility import require_fitting, require_match
from .weight_files import float_kinds


def require_loadable(source: str, place: str, config: Any, is_vlm: bool, trust_remote_code: bool) -> None:
    """Refuse a configuration of no model that can be read here, or not of the weights beside it.

    Raises:
        UnsupportedModelError: its architecture is not known.
        ModelError: it describes a larger model than the weights make.
    """
    require_decoder_only(config)
    factory = _factory(is_vlm)
    if type(config) not in factory._model_mapping and not getattr(config, "auto_map", None):
        raise UnsupportedModelError(
            f"{source} ({config.model_type}) is not a language model that transformers knows; expected a causal "
            "language model.",
            "Use a causal language model, or a VLM built on one.",
        )
    method, quantizer = quantisation(config), cast("Any", AutoHfQuantizer)
    if method is not None and not quantizer.supports_quant_method(_settings(config.quantization_config)):
        raise ModelError(
            f"The configuration of {source} says that its weights are quantised ({method}), but transformers does not "
            "know this method: it would read them as if they were not quantised.",
            "Update transformers, or give the model before quantisation.",
        )
    folder = Path(place) if Path(place).is_dir() else None
    with translated(source, "configuration"):
        require_fitting(source, config, factory, folder, trust_remote_code)


def _settings(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else dict(found.to_dict())


def load_weights(
    source: str, place: str, config: Any, is_vlm: bool, precision: torch.dtype, options: dict[str, Any]
) -> Any:
    """Read the weights, as :func:`require_loadable` found that they can be.

    Raises:
        ModelError: a part of the model would be left at random values.
    """
    asked = {"dtype": precision, "use_safetensors": True, "ignore_mismatched_sizes": True}  # they are named below
    with translated(source, "weights"), explained():
        model, report = _factory(is_vlm).from_pretrained(
            place, config=config, output_loading_info=True, **asked, **options
        )
    require_known(model, options.get("device_map"))
    _require_merged(source, report["unexpected_keys"])
    require_match(source, report, model)
    return model


def _require_merged(source: str, unexpected: Iterable[str]) -> None:
    """Refuse weights of which an adapter's are a part: an adapted model that was saved as it was trained.

    Raises:
        ModelError: they are.
    """
    if found := sorted(name for name in unexpected if is_adapters(name)):
        raise adapter_error(source, found[0])


def _factory(is_vlm: bool) -> Any:
    return AutoModelForImageTextToText if is_vlm else AutoModelForCausalLM


def rounds_otherwise(model: Any, place: str, precision: torch.dtype, revision: str | None) -> bool:
    """Whether values were rounded otherwise than fingerprints round: float16 has fewer exponents than bfloat16."""
    if precision != torch.float16 or quantisation(model.config) is not None:
        return False
    known = Path(place) / "config.json" if Path(place).is_dir() else None
    cached = known or try_to_load_from_cache(place, "config.json", revision=revision)
    return not isinstance(cached, str | Path) or float_kinds(Path(cached).parent) != {"F16"}


@contextmanager
def as_published(
    source: str, place: str, model: Any, is_vlm: bool, options: dict[str, Any]
) -> Iterator[tuple[Any, LanguageModel]]:
    """The model with the values that its files hold, where it was loaded with others; for its fingerprints.

    It is laid out again with every weight left in its file, and read from there tensor by tensor; without
    accelerate in memory, for as long as the fingerprints take.
    """
    with TemporaryDirectory(prefix="lensbank-") as folder, quiet():
        with translated(source, "configuration"):
            config = AutoConfig.from_pretrained(place, **options)
        left: dict[str, Any] = {}
        if importlib.util.find_spec("accelerate") is not None:
            # The folder is for weights whose form in the file is another.
            left = {"device_map": onto_disk(model, _smallest_part(model)), "offload_folder": folder}
        stored = load_weights(source, place, config, is_vlm, torch.bfloat16, {**options, **left})
        yield stored, find_language_model(stored)


def _smallest_part(model: Any) -> str:
    leaves = [
        (sum(p.numel() for p in part.parameters()), name)
        for name, part in model.named_modules()
        if name and not list(part.children()) and list(part.parameters())
    ]
    return str(min(leaves)[1])
