"""Files of tensors that others made: read without running anything that is in them.

Safetensors hold tensors only. Pickled files (``.pt``, ``.bin``) go through torch's restricted unpickler
(``weights_only=True``), which knows tensors and plain containers and calls nothing else.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...schemas.errors import InputError


def load_plain(path: Path) -> Any:
    """What a pickled file of torch holds: tensors (mapped from the file, not read) and plain containers.

    Raises:
        InputError: it cannot be read, was not written by ``torch.save``, or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is damaged, or holds more than tensors and plain containers ({_reason(error)}). No code in it "
            "was run.",
            "Download the file again, or ask its authors for a file with tensors only.",
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (RuntimeError, ValueError, EOFError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path} is not a file of torch.save that can be mapped into memory: {_line(error)}",
            "The file may be incomplete; download it again.",
        ) from error


def require_intact(path: Path) -> None:
    """Compare a file of torch with the checksums that it carries: it is a zip archive with a CRC-32 of each part.

    Reading tensors from a mapped file compares none. Files of before torch 1.6 carry no checksums.

    Raises:
        InputError: a part is damaged, or the archive is cut short.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is damaged: {_line(error)}", "Get it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if damaged is not None:
        raise InputError(f"{path} is damaged: its part {damaged!r} has a wrong checksum.", "Get it again.")


def tensors_of(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The named tensors of a weights file, one after the other.

    Args:
        path: ``.safetensors``, or a state dictionary saved by torch.

    Raises:
        InputError: see :func:`load_plain`; or it is no flat dictionary of tensors.
    """
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no dictionary
                    yield name, file.get_tensor(name)
        except SafetensorError as error:
            raise InputError(f"{path} is not a safetensors file: {_line(error)}", "Get it again.") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
        return
    state = load_plain(path)
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InputError(f"{path} holds {type(state).__name__}; expected a dictionary from names to tensors.")
    yield from state.items()


def _reason(error: Exception) -> str:
    """What the restricted unpickler stumbled over, where it says so."""
    text = str(error)
    for mark in ("GLOBAL ", "Unsupported global: ", "Unsupported operand "):
        if mark in text:
            return text.split(mark, 1)[1].split()[0].strip("`'\".,")
    return _line(error).rstrip(".")


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return line if line.endswith((".", "!", "?")) else f"{line}."
