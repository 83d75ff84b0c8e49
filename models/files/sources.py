"""Whether what is given as a model can be one: looked at before the libraries that load it, which takes seconds."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from ...schemas.errors import ModelError
from ...schemas.files import shown_path
from ...schemas.names import is_text
from ...schemas.reading import NotOfKindError, read_json
from .adapters import adapter_error, adapter_files, models_below

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LONGEST_SETTINGS = 16 << 20
# Endings that no hub id has.
_OF_FILES = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json", ".onnx")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def check_source(source: str, weights: bool = True) -> Path | None:
    """Tell a model directory from a hub id, and see that a directory holds a model.

    Args:
        source: as it was given.
        weights: whether it must hold some, too.

    Returns:
        The directory, absolute; ``None`` for a hub id.

    Raises:
        ModelError: neither, or a directory without configuration or safetensors weights.
    """
    if not str(source).strip():  # a shell's unset variable would be the current folder
        raise ModelError("The model's name is empty.", "Give a model directory or a hub id.")
    path = Path(source).expanduser()
    if not path.is_dir():
        _require_hub_id(source, path)
        return None
    path = _absolute(path)
    if found := adapter_files(path):
        raise adapter_error(source, found[0])
    if not any(path.glob("*.safetensors")) and any(path.glob("*.[gG][gG][uU][fF]")):
        raise gguf_error(source)
    if not (path / "config.json").is_file():
        raise ModelError(
            f"The directory {source} has no config.json; expected a Hugging Face model directory.{models_below(path)}",
            "Save one with save_pretrained(), or give a hub id.",
        )
    if weights and not any(path.glob("*.safetensors")):
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        if pickles:
            raise pickles_error(source, pickles[0])
        raise ModelError(f"The directory {source} has no weights (*.safetensors).", "Fetch the model again.")
    return path


def _require_hub_id(source: str, path: Path) -> None:
    """Refuse what is no directory and can be no hub id."""
    directory = "Give a model directory or a hub id."
    if path.is_file():
        if path.suffix.lower() == ".gguf" or _starts_as_gguf(path):
            raise gguf_error(source)
        raise ModelError(
            f"{source} is a file; expected a model directory or a hub id.", "Give the directory that contains it."
        )
    if path.is_symlink():
        raise ModelError(
            f"{source} is a broken link: its target {shown_path(path.readlink())} does not exist.", directory
        )
    if path.suffix.lower() in _OF_FILES:
        raise ModelError(f"There is no file {source}.", directory)
    if _HUB_ID.fullmatch(source) is None or source.startswith("."):
        raise ModelError(f"There is no model directory {source}.", directory)


def _absolute(path: Path) -> Path:
    found = path.resolve()
    if not is_text(str(found)):
        found = path.absolute()  # a link may have a name that is
    if not is_text(str(found)):
        raise ModelError(
            f"The name of the directory {shown_path(found)} is not UTF-8, and the library that reads tokenizers "
            "cannot open such a path.",
            "Rename the directory, or give a link to it (ln -s DIRECTORY my-model).",
        )
    return found


def gguf_error(source: str) -> ModelError:
    """What refuses a file of llama.cpp's."""
    return ModelError(
        f"{source} is a model in GGUF format, for llama.cpp; lensbank needs the weights as safetensors.",
        "Give the original model (its hub id, or a directory with config.json and *.safetensors).",
    )


def _starts_as_gguf(path: Path) -> bool:
    """Whether a file is one of llama.cpp's whatever its name: ollama keeps them under their checksums."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def pickles_error(source: str, seen: str) -> ModelError:
    """What refuses a model of pickles; ``seen`` is one of them."""
    return ModelError(
        f"{source} has only pickled weights ({seen}), which can run code when they are loaded; expected *.safetensors.",
        "If you trust them, convert them with save_pretrained().",
    )


# Where a configuration keeps that of its language model.
_PARTS = ("text_config", "llm_config", "language_config")
_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")


def depth_of(directory: Path | None) -> int | None:
    """How many blocks a directory's ``config.json`` says that the language model has.

    Returns:
        ``None`` where it does not say it in a usual way, or cannot be read: whoever loads the model says why.
    """
    if directory is None:
        return None
    try:
        settings: Any = read_json(directory / "config.json", dict[str, Any], _LONGEST_SETTINGS)
    except (OSError, NotOfKindError):
        return None
    settings = next((settings[part] for part in _PARTS if isinstance(settings.get(part), dict)), settings)
    found = [settings[name] for name in _DEPTHS if name in settings]
    return found[0] if len(found) == 1 and type(found[0]) is int and found[0] > 0 else None


def last_change(directory: Path) -> float:
    """When a file of a model's directory was last written, renamed or linked: seconds since the epoch.

    Of ``ctime``, which no copy carries over. Infinite where that cannot be known.
    """
    try:
        return max(path.stat().st_ctime for path in (directory, *directory.iterdir()))
    except OSError:
        return math.inf
