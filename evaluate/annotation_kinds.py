"""Annotation files of other tools, recognised by their content: their names, and how to convert them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..schemas.reading import NotOfKindError, read_json

_HINT = (
    "Export the annotations as COCO JSON (possible in CVAT, Label Studio, Roboflow and FiftyOne); docs/evaluation.md "
    "shows the form."
)


def other_form(data: object) -> str | None:
    """What a JSON file is that is not in COCO's form; ``None`` where that is not known."""
    if not isinstance(data, Mapping):
        return None
    if "shapes" in data and "imagePath" in data:
        return "of LabelMe, of one image"
    if "_via_img_metadata" in data or any(isinstance(one, dict) and "regions" in one for one in data.values()):
        return "of the VGG Image Annotator"
    return _of_coco(data.get("annotations"))


def _of_coco(rows: Any) -> str | None:
    """COCO files of other tasks."""
    row = rows[0] if isinstance(rows, list) and rows else None
    if not isinstance(row, dict):
        return None
    if "segments_info" in row:
        return "of COCO's panoptic task, whose objects have no boxes of their own"
    return "of captions, without objects" if "caption" in row and "bbox" not in row else None


def other_list(file: Path) -> str | None:
    """What a JSON list is; ``None`` where it is none, or that is not known."""
    try:
        data: list[Any] = read_json(file, list[Any])
    except (OSError, NotOfKindError):
        return None
    entry = data[0] if data else None
    return "of CreateML" if isinstance(entry, dict) and {"image", "annotations"} <= entry.keys() else None


def other_text(file: Path) -> str | None:
    """What a file is that is no JSON; ``None`` where that is not known."""
    try:
        with file.open("rb") as opened:
            head = opened.read(4096)
    except OSError:
        return None
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16; expected UTF-8"
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").lstrip()
    first = text.splitlines()[0] if text else ""
    if text.startswith("<"):
        return "XML (Pascal VOC, it seems), of one image"
    if first.startswith("ImageID,"):
        return "a table of Open Images, with boxes as shares of the image"
    words = first.split()
    if len(words) == 5 and all(word.replace(".", "", 1).isdigit() for word in words):
        return "of YOLO, of one image, with boxes as shares of it"
    return None


def refusal(what: str) -> tuple[str, str]:
    """How a message goes on, and what to do."""
    return f"it is {what}", "Convert it (iconv)." if what.startswith("UTF-16") else _HINT
