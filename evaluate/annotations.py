"""Images whose objects are known: a COCO-style annotation file, and words beside its category names.

Read of the file: ``images`` (``id``, ``file_name``, optionally ``width``, ``height`` and ``group``,
by which results are reported apart), ``annotations`` (``image_id``, ``category_id``, ``bbox`` as
``[x, y, width, height]`` in pixels, optionally ``iscrowd``) and ``categories`` (``id``, ``name``,
optionally ``supercategory``, ``synonyms`` and ``hypernyms``, the latter two lists of words).

A word list is a JSON object: category name → ``{"synonyms": [...], "hypernyms": [...]}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..query.images import image_files
from ..schemas.errors import InputError
from ..schemas.reading import NotOfKindError, read_json
from ..schemas.results import PixelBox
from .matching import Concept

#: Bytes of an annotation file: the largest of COCO and LVIS have half of a gigabyte.
_LONGEST = 4 << 30

#: Group of images that name none.
ALL = "all images"


@dataclass(frozen=True, slots=True)
class Thing:
    """One annotated object.

    Attributes:
        concept: what it is.
        box: the pixels of the image that it covers.
        crowd: whether the box marks a region with many of them; patches there are not judged.
    """

    concept: Concept
    box: PixelBox
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """One image, and what is known of it.

    Attributes:
        path: the file.
        name: as the annotations call it, or its path below the folder.
        group: by which results are reported apart.
        things: what is on it; empty where nothing is known.
        size: width and height in pixels as annotated; ``None`` where not said.
    """

    path: Path
    name: str
    group: str = ALL
    things: tuple[Thing, ...] = ()
    size: tuple[int, int] | None = None


def read_annotations(file: Path, folder: Path, word_list: Path | None = None) -> list[AnnotatedImage]:
    """The images of an annotation file, in its order.

    Args:
        file: COCO-style JSON.
        folder: where the image files are; ``file_name`` is a path below it.
        word_list: synonyms and hypernyms by category name, beside those of the file.

    Raises:
        InputError: missing, not JSON, not of this form, or a box or reference that cannot be.
    """
    data = _load(file)
    words = {} if word_list is None else _load(word_list)
    concepts = {row["id"]: _concept(row, words, file) for row in _rows(data, "categories", ("id", "name"), file)}
    things: dict[Any, list[Thing]] = {}
    images = _rows(data, "images", ("id", "file_name"), file)
    known = {row["id"] for row in images}
    if len(known) < len(images):
        raise _wrong(file, "two images have the same id")
    for row in _rows(data, "annotations", ("image_id", "category_id", "bbox"), file):
        if row["image_id"] not in known or row["category_id"] not in concepts:
            raise _wrong(file, f"annotation {row.get('id')} names an image or a category that is not listed")
        things.setdefault(row["image_id"], []).append(
            Thing(concepts[row["category_id"]], _box(row, file), bool(row.get("iscrowd")))
        )
    return [
        AnnotatedImage(
            path=folder / str(row["file_name"]),
            name=str(row["file_name"]),
            group=str(row.get("group") or ALL),
            things=tuple(things.get(row["id"], ())),
            size=(int(row["width"]), int(row["height"])) if row.get("width") and row.get("height") else None,
        )
        for row in images
    ]


def find_images(folder: Path) -> list[AnnotatedImage]:
    """Every image file below a folder, by name; nothing is known of what they show.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    paths = image_files(folder)
    return [AnnotatedImage(path, path.relative_to(folder).as_posix()) for path in paths]


def things_under(box: PixelBox, things: Sequence[Thing]) -> tuple[int, ...]:
    """Indices of the things whose boxes hold the centre of a patch; ends are exclusive."""
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return tuple(
        i for i, thing in enumerate(things) if thing.box.x0 <= x < thing.box.x1 and thing.box.y0 <= y < thing.box.y1
    )


def _load(file: Path) -> Mapping[str, Any]:
    try:
        data: dict[str, Any] = read_json(file, dict[str, Any], _LONGEST)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.", "Check the path.") from error
    except NotOfKindError as error:
        raise _wrong(file, str(error)) from error
    return data


def _rows(data: Mapping[str, Any], key: str, needed: Sequence[str], file: Path) -> list[dict[str, Any]]:
    rows = data.get(key)
    if not isinstance(rows, list):
        raise _wrong(file, f"it has no list {key!r}")
    for number, row in enumerate(rows):
        lacking = [name for name in needed if not isinstance(row, dict) or name not in row]
        if lacking:
            raise _wrong(file, f"entry {number} of {key!r} has no {lacking[0]!r}")
    return rows


def _concept(row: Mapping[str, Any], words: Mapping[str, Any], file: Path) -> Concept:
    name = str(row["name"]).strip()
    if not name:
        raise _wrong(file, f"category {row['id']} has an empty name")
    extra = words.get(name, {})
    if not isinstance(extra, dict):
        raise InputError(
            f"The word list has {type(extra).__name__} for {name!r}.",
            'Expected {"synonyms": [...], "hypernyms": [...]}.',
        )
    above = [str(row["supercategory"])] if row.get("supercategory") and row["supercategory"] != name else []
    read: Callable[[Mapping[str, Any], str], list[str]] = lambda source, key: _words(source, key, name, file)  # noqa: E731
    return Concept(
        name,
        synonyms=tuple(dict.fromkeys([*read(row, "synonyms"), *read(extra, "synonyms")])),
        hypernyms=tuple(dict.fromkeys([*above, *read(row, "hypernyms"), *read(extra, "hypernyms")])),
    )


def _words(source: Mapping[str, Any], key: str, name: str, file: Path) -> list[str]:
    found = source.get(key, [])
    if not isinstance(found, list) or not all(isinstance(word, str) and word.strip() for word in found):
        raise _wrong(file, f"{key!r} of {name!r} is no list of words")
    return [word.strip() for word in found]


def _box(row: Mapping[str, Any], file: Path) -> PixelBox:
    box = row["bbox"]
    fine = isinstance(box, list) and len(box) == 4 and all(isinstance(n, int | float) and math.isfinite(n) for n in box)
    if not fine or box[2] <= 0 or box[3] <= 0:
        raise _wrong(file, f"annotation {row.get('id')} has the box {box}; expected [x, y, width, height] in pixels")
    return PixelBox(float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))


def _wrong(file: Path, why: str) -> InputError:
    return InputError(f"{file} is no annotation file: {why}.", "docs/evaluation.md shows the form.")
