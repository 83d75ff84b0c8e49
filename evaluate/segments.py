"""Boxes of annotations that have an outline and no box: COCO's polygons and run lengths.

Run lengths are written by columns from the top left, background first; packed ones in pycocotools' own form, six bits
a character (github.com/cocodataset/cocoapi, ``common/maskApi.c``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain


def box_of(segmentation: object) -> list[float] | None:
    """``[x, y, width, height]`` around an outline; ``None`` where there is none, or it cannot be read."""
    try:
        if isinstance(segmentation, dict):
            height, width = segmentation["size"]
            counts = segmentation["counts"]
            runs = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
            return _around_runs(runs, int(height), int(width))
        if isinstance(segmentation, list):
            return _around_points([[float(number) for number in polygon] for polygon in segmentation])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None
    return None


def _around_points(polygons: Sequence[Sequence[float]]) -> list[float] | None:
    xs = list(chain.from_iterable(polygon[::2] for polygon in polygons))
    ys = list(chain.from_iterable(polygon[1::2] for polygon in polygons))
    if not ys or len(xs) != len(ys):
        return None
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _around_runs(runs: Sequence[int], height: int, width: int) -> list[float] | None:
    if height < 1 or min(runs, default=-1) < 0 or sum(runs) > height * width:
        return None
    left, top, right, bottom, at = width, height, -1, -1, 0
    for number, count in enumerate(runs):
        if number % 2 and count:
            (first, start), (last, end) = divmod(at, height), divmod(at + count - 1, height)
            if first != last:  # it goes on at the top of the next column
                start, end = 0, height - 1
            left, top, right, bottom = min(left, first), min(top, start), max(right, last), max(bottom, end)
        at += count
    return None if right < 0 else [left, top, right - left + 1, bottom - top + 1]


def _unpacked(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for char in text:
        bits = ord(char) - 48
        if not 0 <= bits < 64:
            raise ValueError(char)
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
