"""Keys of JSON objects in objects: ``a.b`` is the key ``b`` of what ``a`` holds, unless a key is named ``a.b``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What :func:`at_path` answers where a path leads nowhere; ``None`` is a value (JSON's null).
NOTHING_THERE = object()
#: Objects in objects that are listed; deeper ones are data rather than structure.
_DEPTH = 4


def at_path(row: Mapping[str, Any], path: str) -> Any:
    """What a path leads to, or :data:`NOTHING_THERE`. A key that is spelled like the path, or its beginning, wins."""
    if path in row:
        return row[path]
    for at, char in reversed(list(enumerate(path))):
        inner = row.get(path[:at]) if char == "." else None
        if isinstance(inner, Mapping) and (found := at_path(inner, path[at + 1 :])) is not NOTHING_THERE:
            return found
        if char == "." and path[:at] in row and inner is None:
            return None  # a null where other rows have an object: a row without a text
    return NOTHING_THERE


def key_paths(row: Mapping[str, Any]) -> list[str]:
    """All paths of a row, objects followed by what they hold."""
    return list(dict.fromkeys(_paths(row, _DEPTH)))


def _paths(row: Mapping[str, Any], depth: int) -> list[str]:
    found = []
    for key, value in row.items():
        found.append(key)
        if isinstance(value, Mapping) and depth > 1:
            found += [f"{key}.{inner}" for inner in _paths(value, depth - 1)]
    return found
