"""What a search of image banks returns, and its versioned JSON (documented in docs/image-banks.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .frames import frame
from .patches import PatchPayload
from .shown import Shown, save

if TYPE_CHECKING:
    from .frames import Frame

FIND_VERSION = 1


@dataclass(frozen=True, slots=True)
class FoundPatch:
    """A visual token that answers a search.

    Attributes:
        layer: of the image bank.
        score: cosine with what was asked; of a word: of the corpus token that named it; ``None`` where there is none.
        point_id: its id in the collection.
        patch: everything that is stored with it.
    """

    layer: int
    score: float | None
    point_id: str
    patch: PatchPayload

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; the scores of the stored reading's words, which have the same name there, are ``scores``."""
        stored = self.patch.to_dict()
        scores = stored.pop("score", [])
        return {"layer": self.layer, "score": self.score, "point_id": self.point_id, **stored, "scores": scores}


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image with patches that answer a search.

    Attributes:
        corpus: name of its set.
        image: path below the set's folder.
        folder: of the set when it was indexed; empty where that is not on record.
        count: patches that answer, over all layers.
        patches: the best of them.
    """

    corpus: str
    image: str
    folder: str
    count: int
    patches: tuple[FoundPatch, ...]

    @property
    def path(self) -> Path:
        """Where the file was when it was indexed."""
        return Path(self.folder) / self.image

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "patches": [patch.to_dict() for patch in self.patches]}


@dataclass(frozen=True, slots=True, repr=False)
class Find(Shown):
    """The answer to one search of image banks.

    Attributes:
        kind: ``word``, ``text``, ``patch`` or ``sample``.
        query: what was asked, for people.
        where: further conditions, as typed.
        layers: of the banks.
        banks: their names.
        total_images: images with an answer; of a nearest-neighbour search, among the rows that were looked at.
        total_patches: likewise.
        images: the best of them.
        tool: name and version of the program.
        notes: what a reader should know of the store's banks, one sentence each.
    """

    kind: str
    query: str
    where: tuple[str, ...]
    layers: tuple[int, ...]
    banks: tuple[str, ...]
    total_images: int
    total_patches: int
    images: tuple[FoundImage, ...]
    tool: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """In a line: what was asked, and how much was found."""
        return f"<Find {self.query!r}: {self.total_patches} patches of {self.total_images} images>"

    def to_dict(self) -> dict[str, Any]:
        """JSON types only, with ``version`` first."""
        return {"version": FIND_VERSION, **asdict(self), "images": [image.to_dict() for image in self.images]}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every patch as a flat record."""
        for rank, image in enumerate(self.images, 1):
            for patch in image.patches:
                yield {"rank": rank, "count": image.count, **patch.to_dict()}

    def to_frame(self) -> Frame:
        """:meth:`rows` as a table of pandas.

        Raises:
            UsageError: pandas is not installed.
        """
        return frame(self.rows())

    def save(self, path: str | Path) -> None:
        """Write it by the file's ending: ``.json``, ``.html`` (the contact sheet) or ``.csv``.

        Raises:
            UsageError: another ending; the file cannot be written.
        """
        save(self, path)
