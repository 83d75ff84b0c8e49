"""Whether a configuration can be that of the weights beside it, found out before memory is allocated for it.

A configuration is a text that anybody can write: one digit more makes a model of a thousand times its weights, one
less a model that lacks blocks and still answers.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn.modules import module as hooks
from transformers.initialization import meta_device_safe_creation_ops

from ...schemas.errors import ModelError
from ...schemas.reading import NotOfKindError, read_json

_LONGEST = 16 << 20
#: How configurations name their numbers of blocks. Lists of blocks are made of them, as soon as they are read.
_DEPTHS = (
    "num_hidden_layers", "num_layers", "n_layers", "n_layer", "depth", "depths", "num_blocks", "num_stages",
    "encoder_layers", "decoder_layers", "num_experts", "num_local_experts", "n_routed_experts", "num_block_repeats",
)  # fmt: skip
#: And other whole numbers that cannot be zero.
_SIZES = (
    "hidden_size", "intermediate_size", "vocab_size", "head_dim", "patch_size", "image_size", "num_channels",
    "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "n_embd", "n_head", "n_positions",
    "d_model", "n_heads", "max_seq_len", "embed_dim", "num_heads", "hidden_dim",
)  # fmt: skip
_DEEPEST, _LARGEST = 100_000, 2**31
# A head that is tied to the embedding is counted twice; quantised weights are packed, up to 16 to a value.
_ROOM, _PACKED = 2.5, 40
_SLACK = 1_000_000
_TENSORS_ROOM, _TENSORS_SLACK = 4, 1000
_BLOCK = re.compile(r"(.*?)\.(\d+)\.(.*)")


@dataclass(frozen=True)
class Stored:
    """What a directory's safetensors files say that they hold.

    Attributes:
        tensors: how many.
        values: numbers in them.
        blocks: the longest list of blocks outside of a vision tower.
    """

    tensors: int
    values: int
    blocks: int


def read_configuration(folder: Path) -> dict[str, Any]:
    """A directory's ``config.json``, if it can be one; before a library makes anything of its numbers.

    Raises:
        ModelError: it is no JSON object, larger than 16 MB, nested deeper than 200; or a number of layers or a size
            is none, or is out of all bounds.
    """
    path = folder / "config.json"
    try:
        data: dict[str, Any] = read_json(path, dict[str, Any], _LONGEST)
    except (OSError, NotOfKindError) as error:
        raise ModelError(f"{path} is not the configuration of a model: {error}.", "Fetch the model again.") from error
    check_numbers(data, str(path))
    return data


def check_numbers(settings: Mapping[str, Any], where: str) -> None:
    """See that every number of blocks and every size is a possible one.

    Args:
        settings: what a ``config.json`` holds.
        where: for messages.

    Raises:
        ModelError: one is not; the message names it.
    """
    for field, value in _fields(settings):
        name = field.rpartition(".")[2]
        if name not in _DEPTHS and name not in _SIZES:
            continue
        least, most = (0, _DEEPEST) if name in _DEPTHS else (1, _LARGEST)
        for part in value if isinstance(value, list) else [value]:
            if part is None or isinstance(part, dict | list):
                continue
            if type(part) is not int or not least <= part <= most:
                shown = repr(part)
                shown = shown if len(shown) <= 40 else shown[:37] + "..."
                raise ModelError(
                    f"{where} says {field}: {shown}; expected a whole number from {least} to {most:,}.",
                    "Fetch the model again; config.json may have been edited.",
                )


def require_fitting(source: str, config: Any, factory: Any, folder: Path | None, trust_remote_code: bool) -> None:
    """Lay the model out without memory, and stop as soon as it is more than its weights could fill.

    What is only a little off is left to :func:`require_match`.

    Args:
        source: as the user gave it.
        config: of the model.
        factory: transformers' class that builds it.
        folder: of its files; ``None`` for one on the hub, whose files are not at hand yet.
        trust_remote_code: whether its own code may run.

    Raises:
        ModelError: no block, or more tensors or values than the weights have.
    """
    blocks = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(blocks, int) and blocks < 1:
        raise ModelError(
            f"The configuration of {source} says {blocks} layers; expected a language model with at least one layer.",
            "Fetch the model again; config.json may have been edited.",
        )
    stored = _stored(folder) if folder is not None else Stored(_DEEPEST, 10**13, 0)
    if stored is None:
        return  # files that cannot be read have an error of their own
    room = _PACKED if getattr(config, "quantization_config", None) else _ROOM
    with _counted(_TENSORS_ROOM * stored.tensors + _TENSORS_SLACK, int(room * stored.values) + _SLACK):
        try:
            with ExitStack() as stack:
                stack.enter_context(torch.device("meta"))
                stack.enter_context(meta_device_safe_creation_ops())
                factory.from_config(copy.deepcopy(config), trust_remote_code=trust_remote_code)
        except _TooMuchError as error:
            layers = f" ({blocks:,} layers; the weights have {stored.blocks:,})" if _more(blocks, stored.blocks) else ""
            raise ModelError(
                f"The configuration of {source} describes a larger model than its weights{layers}: the weights are "
                f"{stored.tensors:,} tensors with {stored.values:,} numbers.",
                "Download the model again; config.json may belong to another model, or may have been edited.",
            ) from error
        except Exception:  # noqa: BLE001, S110 - what cannot be built says so when it is loaded
            pass


def require_match(source: str, report: Mapping[str, Any], model: Any) -> None:
    """Refuse a model whose weights are not those that its configuration describes.

    Args:
        source: as the user gave it.
        report: ``missing_keys``, ``mismatched_keys`` and ``unexpected_keys``, as transformers found them.
        model: as it was built.

    Raises:
        ModelError: a tensor is missing or has another shape, or the files hold blocks, or parts of blocks, that it does
            not have.
    """
    again = "Download or convert the model again; config.json may belong to another model."
    for name, seen, expected in sorted(report["mismatched_keys"]):
        raise ModelError(
            f"The weights of {source} do not fit its configuration: {name} has shape {_shape(seen)}, but "
            f"{_shape(expected)} by config.json.",
            again,
        )
    if missing := sorted(report["missing_keys"]):
        place = _in_a_list(model, missing[0])
        said = f" (its configuration says {place.length} layers of {place.prefix})" if place else ""
        raise ModelError(
            f"The weights of {source} are incomplete{said}: {len(missing)} "
            f"{'tensor is' if len(missing) == 1 else 'tensors are'} missing; the first is {missing[0]}.",
            f"Missing weights would be random numbers. {again}",
        )
    # Blocks that predict further tokens follow the last.
    further = int(getattr(model.config.get_text_config(), "num_nextn_predict_layers", None) or 0)
    places = [place for name in report["unexpected_keys"] if (place := _in_a_list(model, name)) is not None]
    for place in sorted(places, key=lambda place: (-place.number, place.prefix)):
        if place.number >= place.length + further:
            raise ModelError(
                f"The weights of {source} hold {place.number + 1} layers ({place.prefix}), but its configuration says "
                f"{place.length}, so another model would be read.",
                again,
            )
    if left := sorted(place.name for place in places if place.number < place.length and _counts(place.name)):
        raise ModelError(
            f"The weights of {source} hold {len(left)} tensor{'s' * (len(left) > 1)} for which its configuration has "
            f"no place (the first is {left[0]}), so another model would be read.",
            again,
        )


@dataclass(frozen=True)
class _Place:
    """Where in a model's lists of modules the name of a tensor belongs.

    Attributes:
        name: of the tensor.
        prefix: of the list, the innermost that there is.
        number: in it, from 0.
        length: of the list.
    """

    name: str
    prefix: str
    number: int
    length: int


def _in_a_list(model: Any, name: str) -> _Place | None:
    """The place of a tensor in the innermost list that the model has; ``None`` outside of all lists."""
    module, found = model, None
    prefix: list[str] = []
    for part in name.split("."):
        if part.isdecimal() and isinstance(module, nn.ModuleList | nn.Sequential) and len(part) < 10:
            found = _Place(name, ".".join(prefix), int(part), len(module))
        module = getattr(module, part, None)
        if module is None and not prefix:  # the name as a model without the head around it has it
            module = getattr(getattr(model, model.base_model_prefix, None), part, None)
        if module is None:
            break
        prefix.append(part)
    return found


def _counts(name: str) -> bool:
    """Whether a tensor of a block is one that decides states: no causal mask, constant or cache."""
    return name.endswith((".weight", ".bias")) and not name.endswith(("attn.bias", "attention.bias"))


class _TooMuchError(Exception):
    """More has been laid out than there is."""


@contextmanager
def _counted(tensors: int, values: int) -> Iterator[None]:
    """Count the parameters and buffers of all modules that are made, and stop at a limit."""
    left = [tensors, values]

    def count(_module: nn.Module, _name: str, tensor: torch.Tensor | None) -> None:
        if tensor is not None and tensor.is_meta:
            left[0] -= 1
            left[1] -= tensor.numel()
            if min(left) < 0:
                raise _TooMuchError

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _stored(folder: Path) -> Stored | None:
    names: list[str] = []
    values = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no dictionary
                    names.append(name)
                    size = 1
                    for side in file.get_slice(name).get_shape():
                        size *= side
                    values += size
        except (SafetensorError, OSError, ValueError):
            return None
    deep = (last + 1 for prefix, (_, last) in _blocks(names).items() if "visi" not in prefix and "visual" not in prefix)
    return Stored(len(names), values, max(deep, default=0))


def _blocks(names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Name of every list of blocks, and the first and last number in it."""
    found: dict[str, tuple[int, int]] = {}
    for name in names:
        if match := _BLOCK.fullmatch(name):
            number = int(match[2]) if len(match[2]) < 10 else 0
            first, last = found.get(match[1], (number, number))
            found[match[1]] = min(first, number), max(last, number)
    return found


def _fields(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        yield prefix + name, value
        if isinstance(value, dict):
            yield from _fields(value, f"{prefix}{name}.")


def _more(blocks: Any, stored: int) -> bool:
    return isinstance(blocks, int) and blocks > stored


def _shape(sides: Iterable[int]) -> str:
    return " x ".join(map(str, sides)) or "a number"
