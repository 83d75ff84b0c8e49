"""Boxes of annotation files: in which unit they are, and what is left of them inside the image.

COCO has ``[x, y, width, height]`` in pixels. Exports write corners, shares of the image, boxes of an image that was
scaled since, and boxes without area. A file in another unit is refused, since each reading of it would look like a
result; single boxes that cannot be used are left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..schemas.errors import InputError
from ..schemas.results import PixelBox

Numbers = tuple[float, float, float, float]

#: How far beyond the image a box may reach by rounding: pixels, and share of the side.
_ROUNDING_PIXELS, _ROUNDING_SHARE = 2.0, 0.01
#: Share of boxes beyond their image from which on they are of another image, or of another size of it.
_TOO_MANY_BEYOND = 0.5
#: No image has so many pixels; NaN is not less than it either.
_LARGEST = 1e9


@dataclass(frozen=True, slots=True)
class RawBox:
    """A box as a file has it.

    Attributes:
        name: of its annotation, for messages.
        numbers: four finite numbers.
        size: width and height of its image in pixels; ``None`` where not known.
    """

    name: str
    numbers: Numbers
    size: tuple[int, int] | None


@dataclass
class BoxCounts:
    """What was left out or cut."""

    unlisted: int = 0
    boxless: int = 0
    empty: int = 0
    outside: int = 0
    cut: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count one, and keep the first as the example."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.examples.setdefault(kind, name)

    def notes(self) -> list[str]:
        """For people; nothing where nothing happened."""
        said = {
            "unlisted": "annotations have an image that is not in 'images' and were left out",
            "boxless": "annotations have neither a box nor a readable segmentation and were left out",
            "empty": "boxes have no area and were left out",
            "outside": "boxes are completely outside of their image and were left out",
            "cut": "boxes extend beyond their image and were cut at its edge",
        }
        return [
            f"{getattr(self, kind)} {what} (the first: annotation {self.examples[kind]})."
            for kind, what in said.items()
            if getattr(self, kind)
        ]


def read_numbers(value: object) -> Numbers | None:
    """Four finite numbers; ``None`` for anything else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(part, int | float) and not isinstance(part, bool) and abs(part) < _LARGEST for part in value):
        return None
    x, y, width, height = map(float, value)
    return x, y, width, height


def require_pixels(boxes: Sequence[RawBox], source: str) -> None:
    """Refuse a file whose boxes are in another unit than pixels from a corner, with both readings.

    Raises:
        InputError: shares of the image, corners, or boxes of an image of another size.
    """
    sized = [box for box in boxes if box.numbers[2] and box.numbers[3]]
    if not sized:
        return
    first = sized[0]
    if all(0 <= number <= 1 for box in sized for number in box.numbers):
        raise InputError(
            f"All boxes of {source} are within the first pixel of their image: annotation {first.name} has the box "
            f"{list(first.numbers)}. They look like fractions of width and height.",
            "Multiply the boxes by the image's width and height; expected [x, y, width, height] in pixels.",
        )
    beyond = [box for box in sized if box.size is not None and _is_beyond(box.numbers, box.size)]
    negative = [box for box in sized if box.numbers[2] < 0 or box.numbers[3] < 0]
    odd = next(iter([*beyond, *negative]), None)
    if odd is not None and all(_could_be_corners(box) for box in sized):
        x, y, right, bottom = odd.numbers
        raise InputError(
            f"The boxes of {source} look like corners, [left, top, right, bottom]: annotation {odd.name} is "
            f"{list(odd.numbers)}, which as [x, y, width, height] would end at {x + right:g}, {y + bottom:g}"
            f"{'' if odd.size is None else f' in an image of {odd.size[0]} x {odd.size[1]}'}.",
            f"Write [{x:g}, {y:g}, {right - x:g}, {bottom - y:g}] for this box, and convert all others in the same "
            "way.",
        )
    if negative:
        raise InputError(
            f"Annotation {negative[0].name} of {source} has the box {list(negative[0].numbers)}.",
            "Expected [x, y, width, height] in pixels, width and height not negative.",
        )
    known = sum(box.size is not None for box in sized)
    if len(beyond) > _TOO_MANY_BEYOND * known:
        far = beyond[0]
        assert far.size is not None
        raise InputError(
            f"{len(beyond)} of {known} boxes of {source} extend beyond their image: annotation {far.name} has the box "
            f"{list(far.numbers)}, and its image has {far.size[0]} x {far.size[1]} pixels. The boxes may be for "
            "images of another size.",
            "Give the images that were annotated, or scale the boxes; expected [x, y, width, height] in pixels.",
        )


def _is_beyond(numbers: Numbers, size: tuple[int, int]) -> bool:
    x, y, width, height = numbers
    spare = [max(_ROUNDING_PIXELS, _ROUNDING_SHARE * side) for side in size]
    return x < -spare[0] or y < -spare[1] or x + width > size[0] + spare[0] or y + height > size[1] + spare[1]


def _could_be_corners(box: RawBox) -> bool:
    left, top, right, bottom = box.numbers
    if right <= left or bottom <= top or left < 0 or top < 0:
        return False
    return box.size is None or not _is_beyond((left, top, right - left, bottom - top), box.size)


def pixel_box(box: RawBox, counts: BoxCounts) -> PixelBox | None:
    """The part of a box that lies in its image; ``None`` where nothing is left, which is counted."""
    x, y, width, height = box.numbers
    if width <= 0 or height <= 0:
        counts.add("empty", box.name)
        return None
    if box.size is None:
        return PixelBox(x, y, x + width, y + height)
    inside = PixelBox(max(0.0, x), max(0.0, y), min(float(box.size[0]), x + width), min(float(box.size[1]), y + height))
    if inside.x0 >= inside.x1 or inside.y0 >= inside.y1:
        counts.add("outside", box.name)
        return None
    if _is_beyond(box.numbers, box.size):
        counts.add("cut", box.name)
    return inside
