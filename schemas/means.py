"""Mean states as records hold them: little-endian float32, in base64."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterable


def packed(mean: Iterable[float]) -> str:
    """A mean state as text."""
    return base64.b64encode(_little_endian(array("f", mean)).tobytes()).decode("ascii")


def unpacked(text: str) -> array[float]:
    """A mean state from :func:`packed`."""
    return _little_endian(array("f", base64.b64decode(text)))


def _little_endian(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
