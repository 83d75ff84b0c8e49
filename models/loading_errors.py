"""From the many ways in which loading fails to one clear sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging

from ..schemas.errors import ModelError
from ..schemas.files import shown_path
from ..schemas.names import is_text
from ..schemas.reading import NotOfKindError, read_json

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
# As PEFT writes them, and as diffusers and others do.
_ADAPTERS = re.compile(
    r"adapter_config\.json | adapter_model.* | (.*[^a-z])? lora ([^a-z].*)? \.(safetensors|bin)",
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST_SETTINGS = 16 << 20
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own reports and progress bars off the terminal; ours say what matters."""
    reports: Any = logging
    hub = hub_logging.get_verbosity()
    hub_logging.set_verbosity(reports.CRITICAL)
    verbosity, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
    reports.set_verbosity(reports.CRITICAL)
    reports.disable_progress_bar()
    try:
        yield
    finally:
        hub_logging.set_verbosity(hub)
        reports.set_verbosity(verbosity)
        if bars:
            reports.enable_progress_bar()


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
    path = Path(source).expanduser()
    if not path.is_dir():
        if path.is_file():
            if path.suffix.lower() == ".gguf" or _starts_as_gguf(path):
                raise _gguf(source)
            raise ModelError(
                f"{source} is a file; expected a model directory or a hub id.", "Give the directory that it lies in."
            )
        if _HUB_ID.fullmatch(source) is None or source.startswith("."):
            raise ModelError(f"There is no model directory {source}.", "Give a model directory or a hub id.")
        return None
    path = _absolute(path)
    if found := [file for file in sorted(path.glob("*")) if _ADAPTERS.fullmatch(file.name)]:
        raise adapter_error(source, found[0])
    if not any(path.glob("*.safetensors")) and any(path.glob("*.[gG][gG][uU][fF]")):
        raise _gguf(source)
    if not (path / "config.json").is_file():
        raise ModelError(
            f"The directory {source} has no config.json; expected a Hugging Face model directory.",
            "Save one with save_pretrained(), or give a hub id.",
        )
    if weights and not any(path.glob("*.safetensors")):
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        if pickles:
            raise _pickles_only(source, pickles[0])
        raise ModelError(f"The directory {source} has no weights (*.safetensors).", "Fetch the model again.")
    return path


def _absolute(path: Path) -> Path:
    found = path.resolve()
    if not is_text(str(found)):
        found = path.absolute()  # a link may have a name that is
    if not is_text(str(found)):
        raise ModelError(
            f"The name of the directory {shown_path(found)} is not UTF-8, and the library that reads tokenizers opens "
            "no such file.",
            "Rename it, or make a link to it (ln -s DIRECTORY my-model) and give that.",
        )
    return found


@contextmanager
def translated(source: str, part: str) -> Iterator[None]:
    """Turn any failure to load one part of a model into a :class:`ModelError`.

    Args:
        source: as the user gave it.
        part: ``configuration``, ``tokenizer``, ``processor`` or ``weights``.
    """
    try:
        yield
    except ModelError:
        raise
    # Whatever a file can make transformers raise is, for the user, one thing: it did not load.
    except Exception as error:
        raise _explain(source, part, error) from error


def _explain(source: str, part: str, error: Exception) -> ModelError:
    causes = list(_chain(error))
    if any(isinstance(cause, torch.OutOfMemoryError | MemoryError) for cause in causes):
        return ModelError(
            f"{source} does not fit into the device's memory.",
            "Try --dtype bfloat16, --device-map auto (spreads it over what there is) or --load-in 4bit.",
        )
    text = "\n".join(str(cause) for cause in causes)
    if "trust_remote_code" in text or "custom code" in text:
        return ModelError(
            f"{source} comes with its own code, which is not run unless you ask for it.",
            "Read that code, then allow it with --trust-remote-code.",
        )
    if (of_hub := _explain_hub(source, part, causes, text)) is not None:
        return of_hub
    if part == "processor" and "torchvision" in text.lower():
        return ModelError(
            f"The processor of {source} needs torchvision, which is not installed (or not the one that fits torch).",
            "Install the torchvision that belongs to your torch.",
        )
    if part == "weights" and "offload_folder" in text:
        return ModelError(
            f"{source} is to stay on disk in part, and of some weights the form in its files is another.",
            "Add --offload-folder DIR: they are written there once more.",
        )
    return ModelError(f"The {part} of {source} cannot be loaded: {_first_line(error)}", _HINTS[part])


def _explain_hub(source: str, part: str, causes: list[BaseException], text: str) -> ModelError | None:
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return ModelError(
            f"Access to {source} on the hub is restricted.", "Accept its terms there, then `hf auth login`."
        )
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return ModelError(f"{source} has no such revision on the hub.", "Check --revision.")
    if any(isinstance(cause, OfflineModeIsEnabled | LocalEntryNotFoundError | ConnectionError) for cause in causes):
        return ModelError(
            f"{source} is no directory here, and the hub cannot be reached to fetch it (its {part}).",
            "Give a model directory, or go online once to fill the cache.",
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return ModelError(f"{source} is neither a directory nor a model on the hub.", "Check its spelling.")
    if "does not appear to have" in text and not Path(source).exists():
        if "gguf" in source.lower():
            return _gguf(source)
        if part == "weights" and "safetensors" in text:
            return _pickles_only(source, "no *.safetensors")
    return None


_HINTS = {
    "configuration": "Check config.json, or update transformers.",
    "tokenizer": "The model needs a tokenizer.json; save the tokenizer beside the weights.",
    "processor": "A vision-language model needs its processor's files; save the processor beside the weights.",
    "weights": "Fetch the model again; a file may be incomplete.",
}


def _gguf(source: str) -> ModelError:
    return ModelError(
        f"{source} is a model in GGUF form, which llama.cpp reads; hidden states need the weights as safetensors.",
        "Give the model that it was made from (its hub id, or a directory with config.json and *.safetensors).",
    )


def _starts_as_gguf(path: Path) -> bool:
    """Whether a file is one of llama.cpp's whatever its name: ollama keeps them under their checksums."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def adapter_error(source: str, seen: Path | str) -> ModelError:
    """What refuses an adapter (LoRA and its kin): without it merged, the base model would be read in its place.

    Args:
        source: as the user gave it.
        seen: the file that shows it (of ``adapter_config.json``, the base is named), or what a tensor is called.
    """
    base = None
    if isinstance(seen, Path) and seen.name == "adapter_config.json":
        try:
            data: dict[str, Any] = read_json(seen, dict[str, Any], _LONGEST_SETTINGS)
            base = data.get("base_model_name_or_path")
        except (OSError, NotOfKindError):
            base = None
    of = f" of {base}" if isinstance(base, str) and base else ""
    named = seen.name if isinstance(seen, Path) else seen
    return ModelError(
        f"{source} holds an adapter{of} ({named}), whose weights are read only when merged into its base.",
        "Merge it (peft: merge_and_unload(), then save_pretrained()), and give that directory.",
    )


def _pickles_only(source: str, seen: str) -> ModelError:
    return ModelError(
        f"{source} has only pickled weights ({seen}), which can run any code; expected *.safetensors.",
        "Convert them with save_pretrained(), where you trust them.",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    if line.endswith(":") and len(lines) > 1:  # what follows says what is wrong
        line = f"{line} {lines[1]}"
    line = line if len(line) <= 300 else line[:297] + "..."
    return line if line.endswith((".", "!", "?")) else f"{line}."
