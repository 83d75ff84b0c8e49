"""What tells two models or two tokenizers apart, whatever they are called and however they were loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .configuration import effective
from .layers import LanguageModel
from .machine.offload import stored_tensors

#: Values read from each tensor: enough to notice any retraining, few enough to take a second at 7 B.
SAMPLES = 4096


def weights_fingerprint(lm: LanguageModel) -> str:
    """Fingerprint of a language model's weights.

    Values are rounded to bfloat16 first, so float32 and bfloat16 loads agree; one in float16 has rounded its values
    before, and one that quantises has others: for theirs see :func:`models.loading.load_model`. Names are relative
    to the language model, so a text LLM and a VLM that holds the same language model agree. So do loads that spread
    it over devices and disk: tensors are read one at a time.

    Returns:
        64 hexadecimal digits: SHA-256 over the name, shape and up to :data:`SAMPLES` values of
        every tensor of the decoder stack and the unembedding.
    """
    digest = hashlib.sha256()
    for name, tensor in _tensors(lm):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(_sample(tensor))
    return digest.hexdigest()


def values_fingerprint(lm: LanguageModel) -> str:
    """Fingerprint of the values that a language model computes with, to their last bit.

    Returns:
        64 hexadecimal digits: SHA-256 over the values that :func:`weights_fingerprint` samples, not rounded.
    """
    digest = hashlib.sha256()
    for _, tensor in _tensors(lm):
        digest.update(_bytes(_drawn(tensor)))
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Fingerprint of a fast tokenizer: everything that decides a text's token ids.

    Padding and truncation are left out: they are state, and padding side must not matter.

    Returns:
        64 hexadecimal digits: SHA-256 of the tokenizer's own JSON.
    """
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    data["padding"] = data["truncation"] = None
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def vision_fingerprints(model: Any, lm: LanguageModel, processor: Any) -> dict[str, str]:
    """Fingerprints of what makes an image's states, the language model apart.

    Values are sampled and rounded as in :func:`weights_fingerprint`.

    Returns:
        ``weights`` of vision tower and connector, ``processor`` of its settings (sizes, means, resampling, which
        implementation), ``configuration`` of the model's settings outside of the language model; each a SHA-256.
    """
    inner = tuple(f"{name}." for name, module in model.named_modules() if module in (lm.module, lm.unembed))
    weights = hashlib.sha256()
    for name, tensor in stored_tensors(model, besides=inner):
        weights.update(f"{name} {tuple(tensor.shape)}\n".encode() + _sample(tensor))
    outer = {name: value for name, value in model.config.to_dict().items() if name not in _LANGUAGE}
    return {
        "weights": weights.hexdigest(),
        "processor": _digest(processor_settings(processor)),
        "configuration": _digest(effective(outer)),
    }


_LANGUAGE = ("text_config", "llm_config")
# Text is on record as it is rendered; what would read videos reads no image.
_NO_PICTURE = ("tokenizer", "chat_template", "video")


def processor_settings(processor: Any) -> dict[str, Any]:
    """What decides how a processor makes an image into pixel values and placeholders; JSON types only."""
    parts = {name: part for name, part in vars(processor).items() if not any(of in name for of in _NO_PICTURE)}
    found = {"class": type(processor).__name__, **{name: _settings(part) for name, part in parts.items()}}
    plain: dict[str, Any] = json.loads(json.dumps(found, sort_keys=True, default=lambda value: type(value).__name__))
    return plain


def _settings(part: Any) -> Any:
    """Settings of a processor's part; what has none of its own is left out."""
    if isinstance(part, _PLAIN):
        return part
    if callable(getattr(part, "to_dict", None)):
        return {"class": type(part).__name__, **part.to_dict()}
    values = getattr(part, "__dict__", {})
    return {"class": type(part).__name__, **{name: v for name, v in values.items() if isinstance(v, _PLAIN)}}


_PLAIN = (str, int, float, bool, list, tuple, dict, type(None))


def _digest(settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _tensors(lm: LanguageModel) -> Iterator[tuple[str, Tensor]]:
    """Named tensors in a fixed order. A tied unembedding is listed like an untied equal one."""
    yield from stored_tensors(lm.module)
    for name, tensor in stored_tensors(lm.unembed):
        yield f"unembed.{name}", tensor


def _sample(tensor: Tensor) -> bytes:
    """The bytes of evenly spread values; floating point as bfloat16."""
    flat = _drawn(tensor)
    return _bytes(flat.to(torch.bfloat16) if flat.is_floating_point() else flat)


def _drawn(tensor: Tensor) -> Tensor:
    """Evenly spread values, :data:`SAMPLES` of them at most.

    Each spot is scrambled within its stride (Knuth's multiplicative hash): a plain stride that
    divides, or is a multiple of, the row length would read a few columns only.
    """
    flat = tensor.detach().reshape(-1)
    if flat.numel() <= SAMPLES:
        return flat
    spots = torch.arange(SAMPLES, dtype=torch.int64)
    scrambled = (spots * 2654435761 % 2**32) * (flat.numel() // SAMPLES) >> 32
    return flat[(spots * flat.numel() // SAMPLES + scrambled).to(flat.device)]


def _bytes(values: Tensor) -> bytes:
    plain = values.cpu().contiguous()
    return (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy().tobytes()
