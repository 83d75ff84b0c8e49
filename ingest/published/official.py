"""The published banks: folders ``layer_N`` with a file ``embeddings_cache.pt`` each.

Written by the official library (``latentlens`` 0.1.0, ``ContextualIndex.save``) and by the paper's scripts
(``reproduce/scripts/extract_embeddings.py`` of github.com/McGill-NLP/latentlens): a dictionary with ``embeddings``
``[rows, dim]`` and ``metadata``, a list with ``token_str``, ``token_id``, ``caption`` and ``position`` of each row.
The library's rows are normalised (float16 unless asked otherwise); the paper's have their norms and went through
float8, cut off at ±448. Nothing in a file is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...models.files.tensor_files import load_plain, require_intact
from ...schemas.errors import InputError, LayerError
from ...schemas.layers import LayerChoice, layers_among

METADATA_FILE = "metadata.json"
#: Largest magnitude of float8 (e4m3), where the paper's states are cut off.
FLOAT8_LIMIT = 448.0
_DTYPES = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float8_e4m3fn: "float8",
}
_FIELDS = {"token_id": int, "caption": str, "position": int}
_DECLARED = ("model_name", "embedding_dtype", "max_captions_per_token", "num_captions_processed", "data_source")


@dataclass(frozen=True)
class Cache:
    """One layer's file.

    Attributes:
        embeddings: ``[rows, dim]``, mapped from the file.
        metadata: of every row.
        dtype: of the embeddings, as a name.
    """

    embeddings: Tensor
    metadata: list[dict[str, Any]]
    dtype: str


def choose_layers(found: Mapping[int, Path], n_layers: int, wanted: LayerChoice | None) -> dict[int, Path]:
    """The files to import.

    Their layer numbers are places in transformers' ``hidden_states``: 0 to N-1 are our layers, N is after the
    final norm and no layer of ours.

    Args:
        found: see :func:`find_caches`.
        n_layers: N, blocks of the model.
        wanted: layers asked for; ``None`` for all.

    Raises:
        LayerError: a layer that is not there, or is none.
    """
    layers = tuple(found) if wanted is None else layers_among(wanted, tuple(found), "The folder has layers")
    there = ", ".join(map(str, found))
    missing = [layer for layer in layers if layer not in found]
    if missing:
        raise LayerError(f"There is no layer_{missing[0]} to import.", f"The folder has layers {there}.")
    usable = [layer for layer in found if layer < n_layers]
    hint = f"Give --layer {','.join(map(str, usable))}." if usable else "Give the model that made the bank."
    for layer in layers:
        if layer == n_layers:
            raise LayerError(
                f"layer_{layer} holds states after the final norm (the model has {n_layers} blocks), which lensbank "
                "does not store.",
                hint,
            )
        if layer > n_layers:
            raise LayerError(f"The model has {n_layers} blocks, so layer_{layer} is not one of its layers.", hint)
    return {layer: found[layer] for layer in layers}


def read_cache(path: Path) -> Cache:
    """Open one layer's file: rows stay in the file, their metadata is read.

    Raises:
        InputError: it cannot be read safely, or is no such file.
    """
    require_intact(path)
    data = load_plain(path)
    embeddings = data.get("embeddings") if isinstance(data, Mapping) else None
    metadata = data.get("metadata") if isinstance(data, Mapping) else None
    if not isinstance(embeddings, Tensor) or embeddings.ndim != 2 or embeddings.dtype not in _DTYPES:
        seen = type(embeddings).__name__
        if isinstance(embeddings, Tensor):
            seen = f"{embeddings.dtype} {tuple(embeddings.shape)}"
        raise _unlike(path, f"its embeddings are {seen}; expected a matrix of floating-point numbers")
    if embeddings.layout != torch.strided or embeddings.numel() * embeddings.element_size() > path.stat().st_size:
        raise _unlike(path, "its embeddings are larger than the file")
    if not isinstance(metadata, list) or len(metadata) != len(embeddings):
        count = len(metadata) if isinstance(metadata, list) else "no"
        raise _unlike(path, f"it has {count} entries of metadata for {len(embeddings)} rows")
    for row, entry in enumerate(metadata):
        if not isinstance(entry, dict) or any(type(entry.get(name)) is not kind for name, kind in _FIELDS.items()):
            raise _unlike(path, f"the metadata of row {row} lacks one of {', '.join(_FIELDS)}, or has another type")
    return Cache(embeddings, metadata, _DTYPES[embeddings.dtype])


def declared(folder: Path) -> str:
    """What the folder's own metadata says of how it was made, as JSON; ``{}`` where there is none."""
    try:
        data = json.loads((folder / METADATA_FILE).read_bytes())
        return json.dumps({key: data[key] for key in _DECLARED if isinstance(data.get(key), str | int)})
    except (OSError, ValueError, AttributeError, RecursionError):
        return "{}"


def sha256_of(path: Path) -> str:
    """Of a whole file, a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unlike(path: Path, why: str) -> InputError:
    return InputError(f"{path} is not a layer of an official bank: {why}.", "Fetch it again.")
