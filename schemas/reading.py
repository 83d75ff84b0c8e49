"""What comes from a file as JSON, held to a type: strict, and bounded in size and depth.

The one file here that needs more than the standard library: pydantic, which qdrant-client brings along. It is loaded
when something is read.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .files import kind_of
from .names import escaped_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
#: Bytes that a record, a key or a settings file may have.
LONGEST = 64 << 20
_SHOWN = 80


class NotOfKindError(ValueError):
    """JSON that is not what was expected; the message names the field."""


def read_json(path: Path, kind: Any, longest: int = LONGEST) -> Any:
    """Read a file of JSON as a type.

    Args:
        path: of a regular file.
        kind: a dataclass, or any type that JSON can be: ``dict[str, int | str]``. Types are strict: ``"1"``, ``1.0``
            and ``true`` are no ``int``.
        longest: bytes that it may have.

    Raises:
        OSError: it cannot be read.
        NotOfKindError: it is no regular file (a FIFO would be waited for), no JSON, larger, nested deeper than 200, or
            of another type.
    """
    kind_of_file = kind_of(path)
    if kind_of_file is not None:
        raise NotOfKindError(f"it is {kind_of_file}, not a file")
    with path.open("rb") as file:
        data = file.read(longest + 1)
    if len(data) > longest:
        raise NotOfKindError(f"it has more than {longest:,} bytes")
    return parse_json(data, kind)


def parse_json(data: bytes | str, kind: Any) -> Any:
    """JSON that is at hand as a type; see :func:`read_json`.

    Raises:
        NotOfKindError: it is no JSON, nested deeper than 200, or of another type.
    """
    from pydantic import ValidationError

    if isinstance(data, bytes):
        data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        try:
            return _adapter(kind).validate_json(data, strict=True)
        except ValidationError as error:
            mended = _without_halves(data, error)
            if mended is None:
                raise
            return _adapter(kind).validate_json(mended, strict=True)
    except ValidationError as error:
        raise NotOfKindError(_first(error)) from error


def checked(value: T) -> T:
    """The same value, if its parts have the types that its class says; for what was put together from JSON by hand.

    Raises:
        NotOfKindError: a part is of another type; the message names it.
    """
    from pydantic import ValidationError

    kind: Any = type(value)
    adapter = _adapter(kind)
    try:
        adapter.validate_json(adapter.dump_json(value, warnings=False), strict=True)
    except ValidationError as error:
        raise NotOfKindError(_first(error)) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise NotOfKindError(f"it contains a value that JSON does not allow: {str(error)[:_SHOWN]}") from error
    return value


def _without_halves(data: bytes | str, error: Any) -> str | None:
    """JSON that spells lone surrogates, as Python writes names that are not UTF-8, with those spelt out; else None."""
    if not any(fault["type"] == "json_invalid" and "hex escape" in fault["msg"] for fault in error.errors()):
        return None
    try:
        return escaped_json(data if isinstance(data, str) else data.decode())
    except UnicodeDecodeError:
        return None


@lru_cache(maxsize=32)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _first(error: Any) -> str:
    """The first fault, by its field: ``identity.layer: expected a valid integer, found "two"``."""
    fault = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, fault["loc"]))
    said = fault["msg"].replace("Input should be", "expected")
    if fault["type"] == "json_invalid":
        return f"it is not JSON ({fault['msg'].removeprefix('Invalid JSON: ')})"
    if fault["type"] == "missing":
        return f"{field} is missing"
    found = json.dumps(fault["input"], default=str)
    shown = found if len(found) <= _SHOWN else found[: _SHOWN - 3] + "..."
    return f"{field + ': ' if field else ''}{said}, found {shown}"
