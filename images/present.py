"""What an image bank holds of a set: which images are whole, and how they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..schemas.filters import Condition
from ..store.bank import Bank

_FIELDS = ("image", "sha256", "read", "tokens")


@dataclass(slots=True)
class Held:
    """An image's rows in one bank.

    Attributes:
        sha256: of the file that they were made of; empty where rows contradict each other.
        read: digest of how its words were found; likewise.
        tokens: visual tokens that the image has.
        rows: of these, those that are there.
    """

    sha256: str
    read: str
    tokens: int
    rows: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every row is there, of one file and one way of reading."""
        return bool(self.sha256 and self.read) and self.rows == self.tokens


def of_set(name: str) -> Condition:
    """What the rows of a set of images meet."""
    return Condition("corpus", "=", (name,))


def of_image(name: str, image: str) -> tuple[Condition, Condition]:
    """What the rows of an image meet.

    Args:
        name: of the set.
        image: its name in the set.
    """
    return of_set(name), Condition("image", "=", (image,))


def held_of(bank: Bank, name: str) -> dict[str, Held]:
    """Image → what a bank holds of it.

    Args:
        bank: open, complete or not.
        name: of the set.

    Raises:
        StoreError: the database failed.
    """
    found: dict[str, Held] = {}
    for page in bank.pages(where=(of_set(name),), fields=_FIELDS):
        for _, _, payload in page:
            _count(found, payload)
    return found


def _count(found: dict[str, Held], payload: Mapping[str, object]) -> None:
    image, tokens = str(payload.get("image")), payload.get("tokens")
    sha256, read = str(payload.get("sha256", "")), str(payload.get("read", ""))
    held = found.setdefault(image, Held(sha256, read, tokens if isinstance(tokens, int) else -1))
    held.rows += 1
    if held.sha256 != sha256:
        held.sha256 = ""
    if held.read != read:
        held.read = ""
    if held.tokens != tokens:
        held.tokens = -1
