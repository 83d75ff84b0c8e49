"""Images whose objects are known: a COCO-style annotation file, and words beside its category names.

Read of the file: ``images`` (``id``, ``file_name`` or ``coco_url``, optionally ``width``, ``height`` and ``group``,
by which results are reported apart), ``annotations`` (``image_id``, ``category_id``, ``bbox`` as
``[x, y, width, height]`` in pixels, optionally ``iscrowd``) and ``categories`` (``id``, ``name``,
optionally ``supercategory``, ``synonyms`` and ``hypernyms``, the latter two lists of words).

A word list is a JSON object: category name → ``{"synonyms": [...], "hypernyms": [...]}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..query.images import image_files
from ..schemas.addresses import without_secrets
from ..schemas.errors import InputError
from ..schemas.files import shown_path
from ..schemas.reading import NotOfKindError, read_json
from ..schemas.results import PixelBox
from .annotation_kinds import other_form, other_list, other_text, refusal
from .boxes import BoxCounts, Numbers, RawBox, pixel_box, read_numbers, require_pixels
from .image_finder import ImageFinder
from .matching import Concept
from .segments import box_of

#: Bytes of an annotation file: the largest of COCO and LVIS have half of a gigabyte.
_LONGEST = 4 << 30

_LONGEST_SIDE = 10_000_000  # pixels

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


@dataclass(frozen=True, slots=True)
class Annotations:
    """What an annotation file says.

    Attributes:
        images: in the file's order, each file once.
        notes: what was left out, cut or guessed, for people.
    """

    images: tuple[AnnotatedImage, ...]
    notes: tuple[str, ...] = ()


def read_annotations(file: Path, folder: Path, word_list: Path | None = None) -> Annotations:
    """The images of an annotation file, and what a reader should know of how it was read.

    Args:
        file: COCO-style JSON, as COCO itself, LVIS, or exports of annotation tools write it.
        folder: where the image files are; ``file_name`` is a path below it.
        word_list: synonyms and hypernyms by category name, beside those of the file.

    Raises:
        InputError: missing, not JSON, not of this form, boxes in another unit, or a reference that cannot be.
    """
    data = _load(file)
    if other := other_form(data):
        raise _wrong(file, *refusal(other))
    words = {} if word_list is None else _load(word_list)
    concepts = _concepts(_rows(data, "categories", ("id", "name"), file), words, file)
    finder = ImageFinder(folder)
    images, alias = _images(_rows(data, "images", ("id",), file), finder, file)
    rows = _rows(data, "annotations", ("image_id", "category_id"), file)
    counts = BoxCounts()
    raws = []
    for at, what, crowd, name, numbers in _objects(rows, alias, concepts, counts, file):
        raws.append((at, what, crowd, RawBox(name, numbers, images[at].size or finder.size(images[at].path))))
    crowds = sum(crowd for _, _, crowd, _ in raws)
    if rows and not raws:
        raise _wrong(file, f"it has no usable annotation: {counts.notes()[0].rstrip('.')}")
    require_pixels([raw for *_, raw in raws], str(file))
    things: dict[str, list[Thing]] = {}
    for at, what, crowd, raw in raws:
        box = pixel_box(raw, counts)
        if box is not None:
            things.setdefault(at, []).append(Thing(what, box, crowd))
    notes = [*finder.notes(), *counts.notes()]
    if crowds and crowds == len(raws):
        notes.append(
            f"All {crowds} objects are marked iscrowd (a region of many), where patches are not judged. Set iscrowd "
            "to 0 where a box holds one object."
        )
    return Annotations(
        tuple(replace(image, things=tuple(things.get(at, ()))) for at, image in images.items()), tuple(notes)
    )


def _objects(
    rows: Sequence[Mapping[str, Any]],
    alias: Mapping[str, str],
    concepts: Mapping[str, Concept],
    counts: BoxCounts,
    file: Path,
) -> Iterator[tuple[str, Concept, bool, str, Numbers]]:
    """Of each annotation that can be used: image, concept, whether it is a crowd, name, and the four numbers."""
    for number, row in enumerate(rows):
        name = str(row.get("id", number))
        at, what = alias.get(_key(row["image_id"])), concepts.get(_key(row["category_id"]))
        if what is None:  # left out, its objects would count as background
            raise _wrong(file, f"annotation {name} has a category that is not in 'categories'")
        if at is None:
            counts.add("unlisted", name)
            continue
        given = row.get("bbox") or box_of(row.get("segmentation"))
        if given is None:
            counts.add("boxless", name)
            continue
        numbers = read_numbers(given)
        if numbers is None:
            raise _wrong(file, f"annotation {name} has the box {given}; expected [x, y, width, height] in pixels")
        yield at, what, _flag(row.get("iscrowd"), name, file), name, numbers


def _images(
    rows: Sequence[Mapping[str, Any]], finder: ImageFinder, file: Path
) -> tuple[dict[str, AnnotatedImage], dict[str, str]]:
    """Images by the id of their first entry, and each entry's id → that one."""
    images: dict[str, AnnotatedImage] = {}
    alias: dict[str, str] = {}
    by_path: dict[Path, str] = {}
    for number, row in enumerate(rows):
        key, name = _key(row["id"]), row.get("file_name") or row.get("coco_url") or row.get("flickr_url")
        if key in alias:
            raise _wrong(file, f"two images have the same id, {row['id']}")
        if not isinstance(name, str) or not name.strip():
            raise _wrong(file, f"entry {number} of 'images' has no 'file_name' and no 'coco_url'")
        path, name = finder.find(name), without_secrets(name)  # a signed address opens doors
        image = AnnotatedImage(path=path, name=name, group=str(row.get("group") or ALL), size=_size(row, name, file))
        alias[key] = by_path.setdefault(image.path, key)
        first = images.setdefault(alias[key], image)
        if first is not image:
            if (first.group, first.size) != (image.group, image.size):
                raise _wrong(file, f"two entries name the image {name}, and their sizes or groups differ")
            finder.doubles += 1
    return images, alias


