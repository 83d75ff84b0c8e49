"""How a set of images was read into an image bank: a part of the bank's own record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

_DECIDING = ("prompt", "lenses", "top_k", "where", "distinct", "banks", "annotations")


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """Where the images were, and with what their visual tokens were described.

    Attributes:
        folder: of the images, absolute; names of images are relative to it.
        prompt: the text that the model saw beside each image, as it was rendered for it.
        lenses: that described the visual tokens.
        top_k: words that each lens gave.
        where: conditions on the corpus tokens, as typed.
        distinct: ``word`` where no word comes twice.
        banks: text banks that were searched: name, layer, and corpora with their fingerprints.
        annotations: SHA-256 of the file that named the things; empty where there was none.
        images: in the set.
        local_copies: banks that were searched in copies of a server's: name, server (``of``), and when the copy was
            ``made``. On a cluster those of its first worker.
    """

    folder: str
    prompt: str
    lenses: Sequence[str]
    top_k: int
    where: Sequence[str] = ()
    distinct: str | None = None
    banks: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    annotations: str = ""
    images: int = 0
    local_copies: Sequence[Mapping[str, str]] = field(default_factory=tuple)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IndexRecord:
        """Read a stored record; unknown fields are ignored.

        Raises:
            TypeError: a field without a default is missing.
        """
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})

    def digest(self) -> str:
        """16 hexadecimal digits of what decides the words; rows bear them."""
        facts = {name: _plain(value) for name, value in asdict(self).items() if name in _DECIDING}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: IndexRecord) -> list[str]:
        """What is read otherwise than in another: words of one and of the other must not be mixed in a set."""
        here, there = asdict(self), asdict(other)
        return [name for name in _DECIDING if _plain(here[name]) != _plain(there[name])]


def _plain(value: Any) -> Any:
    """Lists and tuples alike, as JSON has them."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
