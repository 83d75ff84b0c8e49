"""What an index of images is asked to do, and what it has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..schemas.checking import hold_to_types
from ..schemas.units import show_bytes

_NAMED = 20


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How images are turned into banks.

    Attributes:
        vector_dtype: of the stored directions; float16 halves the disk space.
        again: read every image anew, also those that are there.
        prune: delete what the set holds of images that were not given.
        flush_seconds: how often rows are made durable, which is what an interruption can cost.
    """

    vector_dtype: Literal["float32", "float16"] = "float32"
    again: bool = False
    prune: bool = False
    flush_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Check what types cannot.

        Raises:
            UsageError: a value of another type.
            ValueError: a number that is out of range, or an unknown dtype.
        """
        if self.vector_dtype not in ("float32", "float16"):
            raise ValueError(f"vector_dtype is {self.vector_dtype!r}, expected float32 or float16")
        hold_to_types(self)
        if self.flush_seconds < 0:
            raise ValueError(f"flush_seconds is {self.flush_seconds}, expected 0 or more")


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """What has happened.

    Attributes:
        banks: names of the image banks, one a layer.
        name: of the set.
        images: given.
        written: images that were read and stored by this run; of these, ``replaced`` were there in another version.
        replaced: see ``written``.
        there: images that were there before.
        removed: images that were deleted, since they were not given (``prune``).
        kept: images that the set holds and that were not given.
        rows: visual tokens of the whole set, in each bank.
        odd: images that could not be read → why.
        seconds: that this run took.
        disk_bytes: of all banks together; ``None`` where the store does not say.
    """

    banks: tuple[str, ...]
    name: str
    images: int
    written: int
    replaced: int
    there: int
    removed: int
    kept: int
    rows: int
    odd: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    disk_bytes: int | None = None

    def lines(self) -> list[str]:
        """The summary for people."""
        lines = []
        if self.written:
            replaced = f", {self.replaced:,} of them replacing an older version" if self.replaced else ""
            lines.append(
                f"Indexed {_images(self.written)} of {self.name}{replaced} in {self.seconds:.1f} s; the set has "
                f"{self.rows:,} visual tokens in each of {len(self.banks)} banks, {show_bytes(self.disk_bytes)} on "
                "disk."
            )
        else:
            verb = "is" if self.there == 1 else "are"
            lines.append(f"Nothing to do: {_images(self.there)} of {self.name} {verb} in {', '.join(self.banks)}.")
        if self.written and self.there:
            lines.append(f"{_images(self.there)} {_were(self.there)} already indexed.")
        if self.removed:
            lines.append(f"{_images(self.removed)} that {_were(self.removed)} not given {_were(self.removed)} deleted.")
        if self.kept:
            lines.append(
                f"The set holds {_images(self.kept)} that {_were(self.kept)} not given; --prune deletes such images."
            )
        return lines + ([f"  {name}" for name in self.banks] if self.written else [])

    def complaints(self) -> list[str]:
        """Which images could not be read, and why; the first by name."""
        lines = [f"{name} is left out: {reason}" for name, reason in list(self.odd.items())[:_NAMED]]
        if len(self.odd) > _NAMED:
            lines.append(f"{len(self.odd) - _NAMED} more images are left out.")
        return lines


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
