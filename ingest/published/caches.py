"""The files of a published bank: found before anything that reads them is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from ...schemas.errors import InputError
from ...schemas.files import kind_of

CACHE_FILE = "embeddings_cache.pt"


def find_caches(folder: Path) -> dict[int, Path]:
    """The layers of a published bank: number → file.

    Raises:
        InputError: it is no such folder.
    """
    found = {}
    for path in sorted(folder.glob(f"layer_*/{CACHE_FILE}")):
        number = re.fullmatch(r"layer_(\d+)", path.parent.name)
        if number:
            if kind := kind_of(path):
                raise InputError(f"{path} is {kind}; expected a file.", "Copy the folder again.")
            found[int(number[1])] = path
    if not found:
        what = "is no folder" if not folder.is_dir() else f"holds no layer_N/{CACHE_FILE}"
        raise InputError(
            f"{folder} {what}; expected a bank in the format of the official library.",
            "Download one: hf download McGill-NLP/contextual_embeddings-qwen2.5-7b --local-dir DIR, then give DIR.",
        )
    return dict(sorted(found.items()))
