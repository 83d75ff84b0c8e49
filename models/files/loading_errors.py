"""From the many ways in which loading fails to one clear sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging

from ...schemas.errors import ModelError
from ..machine.shortage import causes_of, is_out_of_memory
from .sources import gguf_error, pickles_error


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
    causes = list(causes_of(error))
    if is_out_of_memory(error):
        return ModelError(
            f"{source} does not fit into the device's memory.",
            "Try --dtype bfloat16, --device-map auto (spreads the model over GPUs, memory and disk) or --load-in 4bit.",
        )
    text = "\n".join(str(cause) for cause in causes)
    if "trust_remote_code" in text or "custom code" in text:
        return ModelError(
            f"{source} comes with its own code, which lensbank does not run by default.",
            "Read that code, then allow it with --trust-remote-code if you trust it.",
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
            f"A part of {source} is kept on disk, and some weights differ from the form in its files.",
            "Add --offload-folder DIR: these weights are written there.",
        )
    if isinstance(error, KeyError) and error.args and part in ("configuration", "weights"):  # an activation, say
        return ModelError(
            f"{source} cannot be loaded: its configuration names {error.args[0]!r}, which transformers does not know.",
            _HINTS["configuration"],
        )
    return ModelError(f"The {part} of {source} cannot be loaded: {_first_line(error)}", _hint(part, causes))


def _hint(part: str, causes: list[BaseException]) -> str:
    if any(isinstance(cause, ImportError) for cause in causes):
        return "Install it, or remove the setting that needs it from config.json."
    if part == "weights" and any(isinstance(cause, AssertionError | TypeError | AttributeError) for cause in causes):
        return _HINTS["configuration"]  # they fail as the model is built
    return _HINTS[part]


def _explain_hub(source: str, part: str, causes: list[BaseException], text: str) -> ModelError | None:
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return ModelError(
            f"Access to {source} on the hub is restricted.",
            "Accept the model's terms on the hub, then run `hf auth login`.",
        )
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return ModelError(f"{source} has no such revision on the hub.", "Check --revision.")
    if any(isinstance(cause, OfflineModeIsEnabled | LocalEntryNotFoundError | ConnectionError) for cause in causes):
        return ModelError(
            f"There is no directory {source} here, and it cannot be downloaded because the hub cannot be reached "
            f"(needed: its {part}).",
            "Give a model directory, or go online once to fill the cache.",
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return ModelError(f"{source} is neither a directory nor a model on the hub.", "Check its spelling.")
    if "does not appear to have" in text and not Path(source).exists():
        if "gguf" in source.lower():
            return gguf_error(source)
        if part == "weights" and "safetensors" in text:
            return pickles_error(source, "no *.safetensors")
    return None


_HINTS = {
    "configuration": "Check config.json, or update transformers.",
    "tokenizer": "The model needs a tokenizer.json; save the tokenizer beside the weights.",
    "processor": "A vision-language model needs its processor's files; save the processor beside the weights.",
    "weights": "Download the model again; a file may be incomplete.",
}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    if line.endswith(":") and len(lines) > 1:  # what follows says what is wrong
        line = f"{line} {lines[1]}"
    line = line if len(line) <= 300 else line[:297] + "..."
    return line if line.endswith((".", "!", "?")) else f"{line}."
