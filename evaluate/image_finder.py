"""Files of images by the names that an annotation file has for them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL import ExifTags, Image

from ..schemas.addresses import without_secrets

_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


_UNSPELT = re.compile(r"\\x([89a-f][0-9a-f])")


def _byte(found: re.Match[str]) -> bytes:
    return bytes([int(found[1], 16)])


class ImageFinder:
    """Finds images below a folder by path, by the last parts of a path of another machine, or of an address.

    Args:
        folder: where the images are.

    Attributes:
        doubles: entries that named an image which an earlier one had named.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is looked for yet."""
        self._folder = folder
        self._elsewhere: list[str] = []
        self._sizes: dict[Path, tuple[int, int] | None] = {}
        self.doubles = 0

    def find(self, name: str) -> Path:
        """The file; a path that does not exist where none fits, for the message of whoever opens it."""
        plain = self._folder / name
        if _is_file(plain):
            return plain
        if "\\" in name and _is_file(spelt := self._folder / _UNSPELT.sub(lambda b: os.fsdecode(_byte(b)), name)):
            return spelt  # as JSON has a name that is not UTF-8
        parts = [part for part in re.split(r"[/\\]+", _path_of(name)) if part not in ("", ".", "..")]
        for start in range(len(parts)):
            path = self._folder.joinpath(*parts[start:])
            if _is_file(path):
                self._elsewhere.append(name)
                return path
        return plain

    def size(self, path: Path) -> tuple[int, int] | None:
        """Width and height of an image file, upright; ``None`` where it cannot be read."""
        if path not in self._sizes:
            size, orientation = header_of(path) or (None, 1)
            self._sizes[path] = (size[1], size[0]) if size and orientation in _TURNED else size
        return self._sizes[path]

    def notes(self) -> list[str]:
        """For people; nothing where every name was a path below the folder."""
        notes = []
        if self._elsewhere:
            notes.append(
                f"{len(self._elsewhere)} images were found by the last parts of their paths (the first: "
                f"{without_secrets(self._elsewhere[0])})."
            )
        if self.doubles:
            notes.append(f"{self.doubles} entries name an image that an earlier one names; their objects were joined.")
        return notes


def header_of(path: Path) -> tuple[tuple[int, int], int] | None:
    """Width and height of an image file as it is stored, and its EXIF orientation; ``None`` where it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size, int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return None


def _path_of(name: str) -> str:
    """The path of an address, of a Windows path or of a plain one."""
    if re.match(r"[a-z][a-z0-9+.-]+://", name, re.IGNORECASE):
        try:
            return unquote(urlsplit(name).path)
        except ValueError:
            return name
    return re.sub(r"^[A-Za-z]:", "", name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
