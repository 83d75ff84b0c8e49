"""Arguments as Python programs give them: numbers in any form, and names that were misspelt."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import SupportsIndex

from .errors import UsageError


def whole_numbers(layers: object, name: str) -> tuple[int, ...] | None:
    """Layers as whole numbers; one stands for a list of one.

    Raises:
        UsageError: anything else.
    """
    if layers is None:
        return None
    if hasattr(layers, "tolist"):  # an array
        layers = layers.tolist()
    several = [layers] if isinstance(layers, SupportsIndex) else list(layers) if isinstance(layers, Iterable) else None
    if several is None or isinstance(layers, str) or not all(map(_is_whole, several)):
        raise UsageError(f"{name} is {layers!r}; expected whole numbers, such as [1, 8].")
    return tuple(operator.index(one) for one in several)


def _is_whole(value: object) -> bool:
    return isinstance(value, SupportsIndex) and not isinstance(value, bool) and not hasattr(value, "__len__")


def refuse_unknown(unknown: Mapping[str, object], function: Callable[..., object]) -> None:
    """Refuse options that a function lacks.

    Raises:
        TypeError: there are some; the message names the closest.
    """
    names = [name for name in signature(function).parameters if name != "unknown"]
    for name in unknown:
        close = get_close_matches(name, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise TypeError(f"{function.__name__}() got an unknown option {name!r}{hint}")
