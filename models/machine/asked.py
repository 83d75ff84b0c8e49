"""Whether a model can be loaded as it is asked for: what can be said without the libraries that load it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from ...schemas.errors import ModelError, UsageError
from ...schemas.reading import NotOfKindError, read_json

#: ``--load-in`` → how it is called in a bank's record.
QUANTISED = {"8bit": "int8", "4bit": "nf4"}
#: What transformers works out by itself.
STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([KMGT]?)(i?)B", re.IGNORECASE)
_PLACES = ("cpu", "disk", "mps")
_DEVICE = re.compile(r"[a-z]+(:[0-9]{1,4})?")
# What one might call a device, and torch does not.
_NO_DEVICES = ("gpu", "nvidia", "rocm", "amd", "metal", "tpu", "disk")


def require_possible(
    device: str,
    device_map: str | None = None,
    load_in: str | None = None,
    offload_folder: str | None = None,
    max_memory: Sequence[str] = (),
) -> None:
    """Refuse options that contradict each other, cannot be read, or need a library that is not there.

    Args:
        device: a name; whether the machine has it, torch says.
        device_map: see :class:`models.machine.large.LargeModel`, as of the rest.
        load_in: likewise.
        offload_folder: likewise.
        max_memory: likewise.

    Raises:
        UsageError: options that contradict each other, or a name, file or size that cannot be read.
        ModelError: a library that is needed is not installed.
    """
    if _DEVICE.fullmatch(device) is None or device.partition(":")[0] in _NO_DEVICES:
        raise UsageError(f"The device {device!r} cannot be used here.", "Try cpu, cuda or cuda:0.")
    if device_map is not None:
        if device != "auto":
            raise UsageError("--device names one device, --device-map spreads the model.", "Leave one of them out.")
        read_device_map(device_map)
    for option, value in (("--max-memory", max_memory), ("--offload-folder", offload_folder)):
        if value and device_map is None:
            raise UsageError(f"{option} has an effect only with --device-map.", "Add --device-map auto.")
    read_max_memory(max_memory)
    if load_in is not None:
        if load_in not in QUANTISED:
            raise UsageError(f"--load-in {load_in!r} is unknown.", f"Give {' or '.join(QUANTISED)}.")
        _require("bitsandbytes", f"load a model in {load_in}")
    if device_map is not None or load_in is not None:
        _require("accelerate", "spread or quantise a model")


def read_device_map(text: str) -> str | dict[str, int | str]:
    """A device map by its name, or from a file.

    Raises:
        UsageError: it is neither.
    """
    if text in STRATEGIES:
        return text
    path = Path(text).expanduser()
    if not path.is_file():
        raise UsageError(
            f"The device map {text!r} is unknown, and there is no such file.",
            f"Give {', '.join(STRATEGIES)}, or a JSON file of module names and devices.",
        )
    try:
        data: dict[str, int | str] = read_json(path, dict[str, int | str])
        if not data:
            raise NotOfKindError("it is empty")
    except OSError as error:
        raise UsageError(f"The device map {text} cannot be read: {error}.", "It must be JSON.") from error
    except NotOfKindError as error:
        raise UsageError(
            f"The device map {text} is not a table of module names and devices: {error}.",
            'Example: {"model.visual": 0, "model.language_model": "cpu", "lm_head": "disk"}.',
        ) from error
    return data


def read_max_memory(values: Sequence[str]) -> dict[int | str, int]:
    """Bytes by device, as accelerate has them: its own reading of sizes knows no terabytes.

    Raises:
        UsageError: one is no device and size.
    """
    found: dict[int | str, int] = {}
    for value in values:
        place, _, text = value.partition("=")
        size = _SIZE.fullmatch(text.strip())
        is_gpu = place.isascii() and place.isdecimal() and len(place) < 6
        if size is None or not (is_gpu or place in _PLACES):
            raise UsageError(
                f"--max-memory {value!r} is not a device and a size.", "Write 0=20GiB (the first GPU) or cpu=60GiB."
            )
        unit = (1024 if size[3] else 1000) ** " KMGT".index(size[2].upper() or " ")
        found[int(place) if is_gpu else place] = int(float(size[1]) * unit)
    return found


def _require(library: str, purpose: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise ModelError(f"{library} is not installed; it is needed to {purpose}.", f"pip install {library}")
