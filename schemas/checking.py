"""Values that a program passes in, held to the types that a class declares: senseless ones are named, not believed."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Real
from operator import index
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, SupportsIndex, Union, get_args, get_origin, get_type_hints

from .errors import UsageError

_NAMES = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", NoneType: "None"}
_NAMES |= {Path: "a path", PathLike: "a path"}


def hold_to_types(instance: Any) -> None:
    """Give the fields of a dataclass the types they are declared with; for its ``__post_init__``.

    A whole number of any library (numpy's, for example) becomes an ``int``, a list a tuple. ``True`` is no number, and
    ``1`` is not ``True``.

    Raises:
        UsageError: a value is of another type, or a number is NaN or infinite; the message names it.
    """
    hints = get_type_hints(type(instance))
    for field in fields(instance):
        value = getattr(instance, field.name)
        object.__setattr__(instance, field.name, fitted(value, hints[field.name], field.name))


def require_kind(value: Any, kind: Any, name: str, expected: str) -> None:
    """Refuse an argument of another type.

    Raises:
        UsageError: it is one.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {_shown(value)}; expected {expected}.")


def fitted(value: Any, hint: Any, name: str) -> Any:
    """An argument as the type has it: a whole number of any library an ``int``, a list a tuple.

    Raises:
        UsageError: it is of another type.
    """
    found = _fitted(value, hint)
    if found is _UNFIT:
        raise UsageError(f"{name} is {_shown(value)}; expected {_named(hint)}.")
    return found


_UNFIT = object()


def _fitted(value: Any, hint: Any) -> Any:
    """The value as the type has it, or ``_UNFIT``."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return next((found for part in parts if (found := _fitted(value, part)) is not _UNFIT), _UNFIT)
    if origin is Literal:
        # Not every value can be compared or hashed.
        return value if isinstance(value, str) and value in parts else _UNFIT
    if origin is tuple:
        return _tuple(value, parts)
    if hint is int:
        return _UNFIT if isinstance(value, bool) or not isinstance(value, SupportsIndex) else _index(value)
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, Real):
            return _UNFIT
        return float(value) if math.isfinite(value) else _UNFIT
    return value if hint is Any or isinstance(value, origin or hint) else _UNFIT


def _tuple(value: Any, parts: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _UNFIT
    kinds = [parts[0]] * len(value) if parts[1:] == (...,) else list(parts)
    found = [_fitted(one, kind) for one, kind in zip(value, kinds, strict=False)]
    return _UNFIT if len(kinds) != len(value) or any(one is _UNFIT for one in found) else tuple(found)


def _index(value: SupportsIndex) -> Any:
    try:
        return index(value)
    except TypeError:  # an array has the method, and mostly no use for it
        return _UNFIT


def _named(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_named(part) for part in parts)
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin is tuple:
        inner = _named(parts[0]) if parts[1:] == (...,) else f"({', '.join(map(_named, parts))})"
        return f"several, each {inner}" if parts[1:] == (...,) else inner
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a number of more digits than Python prints
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= 80 else text[:77] + "..."