def _key(value: object) -> str:
    """An id however it is written: 1, 1.0 and "1" are the same."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _size(row: Mapping[str, Any], name: str, file: Path) -> tuple[int, int] | None:
    width, height = row.get("width"), row.get("height")
    if not width and not height:
        return None
    try:
        size = int(width), int(height)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        size = (0, 0)
    if min(size) < 1 or max(size) > _LONGEST_SIDE:
        raise _wrong(file, f"the image {name} has the size {width} x {height}")
    return size


def _flag(value: object, name: str, file: Path) -> bool:
    """``iscrowd`` however it is written."""
    text = str(value).strip().lower()
    if value is None or text in ("0", "0.0", "false", ""):
        return False
    if text in ("1", "1.0", "true"):
        return True
    raise _wrong(file, f"annotation {name} has iscrowd {value!r}; expected 0 or 1")


def _concepts(rows: Sequence[Mapping[str, Any]], words: Mapping[str, Any], file: Path) -> dict[str, Concept]:
    concepts: dict[str, Concept] = {}
    for row in rows:
        concept = _concept(row, words, file)
        known = concepts.setdefault(_key(row["id"]), concept)
        if known != concept:
            raise _wrong(file, f"category {row['id']} is both {known.name!r} and {concept.name!r}")
    return concepts


def find_images(folder: Path) -> list[AnnotatedImage]:
    """Every image file below a folder, by name; nothing is known of what they show.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    paths = image_files(folder)
    return [AnnotatedImage(path, shown_path(path.relative_to(folder).as_posix())) for path in paths]


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
        if other := other_text(file) or other_list(file):
            raise _wrong(file, *refusal(other)) from error
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
    name = "" if row["name"] is None else str(row["name"]).strip()
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
        raise _wrong(file, f"{key!r} of {name!r} is not a list of words")
    return [word.strip() for word in found]


def _wrong(file: Path, why: str, hint: str = "docs/evaluation.md shows the expected form.") -> InputError:
    return InputError(f"{file} is not an annotation file: {why}.", hint)
