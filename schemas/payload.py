"""What is stored with each vector, and which of its fields Qdrant indexes."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

FieldKind = Literal["keyword", "integer", "float", "bool", "text"]

#: Kind of every payload field: what a filter may compare it with.
FIELD_KINDS: dict[str, FieldKind] = {
    "token": "keyword",
    "token_id": "integer",
    "word": "keyword",
    "sentence": "text",
    "position": "integer",
    "char_start": "integer",
    "char_end": "integer",
    "norm": "float",
    "corpus": "keyword",
    "document": "keyword",
    "is_word": "bool",
}

#: Fields with a payload index, created before the upload (Qdrant's bulk-upload advice).
INDEXED_FIELDS: dict[str, FieldKind] = {
    name: FIELD_KINDS[name] for name in ("token", "word", "corpus", "position", "is_word", "sentence")
}


@dataclass(frozen=True, slots=True)
class TokenPayload:
    """One corpus token in its sentence.

    Attributes:
        token: the tokenizer's own string for the token (e.g. ``Ġcat``).
        token_id: its vocabulary id.
        word: the full word it belongs to (see :mod:`schemas.words`).
        sentence: the whole sentence.
        position: index among the sentence's tokens, special tokens not counted, from 0.
        char_start: first visible character of the token in ``sentence``.
        char_end: one past its last character.
        norm: L2 norm of the raw state (cosine storage keeps only the direction).
        corpus: name of the corpus it came from.
        document: file and line, ``captions.txt:17``.
        is_word: whether the token completes a word (see :func:`schemas.words.is_word`).
    """

    token: str
    token_id: int
    word: str
    sentence: str
    position: int
    char_start: int
    char_end: int
    norm: float
    corpus: str
    document: str
    is_word: bool

    def to_dict(self) -> dict[str, Any]:
        """The payload as Qdrant stores it: flat, JSON types only."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TokenPayload:
        """Read a stored payload; fields that this version does not know are ignored.

        Raises:
            KeyError: a field is missing.
        """
        return cls(**{name: data[name] for name in FIELD_KINDS})


def prefix_ids(token_ids: Iterable[int]) -> list[str]:
    """The point id of every token of one sequence, special tokens included.

    In a causal language model the state of a token depends on the ids up to and including it and
    on nothing else, so equal prefixes are the same point: writing twice is harmless and duplicates
    across files and runs vanish.

    Returns:
        One UUID string per token: the first 128 bits of BLAKE2b over the prefix's ids as 4-byte
        little-endian integers.
    """
    digest = hashlib.blake2b(digest_size=16)
    ids = []
    for token_id in token_ids:
        digest.update(int(token_id).to_bytes(4, "little"))
        ids.append(str(uuid.UUID(bytes=digest.digest())))
    return ids
