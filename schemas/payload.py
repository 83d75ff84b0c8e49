"""What is stored with each vector, and which of its fields Qdrant indexes."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Callable, Iterable, Mapping
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
        sentence: the whole sentence; of a long one the part around the token.
        position: index among the sentence's tokens, special tokens not counted, from 0.
        char_start: first visible character of the token in ``sentence``.
        char_end: one past its last character.
        norm: L2 norm of the raw state (cosine storage keeps only the direction).
        corpus: names of the corpora that hold the token in this context, each once. The first is the
            one whose sentence is shown.
        document: file and line of that sentence, ``captions.txt:17``.
        is_word: whether the token completes a word (see :func:`schemas.words.is_word`).
        sentence_start: where ``sentence`` starts in the sentence that was read, in characters; stored where it is
            not 0.
    """

    token: str
    token_id: int
    word: str
    sentence: str
    position: int
    char_start: int
    char_end: int
    norm: float
    corpus: tuple[str, ...]
    document: str
    is_word: bool
    sentence_start: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The payload as Qdrant stores it: flat, JSON types only."""
        data = {**asdict(self), "corpus": list(self.corpus)}
        if not self.sentence_start:
            del data["sentence_start"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TokenPayload:
        """Read a stored payload; fields that this version does not know are ignored.

        Raises:
            KeyError: a field is missing.
        """
        return cls(
            **{**{name: data[name] for name in FIELD_KINDS}, "corpus": corpora_of(data)},
            sentence_start=data.get("sentence_start", 0),
        )


def corpora_of(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a row's corpora; rows of older banks have one, as a string.

    Raises:
        KeyError: the row has none.
    """
    names = payload["corpus"]
    return (names,) if isinstance(names, str) else tuple(names)


def row_fault(point_id: str, payload: Mapping[str, Any]) -> tuple[str, str] | None:
    """What shows that a row was not written by this program, or was changed since: a field and what is wrong with it.

    Args:
        point_id: as text; of a database's numbered points, digits.
        payload: as stored.

    Returns:
        ``("word", "is missing")``, ``("position", "is no integer")`` and the like; ``None`` where nothing is.
    """
    if point_id.isdigit():
        return "id", "is a number; ids made by lensbank are UUIDs"
    for name, kind in FIELD_KINDS.items():
        if name not in payload:
            return name, "is missing"
        value = payload[name]
        if name == "corpus":
            names = [value] if isinstance(value, str) else value
            if (
                not isinstance(names, list | tuple)
                or not names
                or not all(isinstance(one, str) and one for one in names)
            ):
                return name, "is not a list of names"
        elif fault := value_fault(kind, value):
            return name, fault
    if not payload["norm"] > 0:
        return "norm", "is not above 0"
    start = payload.get("sentence_start", 0)
    return None if _IS_OF_KIND["integer"](start) and start >= 0 else ("sentence_start", "is not a whole number from 0")


def value_fault(kind: FieldKind, value: Any) -> str:
    """What is wrong with a field's value, ``is no integer`` and the like; empty where nothing is."""
    return "" if _IS_OF_KIND[kind](value) else f"is no {_SAID[kind]}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_IS_OF_KIND: dict[FieldKind, Callable[[Any], bool]] = {
    "keyword": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
}
_SAID: dict[FieldKind, str] = {
    "keyword": "text",
    "text": "text",
    "integer": "integer",
    "float": "number",
    "bool": "true or false",
}


def sentence_hash(seed: int, text: str) -> int:
    """64 bits that decide a sentence's rank; another seed gives another sample."""
    key = (seed & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=key).digest(), "little")


def merged(there: Mapping[str, Any], new: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What is stored of a prefix that a bank holds already and another corpus brings again.

    The row is of all their corpora. Shown is the sentence with the smaller hash, as where both are
    chosen from at once, so the order in which corpora come does not matter; merging again changes nothing.

    Args:
        there: payload of the stored row.
        new: payload of the row that comes; its ``norm`` belongs to the vector that comes with it.
        seed: of the bank's selection.
    """
    if (row_fault("-", there) or ("norm",))[0] != "norm":  # damaged, or another program's
        return dict(new)
    shown = new if _rank(new, seed) <= _rank(there, seed) else there
    first, *more = corpora_of(shown)
    others = sorted({*more, *corpora_of(there), *corpora_of(new)} - {first})
    both = {**there, **shown, "corpus": [first, *others], "norm": new.get("norm", 0.0)}
    if "sentence_start" not in shown:
        both.pop("sentence_start", None)  # it is the other sentence's
    return both


def _rank(payload: Mapping[str, Any], seed: int) -> tuple[int, str, str, int]:
    file, _, line = payload["document"].rpartition(":")
    return (
        sentence_hash(seed, payload["sentence"]),
        corpora_of(payload)[0],
        file,
        int(line) if line.isascii() and line.isdigit() else 0,
    )


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
