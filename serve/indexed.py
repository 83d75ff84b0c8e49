"""Images that the store's image banks hold, as images for questions: identified by digest, never by path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..images.finding import open_images
from ..schemas.files import kind_of
from ..schemas.filters import Condition
from ..store.bank import Bank
from .failures import RequestError

if TYPE_CHECKING:
    from ..store.store import Store

_Row = tuple[str, Any, dict[str, Any]]
# Every image has one visual token of this position.
_FIRST = Condition("position", "=", (0,))
_FIELDS = ("corpus", "image", "sha256", "width", "height")
# Names under which one file may be in a bank before we stop looking.
_COPIES = 20


def listed(store: Store, banks: Sequence[str], limit: int, after: str | None, name: str = "") -> dict[str, Any]:
    """A page of the images of the first of some image banks; the others have the same ones.

    Args:
        store: open.
        banks: names of image banks of one model.
        limit: images.
        after: ``next`` of the page before.
        name: what their names hold, folders included; in upper or lower case.

    Returns:
        ``total``, ``images`` and ``next``, which is ``None`` at the end.

    Raises:
        LensbankError: as :func:`images.finding.open_images`.
    """
    with open_images(store, banks) as images:
        if name.strip():
            rows, following, total = _named(images.banks[0], name.strip().casefold(), limit, after)
        else:
            rows, following = images.banks[0].scroll(limit, after, where=(_FIRST,), fields=_FIELDS)
            total = images.banks[0].count((_FIRST,))
    found = [_told(payload) for _, _, payload in rows]
    return {"total": total, "images": found, "next": following}


def _named(bank: Bank, name: str, limit: int, after: str | None) -> tuple[list[_Row], str | None, int]:
    """A page of the rows whose image has such a name, the id of the next one, and how many there are."""
    rows: list[_Row] = []
    following: str | None = None
    total = 0
    for row in _all(bank):
        if name not in row[2]["image"].casefold():
            continue
        total += 1
        if after is not None and row[0] < after:
            continue
        if len(rows) < limit:
            rows.append(row)
        elif following is None:
            following = row[0]
    return rows, following, total


def _all(bank: Bank) -> Iterator[_Row]:
    return chain.from_iterable(bank.pages(where=(_FIRST,), fields=_FIELDS))


def _told(payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": payload["sha256"],
        "image": payload["image"],
        "corpus": payload["corpus"][0],
        "width": payload["width"],
        "height": payload["height"],
    }


def file_of(store: Store, image: str, max_bytes: int) -> tuple[bytes, str]:
    """The bytes of an indexed image, and its name.

    Args:
        store: open.
        image: SHA-256 of the file.
        max_bytes: of a file.

    Raises:
        RequestError: 404, it is not indexed, or its file was moved or changed; 413, it is too large.
    """
    names = list(_places(store, image))
    if not names:
        raise RequestError(404, "No image bank of the store has this image.", "GET /api/indexed lists those there are.")
    for path in names:
        data = _same(path, image, max_bytes)
        if data is not None:
            return data, path.name
    raise RequestError(
        404,
        f"The file of {names[0].name} was moved or changed after it was indexed.",
        "Upload the file: drop it on the page, or POST /api/images.",
    )


def _places(store: Store, image: str) -> Iterator[Path]:
    """Where the file of a digest was, by each bank that has it."""
    for info in store.list():
        if info.record.identity.kind == "image":
            with store.open(info.name) as bank:
                yield from _places_in(bank, image)


def _places_in(bank: Bank, image: str) -> Iterator[Path]:
    folders = {c.name: c.indexed.folder for c in bank.record.corpora if c.indexed is not None}
    same = Condition("sha256", "=", (image,))
    for _, _, payload in bank.scroll(_COPIES, where=(_FIRST, same), fields=("corpus", "image"))[0]:
        yield Path(folders.get(payload["corpus"][0], "")) / payload["image"]


def _same(path: Path, image: str, max_bytes: int) -> bytes | None:
    """A file's bytes where they are those that were indexed.

    Raises:
        RequestError: there are too many.
    """
    try:
        if not path.is_absolute() or kind_of(path) is not None:
            return None
        if path.stat().st_size > max_bytes:
            raise RequestError(413, f"{path.name} has more than {max_bytes:,} bytes.", "Start with --max-megabytes.")
        data = path.read_bytes()
    except (OSError, ValueError):
        return None
    return data if hashlib.sha256(data).hexdigest() == image else None
