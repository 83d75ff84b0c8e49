"""Models that do not fit as they are: spread over devices, memory and disk, or with narrower weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...schemas.errors import ModelError
from .asked import QUANTISED, STRATEGIES, read_device_map, read_max_memory, require_possible
from .devices import pick_device, require_devices


@dataclass(frozen=True)
class LargeModel:
    """How to load a model that is too large for one device.

    Attributes:
        device_map: ``auto``, ``balanced``, ``balanced_low_0``, ``sequential``, or a JSON file of module names and
            devices (``cuda:0`` or ``0``, ``cpu``, ``disk``); ``None`` keeps the model on one device.
        load_in: ``8bit`` or ``4bit``: the language model's and tower's weights quantised by bitsandbytes.
        offload_folder: where weights go that are kept on disk and cannot be read from the model's own files.
        max_memory: ``device=size`` each (``0=20GiB``, ``cpu=60GiB``), for a device map that is worked out.
    """

    device_map: str | None = None
    load_in: str | None = None
    offload_folder: str | None = None
    max_memory: tuple[str, ...] = ()

    def anywhere(self) -> LargeModel:
        """The same, whatever folder a process works in."""
        spread = self.device_map
        if spread is not None and spread not in STRATEGIES:
            spread = str(Path(spread).expanduser().absolute())
        kept = self.offload_folder and str(Path(self.offload_folder).expanduser().absolute())
        return replace(self, device_map=spread, offload_folder=kept)

    def arguments(self, device: str, precision: torch.dtype) -> dict[str, Any]:
        """The arguments of ``from_pretrained`` that say all this.

        Args:
            device: as asked for; with a device map it must be ``auto``.
            precision: of what is not quantised, and of the computation.

        Raises:
            UsageError: options that contradict each other, or a file or size that cannot be read.
            ModelError: a library that is needed is not installed.
        """
        require_possible(device, self.device_map, self.load_in, self.offload_folder, self.max_memory)
        found: dict[str, Any] = {}
        if self.device_map is not None:
            found["device_map"] = read_device_map(self.device_map)
            if isinstance(found["device_map"], dict):
                require_devices(found["device_map"].values(), f"The device map {self.device_map}")
        if self.max_memory:
            found["max_memory"] = read_max_memory(self.max_memory)
            require_devices(found["max_memory"], "--max-memory")
        if self.offload_folder is not None:
            found["offload_folder"] = self.offload_folder
        if self.load_in is not None:
            found["quantization_config"] = _quantised(self.load_in, precision)
            found.setdefault("device_map", {"": str(pick_device(device))})
        return found


def main_device(device_map: dict[str, Any]) -> torch.device:
    """Where a spread model's inputs go and its outputs come back: the first device that computes."""
    devices = [torch.device("cuda", d) if isinstance(d, int) else d for d in device_map.values()]
    computing = [torch.device(d) for d in devices if str(d) not in ("cpu", "disk")]
    return computing[0] if computing else torch.device("cpu")


def onto_disk(model: nn.Module, kept: str) -> dict[str, str]:
    """A device map that leaves every weight in its file, but those of one part and single tensors around it.

    Args:
        model: any load of the model.
        kept: name of the part that stays in memory; accelerate wants one.
    """
    found, name, module = {kept: "cpu"}, "", model
    for step in kept.split("."):
        own = [*dict(module.named_parameters(recurse=False)), *dict(module.named_buffers(recurse=False))]
        found |= {name + part: "cpu" for part in own}  # single tensors: accelerate fetches those of whole modules alone
        found |= {name + child: "disk" for child, _ in module.named_children() if child != step}
        name, module = f"{name}{step}.", module.get_submodule(step)
    return found


def spread_over(model: Any) -> dict[str, int] | None:
    """How many of a model's parts lie on each device; ``None`` where it is on one."""
    places = [
        f"cuda:{place}" if isinstance(place, int) else str(place)
        for place in getattr(model, "hf_device_map", {}).values()
    ]
    if len(set(places)) < 2 and "disk" not in places:
        return None
    return {place: places.count(place) for place in sorted(set(places))}


def quantisation(config: Any) -> str | None:
    """How a loaded model's weights are quantised: ``int8``, ``nf4``, or the method that a publisher used."""
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return None
    known = settings if isinstance(settings, dict) else settings.to_dict()
    if known.get("load_in_8bit"):
        return "int8"
    if known.get("load_in_4bit"):
        return str(known.get("bnb_4bit_quant_type", "fp4"))
    method = known.get("quant_method", "quantised")
    return str(getattr(method, "value", method))


def reloading(compute_dtype: str) -> tuple[str | None, str]:
    """The ``load_in`` and ``dtype`` that compute as a bank's record says."""
    narrow, _, dtype = compute_dtype.rpartition("-")
    kinds = {name: load_in for load_in, name in QUANTISED.items()}
    return kinds.get(narrow), dtype


def require_known(model: nn.Module, device_map: object) -> None:
    """Refuse a device map with names that the model has not: what they were meant for would lie elsewhere.

    Raises:
        ModelError: it has some.
    """
    if not isinstance(device_map, dict):
        return
    known = {name for name, _ in [*model.named_modules(), *model.named_parameters(), *model.named_buffers()]}
    if odd := [name for name in device_map if name not in known]:
        parts = ", ".join(name for name, _ in model.named_children())
        raise ModelError(
            f"The device map names {', '.join(map(repr, odd[:3]))}, but {type(model).__name__} has no such part.",
            f"Name one of {parts}, or a part inside of them.",
        )


@contextmanager
def explained() -> Iterator[None]:
    """Keep accelerate's warnings off the terminal; what a user must know is said in our words.

    What it says of weights that it keeps elsewhere, a user has asked for; for names that no module has, see
    :func:`require_known`.
    """
    with warnings.catch_warnings(), _quiet("accelerate.big_modeling"):
        warnings.filterwarnings("ignore", "The following device_map keys do not match", UserWarning)
        # bitsandbytes', about its own internals; nothing a user could do.
        warnings.filterwarnings("ignore", category=FutureWarning, module="bitsandbytes")
        yield


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _quantised(load_in: str, precision: torch.dtype) -> Any:
    """The settings of bitsandbytes; LLM.int8 (Dettmers et al. 2022) or NF4 (Dettmers et al. 2023).

    transformers leaves the LM head and the embeddings as they are.
    """
    from transformers import BitsAndBytesConfig

    # LLM.int8 computes in float16 whatever it is given, and says so in every call.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    settings: Any = BitsAndBytesConfig
    if load_in == "8bit":
        return settings(load_in_8bit=True)
    return settings(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=precision)
