"""Nothing that a server says tells where files of its machine lie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..schemas.addresses import without_secrets
from ..schemas.results import Reading

# An absolute path of two parts or more (POSIX, home, Windows, UNC), not part of a URL or a word; its last part is kept.
# Addresses of our own, which hints name, are none.
_PATH = re.compile(
    r"(?<![\w/:.<~\\])(?!/api/(?:contexts|find|images|indexed|readings|server)\b(?!/))(?:file://)?(?:~?/|[A-Za-z]:[\\/]|\\\\)(?:[^\s/\\'\"`<>:;,|]+[\\/]+)+([^\s/\\'\"`<>:;,|]*)"
)


def without_paths(text: str) -> str:
    """A message whose absolute paths are reduced to their last part, and whose addresses keep no key."""
    return _PATH.sub(lambda found: found[1] or "a folder", without_secrets(text))


def public_value(value: Any) -> Any:
    """The same for every text in a JSON value; keys stay."""
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, Mapping):
        return {key: public_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(public_value(item) for item in value)
    return value


def public_reading(reading: Reading, model: str) -> Reading:
    """A reading whose facts name no folder of this machine; what corpora and people wrote stays as it is.

    Args:
        reading: as it was made.
        model: what the server calls its model: two of its models may have the same name of their own.
    """
    banks = tuple(public_value(bank) for bank in reading.banks)
    facts = {**public_value(reading.model), "id": model}
    return replace(reading, model=facts, banks=banks, notes=public_value(reading.notes))
