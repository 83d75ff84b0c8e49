"""Images that people have brought: checked once, kept as files' bytes in memory, the oldest let go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import PurePosixPath, PureWindowsPath

from ..query.images import OpenedImage, open_bytes
from ..query.pixels import reduced
from ..show.pictures import encoded
from .failures import RequestError
from .settings import ServeSettings

_NAME = 120
# Longest side of the picture that lists show.
_THUMBNAIL = 256


@dataclass(frozen=True)
class Upload:
    """An image file that can be shown to a model.

    Attributes:
        sha256: of its bytes; also its id.
        name: as whoever brought it calls it, without folders.
        width: in pixels, upright.
        height: in pixels, upright.
        notes: what was done to it that a reader should know.
        data: its bytes.
        picture: a small one, as a file's bytes.
        kind: of ``picture``: ``png`` or ``jpeg``.
    """

    sha256: str
    name: str
    width: int
    height: int
    notes: tuple[str, ...]
    data: bytes
    picture: bytes
    kind: str

    def to_dict(self) -> dict[str, object]:
        """JSON types only, without pixels."""
        return {
            "id": self.sha256,
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "notes": list(self.notes),
        }


class Uploads:
    """Uploaded images by their id. Safe to use from several threads."""

    def __init__(self, settings: ServeSettings) -> None:
        """Empty."""
        self._settings = settings
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()
        # One at a time: that bounds the memory of pixels, and Pillow's limit and warnings belong to the process.
        self._decoding = threading.Lock()

    def add(self, data: bytes, name: str) -> Upload:
        """Check a file and keep it.

        Args:
            data: its bytes.
            name: as the client calls it.

        Raises:
            ImageError: no image, damaged, or of too many pixels.
        """
        name = plain_name(name)
        opened = self._decoded(data, name)
        picture, kind = encoded(reduced(opened.image, _THUMBNAIL))
        upload = Upload(opened.sha256, name, opened.width, opened.height, opened.notes, data, picture, kind)
        with self._lock:
            self._kept[upload.sha256] = upload
            self._kept.move_to_end(upload.sha256)
            while (
                sum(len(each.data) for each in self._kept.values()) > self._settings.kept_bytes and len(self._kept) > 1
            ):
                self._kept.popitem(last=False)
        return upload

    def get(self, image: str) -> Upload:
        """An image that was uploaded.

        Raises:
            RequestError: there is none of this id, or none any more.
        """
        with self._lock:
            upload = self._kept.get(image)
            if upload is not None:
                self._kept.move_to_end(image)
        if upload is None:
            raise RequestError(
                404, "This server does not have this image, or no longer has it.", "Upload it: POST /api/images."
            )
        return upload

    def opened(self, upload: Upload) -> OpenedImage:
        """Its pixels.

        Raises:
            ImageError: it cannot be decoded.
        """
        return replace(self._decoded(upload.data, upload.name), name=upload.name)

    def _decoded(self, data: bytes, name: str) -> OpenedImage:
        with self._decoding:
            return open_bytes(data, name, self._settings.max_pixels)


def plain_name(name: str) -> str:
    """A file's name without folders and without what cannot be read, of bearable length."""
    last = PurePosixPath(PureWindowsPath(name).name).name
    shown = "".join(each if each.isprintable() else " " for each in last).strip()
    return shown[-_NAME:] or "image"
