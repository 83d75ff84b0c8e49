"""The patch grid that a directory's settings give every image: known before torch is loaded, which takes seconds.

Only for families that scale each image to one picture of a fixed size (`models.families`); of the others, and where
a setting is left to a library's default, nothing is said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...schemas.reading import NotOfKindError, read_json

_FIXED = ("fast_vlm", "llava", "paligemma")
_LONGEST = 16 << 20


def grid_of(directory: Path | None) -> tuple[int, int] | None:
    """Rows and columns of the patch grid; ``None`` where they depend on the image or cannot be told."""
    if directory is None:
        return None
    config = _read(directory / "config.json")
    tower, kind = _part(config, "vision_config"), config.get("model_type")
    if kind not in _FIXED or tower.get("model_type") == "pixtral":
        return None
    processor = _read(directory / "processor_config.json")
    pixels = _part(processor, "image_processor") or _read(directory / "preprocessor_config.json")
    if pixels.get("do_pad") or not pixels.get("do_resize") or type(pixels.get("do_center_crop", False)) is not bool:
        return None
    if "crop_size" in pixels and "do_center_crop" not in pixels:
        return None
    size = _part(pixels, "crop_size" if pixels.get("do_center_crop") else "size")
    patch = (processor if kind == "fast_vlm" else tower).get("patch_size")
    height, width = size.get("height"), size.get("width")
    if any(type(number) is not int or number <= 0 for number in (height, width, patch)):
        return None
    return int(height) // int(patch), int(width) // int(patch)  # type: ignore[arg-type]


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(path, dict[str, Any], _LONGEST)
    except (OSError, NotOfKindError):
        return {}
    return found


def _part(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}
