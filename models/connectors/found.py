"""The files of a published connector, and the directory that will be made: looked at before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from ...schemas.errors import ModelError, UsageError
from ...schemas.files import require_folder

#: As published; ``model.pt`` is what the published scripts rename it to.
WEIGHT_FILES = ("connector.safetensors", "connector.pt", "model.safetensors", "model.pt")
CONFIG_FILE = "config.yaml"


def find_checkpoint(folder: Path) -> tuple[Path, Path]:
    """The weights and the configuration in a folder.

    Raises:
        ModelError: one of them is not there.
    """
    weights = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
    config = folder / CONFIG_FILE
    if not weights or not config.is_file():
        missing = CONFIG_FILE if weights else "connector.pt"
        raise ModelError(
            f"There is no {missing} in {folder}; expected connector.pt and {CONFIG_FILE}.",
            "Download one: hf download McGill-NLP/latentlens-connectors --include 'olmo-vit/*' --local-dir DIR, then "
            "give DIR/olmo-vit.",
        )
    return weights[0], config


def require_new(out: Path) -> None:
    """Refuse a directory that is there, or cannot be made.

    Raises:
        UsageError: with what is in the way.
        StoreFullError: the disk has no room.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(
            f"The directory {out} exists already; nothing was written.", "Give another --out, or remove that directory."
        )
    require_folder(out)
