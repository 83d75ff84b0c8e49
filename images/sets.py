"""Which images make a set, under which names; and what is known of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from ..evaluate.annotations import ALL, AnnotatedImage, Thing, read_annotations, things_under
from ..query.images import image_files
from ..schemas.errors import InputError, UsageError
from ..schemas.files import kind_of, shown_path
from ..schemas.results import PixelBox

GroupBy = Literal["folder", "annotations", "none"]


@dataclass(frozen=True, slots=True)
class SetImage:
    """One image of a set.

    Attributes:
        path: the file.
        name: its path below the set's folder, with slashes.
        group: what it belongs to.
        things: what is annotated on it.
        size: width and height in pixels as annotated; ``None`` where not said.
    """

    path: Path
    name: str
    group: str
    things: tuple[Thing, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images under one name.

    Attributes:
        name: as in the payload's ``corpus``.
        folder: that names of images are relative to.
        images: by name, each once.
        annotations: SHA-256 of the file that named the things; empty where there was none.
        notes: what a reader should know of the annotations.
        odd: names of images that are not among these, since another one has the name → why.
    """

    name: str
    folder: Path
    images: tuple[SetImage, ...]
    annotations: str = ""
    notes: tuple[str, ...] = field(default=())
    odd: Mapping[str, str] = field(default_factory=dict)


def gather(
    photos: Sequence[str | Path],
    name: str | None = None,
    annotations: str | Path | None = None,
    group_by: GroupBy | None = None,
) -> ImageSet:
    """The images of files and folders as one set.

    Args:
        photos: files and folders; a folder's images are found at any depth.
        name: of the set; the folder's by default.
        annotations: COCO-style file (docs/evaluation.md) of these images; ``file_name`` is a path below the folder.
        group_by: the folder that an image is in, what the annotations call its group, or nothing; by default what
            there is.

    Raises:
        InputError: no such file or folder, no image, or a file that is no annotation file.
        UsageError: annotations of images that are not in one folder.
    """
    if not photos:
        raise UsageError("No image was given.", "Give files or folders.")
    paths = [Path(photo).expanduser().absolute() for photo in photos]
    for given, path in zip(photos, paths, strict=True):
        if not path.exists():
            raise InputError(f"There is no file or folder {shown_path(given)}.", "Check the path.")
    files = list(dict.fromkeys(file for path in paths for file in (image_files(path) if path.is_dir() else [path])))
    if len(paths) == 1:
        folder = paths[0] if paths[0].is_dir() else paths[0].parent
    else:
        folder = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))
    known, digest, notes = _annotated(annotations, folder)
    group_by = group_by or ("annotations" if any(one.group != ALL for one in known.values()) else "folder")
    images = [_image(file, folder, known.get(_key(file)), group_by) for file in files]
    unknown = len(set(known) - {_key(file) for file in files})
    if unknown:
        notes = (*notes, f"{unknown} annotated images are not among the given images.")
    named, odd = dict[str, SetImage](), dict[str, str]()
    for image in sorted(images, key=_by_name):
        if named.setdefault(image.name, image) is not image:
            odd[image.name] = "another file has this name, where bytes that are no text are spelled out; rename one"
    return ImageSet(name or folder.name or "images", folder, tuple(named.values()), digest, notes, odd)


def hashed(images: Sequence[SetImage], advance: Callable[[int], None]) -> tuple[dict[str, str], dict[str, str]]:
    """SHA-256 of the files' bytes.

    Returns:
        Name → digest of those that can be read, and name → reason of the others.
    """
    found, odd = {}, {}
    for image in images:
        if kind := kind_of(image.path):  # it would be waited for, or read for ever
            odd[image.name] = f"is {kind}; expected an image file"
            advance(1)
            continue
        try:
            with image.path.open("rb") as file:
                found[image.name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            odd[image.name] = f"cannot be read: {error.strerror or error}"
        advance(1)
    return found, odd


def fingerprint(digests: Mapping[str, str]) -> str:
    """SHA-256 over names and digests of images, in the order of names."""
    lines = "".join(f"{name}\t{digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


def things_at(box: PixelBox, things: Sequence[Thing]) -> list[str]:
    """Names of the things whose boxes hold the centre of a patch; regions of many are none."""
    return [things[i].concept.name for i in things_under(box, things) if not things[i].crowd]


def _by_name(image: SetImage) -> tuple[str, bool]:
    """By name; of two that are written alike the one that has just this name is first."""
    return image.name, not image.path.as_posix().endswith(image.name)


def _key(path: Path) -> str:
    return os.path.realpath(path)


def _annotated(file: str | Path | None, folder: Path) -> tuple[dict[str, AnnotatedImage], str, tuple[str, ...]]:
    if file is None:
        return {}, "", ()
    read = read_annotations(Path(file), folder)
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return {_key(image.path): image for image in read.images}, digest, read.notes


def _image(file: Path, folder: Path, known: AnnotatedImage | None, group_by: GroupBy) -> SetImage:
    name = shown_path(file.relative_to(folder).as_posix())
    parent = str(PurePosixPath(name).parent)
    group = {"folder": parent if parent != "." else folder.name, "none": ALL}.get(group_by)
    if group is None:
        group = known.group if known is not None else ALL
    if known is None:
        return SetImage(file, name, group)
    return SetImage(file, name, group, known.things, known.size)
