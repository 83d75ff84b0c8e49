"""Load a text LLM or a VLM, from a directory or the hub, and say exactly what was loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, PreTrainedConfig
from transformers.utils.peft_utils import find_adapter_config_file

from ..schemas.collection import BankIdentity
from ..schemas.errors import ModelError, UsageError
from ..schemas.shown import Shown
from .configuration import computation
from .connectors.register import register_connectors
from .files.adapters import adapter_error, adapters_below
from .files.hub import require_reachable
from .files.loading_errors import quiet, translated
from .files.plausibility import check_numbers, read_configuration
from .files.processors import load_processor
from .files.sources import check_source
from .files.weight_files import require_own_weights
from .files.weights import as_published, load_weights, require_loadable, rounds_otherwise
from .fingerprints import tokenizer_fingerprint, vision_fingerprints, weights_fingerprint
from .layers import LanguageModel, find_language_model
from .machine.devices import pick_device, pick_dtype
from .machine.large import LargeModel, main_device, quantisation, spread_over
from .machine.precision import Precision, choose_precision
from .probing import Probed
from .tokenizers import require_fast
from .verification import verify_language_model, with_own_logits


@dataclass(frozen=True, repr=False)
class LoadedModel(Shown):
    """A model ready to read states from, in evaluation mode and without gradients.

    Attributes:
        model: the transformers model, LM head included.
        tokenizer: a fast tokenizer (character offsets need one).
        processor: the VLM's processor; ``None`` for a text LLM, or where its files are missing and
            vision was not needed.
        lm: the language model inside.
        device: where its inputs go and states come back to.
        dtype: of its weights, and of those that are quantised: of what is computed with them.
        source: as given by the user; directories absolute.
        name: hub id, or the directory's name.
        revision: hub commit, where known.
        weights: fingerprint of the language model's weights.
        tokenizer_fingerprint: fingerprint of the tokenizer.
        computation: what the language model's configuration decides beside its weights.
        is_vlm: whether it can be shown images.
        vision: of a VLM with its processor, fingerprints of what makes visual states: ``weights`` of vision tower and
            connector, ``processor`` for its settings, ``configuration`` for the model's; empty elsewhere.
        quantised: how its weights are (``int8``, ``nf4`` ...); ``None`` where they are not.
        chosen: why it computes in this precision, where none was asked for.
        notes: what a reader should know about what was read, one sentence each.
        large, trust_remote_code: as of :func:`load_model`, for another process that shall load it, too.
    """

    model: Any
    tokenizer: Any
    processor: Any | None
    lm: LanguageModel
    device: torch.device
    dtype: torch.dtype
    source: str
    name: str
    revision: str | None
    weights: str
    tokenizer_fingerprint: str
    computation: str
    is_vlm: bool
    quantised: str | None = None
    vision: Mapping[str, str] = field(default_factory=dict)
    chosen: Precision | None = None
    notes: tuple[str, ...] = ()
    large: LargeModel | None = None
    trust_remote_code: bool = False

    def __repr__(self) -> str:
        """In a line: name, size, precision and place."""
        kind = "vision-language model" if self.is_vlm else "language model"
        size = f"{self.lm.n_layers} layers, width {self.lm.dim}"
        return f"<LoadedModel {self.name!r}: {kind}, {size}, {self.dtype_name} on {self.device}>"

    @property
    def dtype_name(self) -> str:
        """How it computes: ``float32``, ``bfloat16`` or ``float16``; quantised, e.g. ``int8-bfloat16``."""
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.quantised}-{dtype}" if self.quantised else dtype

    @property
    def max_positions(self) -> int | None:
        """The longest sequence the language model was made for; ``None`` where it does not say."""
        limit = getattr(self.lm.module.config, "max_position_embeddings", None)
        return int(limit) if limit else None

    @property
    def n_layers(self) -> int:
        """Blocks of the language model."""
        return self.lm.n_layers

    @property
    def dim(self) -> int:
        """Width of its hidden states."""
        return self.lm.dim

    @property
    def embeddings(self) -> int:
        """Rows of its input embedding."""
        return int(next(self.lm.embed_tokens.parameters()).shape[0])

    def identity(self, layer: int, *, vector_dtype: str, max_contexts: int | None, seed: int) -> BankIdentity:
        """The identity of a bank that this model fills at a layer."""
        return BankIdentity(
            model=self.name,
            revision=self.revision,
            weights=self.weights,
            tokenizer=self.tokenizer_fingerprint,
            computation=self.computation,
            probe=self._probed.at(layer),
            layer=layer,
            n_layers=self.lm.n_layers,
            dim=self.lm.dim,
            compute_dtype=self.dtype_name,
            vector_dtype=vector_dtype,
            max_contexts=max_contexts,
            seed=seed,
        )

    @cached_property
    def _probed(self) -> Probed:
        """States of a fixed text: one forward pass, when the first bank is met."""
        return Probed.of(self.lm, self.tokenizer, self.dtype_name, self.max_positions)

    def provenance(self) -> dict[str, Any]:
        """Everything about the model that a reader needs to repeat a result; JSON types only."""
        return {
            "id": self.name,
            "revision": self.revision,
            "weights": self.weights,
            "tokenizer": self.tokenizer_fingerprint,
            "computation": hashlib.sha256(self.computation.encode()).hexdigest(),
            **({"vision": self.vision} if self.vision else {}),
            "dtype": self.dtype_name,
            "device": self.device.type,
            **({"spread": spread} if (spread := spread_over(self.model)) else {}),
            "class": type(self.model).__name__,
            "language_model": type(self.lm.module).__name__,
            "n_layers": self.lm.n_layers,
            "dim": self.lm.dim,
            "libraries": {"torch": str(torch.__version__), "transformers": str(transformers.__version__)},
        }


def load_model(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    need_vision: bool = False,
    large: LargeModel | None = None,
    like: str | None = None,
) -> LoadedModel:
    """Load a model for reading hidden states. Weights must be safetensors; pickles are refused.

    Args:
        source: a model directory or a hub id.
        device: ``auto`` (CUDA where there is one), or a torch device.
        dtype: ``float32``, ``bfloat16``, ``float16`` or ``auto`` (see
            :func:`models.machine.precision.choose_precision`; of a model that is spread or quantised, bfloat16 where
            the hardware has it, else float32).
        revision: branch, tag or commit on the hub.
        trust_remote_code: run code that comes with the model.
        need_vision: refuse a model that cannot be shown images.
        large: how to spread or quantise a large model; ``None`` loads it onto the device as it is. Whichever it
            is, ``weights`` is the fingerprint of the weights as published.
        like: dtype of banks that states will be compared with: what ``auto`` is, instead of being measured, where the
            device has it and memory allows it.

    Raises:
        UsageError: an unknown device or dtype, or options that contradict each other.
        ModelError: nothing there, unreachable, no safetensors, incomplete weights, no fast
            tokenizer, remote code that was not allowed, or text-only where vision is needed.
        UnsupportedModelError: its architecture is not known.
    """
    register_connectors()
    where = pick_device(device)
    precision = pick_dtype(dtype, where)
    spreading = (large or LargeModel()).arguments(device, precision)
    directory = check_source(source)
    if directory is None:
        require_reachable(source, revision)
    else:
        read_configuration(directory)
        require_own_weights(directory)
    place = str(directory) if directory else source
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    with quiet():
        with translated(source, "configuration"):
            if directory is None:
                check_numbers(PreTrainedConfig.get_config_dict(place, **options)[0], f"The configuration of {source}")
                # Beside a base model's weights, it would be passed over where peft is not installed.
                if found := find_adapter_config_file(place, revision=revision):
                    raise adapter_error(source, Path(found))
            config = AutoConfig.from_pretrained(place, **options)
        is_vlm = _is_vlm(config)
        if need_vision and not is_vlm:
            raise ModelError(
                f"{source} is a text-only model ({config.model_type}); expected one that can be shown images.",
                "Give a vision-language model, or ask about text with --text.",
            )
        # Pin every file to the commit that the configuration came from.
        revision = getattr(config, "_commit_hash", None) or revision
        options["revision"] = revision
        with translated(source, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
        require_fast(source, tokenizer)
        processor = _processor(source, place, config, options, tokenizer, need_vision) if is_vlm else None
        if "quantization_config" in spreading and quantisation(config):
            raise UsageError(f"{source} was published quantised ({quantisation(config)}).", "Leave out --load-in.")
        require_loadable(source, place, config, is_vlm, trust_remote_code)
        chosen = None
        if dtype == "auto" and not spreading and quantisation(config) is None:
            chosen = choose_precision(config, where, like)
            precision = chosen.dtype
        model = load_weights(source, place, config, is_vlm, precision, {**options, **spreading})
    if hasattr(model, "hf_device_map"):
        where = main_device(model.hf_device_map)
    elif quantisation(model.config) is None and "device_map" not in spreading:
        with translated(source, "weights"):
            model = model.to(where)
    model = model.eval().requires_grad_(False)
    lm = find_language_model(model)
    verify_language_model(lm)
    lm = with_own_logits(lm, model)
    other = "quantization_config" in spreading or rounds_otherwise(model, place, precision, revision)
    with as_published(source, place, model, is_vlm, options) if other else nullcontext((model, lm)) as (stored, inside):
        weights = weights_fingerprint(inside)
        vision = {} if processor is None else vision_fingerprints(stored, inside, processor)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        processor=processor,
        lm=lm,
        device=where,
        dtype=precision,
        source=place,
        name=directory.name if directory else source,
        revision=None if directory else revision,
        weights=weights,
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
        computation=computation(lm),
        is_vlm=is_vlm,
        quantised=quantisation(model.config),
        vision=vision,
        chosen=chosen,
        notes=() if directory is None or not (note := adapters_below(directory)) else (note,),
        large=large,
        trust_remote_code=trust_remote_code,
    )


def _processor(
    source: str, place: str, config: Any, options: dict[str, Any], tokenizer: Any, need_vision: bool
) -> Any | None:
    """The VLM's processor; its absence matters only where images will be shown."""
    try:
        return load_processor(source, place, config, options, tokenizer)
    except ModelError:
        if need_vision:
            raise
        return None


def _is_vlm(config: Any) -> bool:
    """Whether transformers has an image-text-to-text class for it and it has an image side."""
    has_images = any(getattr(config, name, None) is not None for name in ("vision_config", "image_token_id"))
    remote = getattr(config, "auto_map", None) or {}
    return has_images and (
        type(config) in AutoModelForImageTextToText._model_mapping or "AutoModelForImageTextToText" in remote
    )
