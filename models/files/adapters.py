"""Adapters (LoRA and its kin): what tells one, and what to say of it. Unmerged, the base would be read in its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ...schemas.errors import ModelError
from ...schemas.files import shown_path
from ...schemas.reading import NotOfKindError, read_json

# As PEFT writes them, and as diffusers, mlx and others do.
_FILES = re.compile(
    r"""
    adapter_config\.json | adapter_model.* | (.*[^a-z])? adapters? \.(safetensors|bin|npz)
    | (.*[^a-z])? lora ([^a-z].*)? \.(safetensors|bin)
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What PEFT and its forerunners call the tensors that they add to a model's.
_TENSORS = re.compile(
    r"\b(lora_|ia3_|hada_|lokr_|oft_|boft_|vera_|vblora_|randlora_|fourierft_|base_layer\.|modules_to_save\."
    r"|prompt_encoder\.|prompt_embeddings\b|adaption_|adapters\.)"
)
# Kinds that put positions before a text, or learn other weights of a block's own: nothing can be merged.
_NEVER_MERGED = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT", "CPT")
_SETTINGS = "adapter_config.json"
_LONGEST = 16 << 20


def adapter_files(folder: Path) -> list[Path]:
    """The files of a directory that are an adapter's, its settings first."""
    return sorted(
        (file for file in folder.glob("*") if _FILES.fullmatch(file.name)),
        key=lambda file: (file.name != _SETTINGS, file),
    )


def is_adapters(tensor: str) -> bool:
    """Whether a tensor is an adapter's, by its name."""
    return _TENSORS.search(tensor) is not None


def adapters_below(folder: Path) -> str | None:
    """What a reader of the directory's own weights should know: adapters in its subfolders, which are not read."""
    found = [(child, files[0]) for child in _subfolders(folder) if (files := adapter_files(child))]
    if not found:
        return None
    names = ", ".join(shown_path(child.name) for child, _ in found[:3]) + (" ..." if len(found) > 3 else "")
    return (
        f"{shown_path(folder)} is read as a base model, without the adapter in its subfolder {names}. To read the "
        "adapted model, merge the adapter (peft: merge_and_unload(), then save_pretrained()) and give the merged "
        "directory."
    )


def models_below(folder: Path) -> str:
    """A sentence that names the subfolders of a directory that hold a model or an adapter; empty without such."""
    found = [child.name for child in _subfolders(folder) if (child / "config.json").is_file() or adapter_files(child)]
    found = [shown_path(name) for name in found]
    return (
        f" Its subfolder {', '.join(found[:3])}{' ...' if len(found) > 3 else ''} may be a model directory."
        if found
        else ""
    )


def adapter_error(source: str, seen: Path | str) -> ModelError:
    """What refuses an adapter.

    Args:
        source: as the user gave it.
        seen: the file that shows it (of ``adapter_config.json``, base and kind are named), or what a tensor is called.
    """
    base = kind = None
    if isinstance(seen, Path) and seen.name == _SETTINGS:
        try:
            data: dict[str, Any] = read_json(seen, dict[str, Any], _LONGEST)
            base, kind = data.get("base_model_name_or_path"), data.get("peft_type")
        except (OSError, NotOfKindError):
            pass
    of = f" of {base}" if isinstance(base, str) and base else ""
    named = shown_path(seen.name) if isinstance(seen, Path) else seen
    beside = isinstance(seen, Path) and (seen.parent / "config.json").is_file() and _has_own_weights(seen.parent)
    alone = (
        " To read the base model in the same directory, move the adapter's files to another directory."
        if beside
        else ""
    )
    if isinstance(kind, str) and kind.upper() in _NEVER_MERGED:
        return ModelError(
            f"{source} holds an adapter{of} ({named}) of the kind {kind.upper()}. Such an adapter cannot be merged "
            "into its base, so it is not read.",
            f"Give a model with fine-tuned weights, or the base model.{alone}",
        )
    return ModelError(
        f"{source} holds an adapter{of} ({named}). lensbank reads adapters only after they are merged into their base.",
        f"Merge the adapter (peft: merge_and_unload(), then save_pretrained()) and give the merged directory.{alone}",
    )


def _has_own_weights(folder: Path) -> bool:
    return any(not _FILES.fullmatch(file.name) for file in folder.glob("*.safetensors"))


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return []
