"""Which files a model directory's weights may come from: safetensors beside its configuration, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ...schemas.errors import ModelError
from ...schemas.files import shown_path
from ...schemas.reading import NotOfKindError, read_json
from .adapters import adapter_error, is_adapters

_INDEX = "*.index.json"
_LONGEST = 256 << 20


def float_kinds(folder: Path) -> set[str]:
    """In which kinds of floating point a directory's safetensors keep their values (``F16``, ``BF16``, ``F32`` ...)."""
    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            kinds = (str(file.get_slice(name).get_dtype()) for name in file.keys())  # noqa: SIM118 - no dictionary
            found |= {kind for kind in kinds if "F" in kind}
    return found


def require_own_weights(folder: Path) -> None:
    """Refuse an index of weights that leads to pickles or out of the directory, before anything follows it.

    A loader that is told to read safetensors alone still opens what a safetensors index names.

    Raises:
        ModelError: an index that is none, or names another kind of file, a path, or a file that is not there; an
            adapter's tensors in a file that no loader reads; or what is called like weights is no file.
    """
    _require_files(folder)
    _require_no_adapter(folder)
    for index in sorted(folder.glob(_INDEX)):
        if not index.name.endswith(".safetensors.index.json"):
            continue
        try:
            data: dict[str, Any] = read_json(index, dict[str, Any], _LONGEST)
        except (OSError, NotOfKindError) as error:
            raise ModelError(f"{index} is not an index of weights: {error}.", "Fetch the model again.") from error
        files = data.get("weight_map")
        if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
            raise ModelError(f"{index} has no table weight_map of tensor and file names.", "Fetch the model again.")
        if not isinstance(data.get("metadata"), dict):
            raise ModelError(f"{index} has no table metadata, which transformers needs.", "Fetch the model again.")
        for name in sorted(set(files.values())):
            if not name.endswith(".safetensors") or os.path.basename(name) != name or "\\" in name:
                raise ModelError(
                    f"{index} names {name!r}; expected names of safetensors files in the same directory. Other files "
                    "could run code when they are read.",
                    "Get the model from a source that you trust, as safetensors.",
                )
            if not (folder / name).is_file():
                raise ModelError(f"{index} names {name!r}, which does not exist.", "Fetch the model again.")


def _require_files(folder: Path) -> None:
    """Refuse what is called like weights and is no file.

    Raises:
        ModelError: there is such a thing.
    """
    for path in sorted(folder.glob("*.safetensors")):
        if not path.is_file():  # a pipe would be waited for
            seen = f"a link to {shown_path(path.readlink())}, which is none" if path.is_symlink() else "none"
            raise ModelError(f"{path} is {seen}; expected a file of weights.", "Fetch the model again.")


def _require_no_adapter(folder: Path) -> None:
    """Refuse a file beside the weights whose tensors are an adapter's, whatever it is called.

    Raises:
        ModelError: there is one.
    """
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
        except (SafetensorError, OSError, ValueError):
            continue  # a damaged file says so when it is read
        if names and all(map(is_adapters, names)):
            raise adapter_error(str(folder), path)
