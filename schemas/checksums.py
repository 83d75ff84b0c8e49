"""Checksums of a record's fields, kept in the record: what was changed since it was written is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from .reading import NotOfKindError

#: Where a record keeps them: field → BLAKE2b of its JSON.
CHECKSUMS = "checksums"


def with_checksums(data: Mapping[str, Any]) -> dict[str, Any]:
    """A record, JSON types only, with the checksums of all its fields."""
    return {**data, CHECKSUMS: dict(_digests(data))}


def require_unchanged(data: Mapping[str, Any]) -> None:
    """Compare a record with its checksums; one from before there were any passes.

    Raises:
        NotOfKindError: a field is not as it was written; the message names it.
    """
    written = data.get(CHECKSUMS)
    if written is None:
        return
    if not isinstance(written, Mapping):
        raise NotOfKindError(f"{CHECKSUMS} were changed after they were written")
    found = dict(_digests(data))
    changed = [name for name in {**written, **found} if written.get(name) != found.get(name)]
    if changed:
        are = "are not as they were" if len(changed) > 1 else "is not as it was"
        raise NotOfKindError(f"{', '.join(changed)} {are} written (its checksum is another)")


def _digests(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of every field, and of every part of one that has named parts; a server may drop what is null."""
    for name, value in data.items():
        if name == CHECKSUMS or value is None:
            continue
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", _digest(held)) for part, held in value.items() if held is not None)
        else:
            yield name, _digest(value)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
