"""Where a model computes, and in which precision."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ...schemas.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """A device by its name; ``auto`` is CUDA where there is one.

    Raises:
        UsageError: it cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        there = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise UsageError(f"The device {name!r} cannot be used here.", f"Try {' or '.join(['cpu', *there])}.") from error
    return device


def require_devices(places: Iterable[int | str], what: str) -> None:
    """Refuse devices that this machine has not.

    Args:
        places: numbers of GPUs, or names.
        what: that names them.

    Raises:
        UsageError: one is not there.
    """
    there = torch.accelerator.device_count() if hasattr(torch, "accelerator") else torch.cuda.device_count()
    for place in places:
        if place in ("cpu", "disk", "mps"):
            continue
        name, _, number = str(place).rpartition(":")
        known = isinstance(place, int) or name in ("cuda", "xpu") or number in ("cuda", "xpu")
        if not known or (number.isdecimal() and int(number) >= there) or not there:
            has = "one GPU, 0" if there == 1 else f"GPUs 0 to {there - 1}" if there else "no GPU"
            raise UsageError(
                f"{what} names the device {place!r}, which this machine does not have: it has {has}.",
                "Name those that are there, cpu or disk.",
            )


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """A dtype by its name; ``auto`` is bfloat16 where the device has it, else float32.

    Which of them is the faster, :mod:`models.machine.precision` measures.

    Raises:
        UsageError: it is not known.
    """
    if name == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    if name not in DTYPES:
        raise UsageError(f"The dtype {name!r} is unknown.", f"Give one of auto, {', '.join(DTYPES)}.")
    return DTYPES[name]


def has_own(dtype: str, device: torch.device) -> bool:
    """Whether a device computes in a dtype without emulating it."""
    if dtype == "bfloat16":
        return has_native_bfloat16(device)
    return dtype == "float32" or device.type != "cpu"


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether a device announces bfloat16; where it is emulated it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in names)
