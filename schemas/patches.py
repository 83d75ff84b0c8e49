"""What is stored with each visual token of an image bank, and which of its fields Qdrant indexes."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .payload import FieldKind, value_fault

#: Kind of every payload field that a filter may name. Of a list, one element has to meet the condition.
PATCH_FIELDS: dict[str, FieldKind] = {
    "word": "keyword",
    "best": "keyword",
    "score": "float",
    "gap": "float",
    "thing": "keyword",
    "image": "keyword",
    "group": "keyword",
    "corpus": "keyword",
    "logit": "keyword",
    "embedding": "keyword",
    "position": "integer",
    "view": "integer",
    "row": "integer",
    "col": "integer",
    "norm": "float",
    "sha256": "keyword",
}
_INDEXED = ("word", "best", "score", "gap", "thing", "image", "group", "corpus", "logit", "embedding")
#: Fields with a payload index: those that a search of image banks is narrowed by.
INDEXED_PATCH_FIELDS: dict[str, FieldKind] = {name: PATCH_FIELDS[name] for name in _INDEXED}
_LISTS = ("word", "score", "gap", "sentence", "bank_layer", "thing", "corpus", "logit", "embedding")
_OTHERS: dict[str, FieldKind] = {
    "sentence": "keyword",
    "bank_layer": "integer",
    **dict.fromkeys(("tokens", "width", "height"), "integer"),
    **dict.fromkeys(("x0", "y0", "x1", "y1"), "float"),
    "read": "keyword",
}
# Types of sound values, but for whole numbers in the place of others.
_PLAIN: dict[FieldKind, type] = {"keyword": str, "text": str, "integer": int, "float": float, "bool": bool}
#: Field → its kind, and whether it is a list, which may be left out where it is empty.
_SHAPES = {name: (kind, name in _LISTS) for name, kind in (PATCH_FIELDS | _OTHERS).items()}


@dataclass(frozen=True, slots=True)
class PatchPayload:
    """One visual token of one image, with what a lens says of it.

    Attributes:
        best: the first word, as it stands in its sentence; empty where no lens gave any.
        word: words of the nearest corpus tokens, best first, folded (:func:`schemas.words.folded`).
        score: cosines of these, in the same order.
        gap: how far each stands above what one row in a hundred of the text bank reaches, taken by chance; nothing of
            banks that are too small to tell.
        sentence: their sentences.
        bank_layer: layers of the text banks that they are from.
        logit: of LogitLens: vocabulary entries, folded and without blanks, best first.
        embedding: of EmbeddingLens, likewise.
        thing: names of the annotated things under the patch's centre.
        image: path of the image below its set's folder.
        group: what it belongs to, its folder by default.
        corpus: name of the set, a list of one.
        sha256: of the image file's bytes.
        position: index among the image's visual tokens, from 0.
        tokens: visual tokens of the image.
        view: patch grid (:class:`schemas.results.View`).
        row: in that grid.
        col: likewise.
        x0: left edge of the patch in pixels of the upright image; ``y0``, ``x1``, ``y1`` likewise.
        width: of the image in pixels; ``height`` likewise.
        read: short digest of how the words were found (:meth:`schemas.indexes.IndexRecord.digest`).
        norm: L2 norm of the raw state.
    """

    best: str
    word: Sequence[str]
    score: Sequence[float]
    gap: Sequence[float]
    sentence: Sequence[str]
    bank_layer: Sequence[int]
    logit: Sequence[str]
    embedding: Sequence[str]
    thing: Sequence[str]
    image: str
    group: str
    corpus: Sequence[str]
    sha256: str
    position: int
    tokens: int
    view: int
    row: int
    col: int
    x0: float
    y0: float
    x1: float
    y1: float
    width: int
    height: int
    read: str
    norm: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The payload as Qdrant stores it: flat, JSON types only; empty lists are left out."""
        data = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in data.items() if value != []}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PatchPayload:
        """Read a stored payload; unknown fields are ignored.

        Raises:
            KeyError: a field is missing.
        """
        lists = ("word", "score", "gap", "sentence", "bank_layer", "logit", "embedding", "thing")
        known = {name: tuple(data.get(name, ())) for name in lists}
        plain = {name: data[name] for name in cls.__slots__ if name not in known}
        return cls(**{**plain, **known})


def patch_fault(point_id: str, payload: Mapping[str, Any]) -> tuple[str, str] | None:
    """As :func:`schemas.payload.row_fault`, of a row of an image bank."""
    if point_id.isdigit():
        return "id", "is a number; ids made by lensbank are UUIDs"
    if fault := fields_fault(payload, _SHAPES):
        return fault
    return None if payload["norm"] > 0 else ("norm", "is not above 0")


def fields_fault(payload: Mapping[str, Any], fields: Collection[str]) -> tuple[str, str] | None:
    """As :func:`patch_fault`, of some fields that were read alone."""
    for name in fields:
        kind, is_list = _SHAPES[name]
        value = payload.get(name, () if is_list else None)
        if is_list and _is_plain(value, kind):
            continue
        if is_list and not isinstance(value, list | tuple):
            return name, f"is not a list of {kind}s"
        for one in value if is_list else (value,):
            if fault := value_fault(kind, one):
                return name, "is missing" if name not in payload else fault.replace(
                    "is", "has what is", 1
                ) if is_list else fault
        if name == "corpus" and not value:
            return name, "is missing"
    if {"word", "score"} <= set(fields) and len(payload.get("word", ())) != len(payload.get("score", ())):
        return "score", "does not have one number for each word"
    return None


def _is_plain(values: Any, kind: FieldKind) -> bool:
    """Whether a list is sound at first sight: a search looks at those of very many rows."""
    if not isinstance(values, list | tuple) or {*map(type, values)} != {_PLAIN[kind]}:
        return False
    return kind != "float" or math.isfinite(sum(values))


def patch_id(name: str, image: str, position: int) -> str:
    """The point id of a visual token: an image that is indexed again replaces itself.

    Args:
        name: of the set of images.
        image: path below the set's folder.
        position: index among the image's visual tokens.

    Returns:
        A UUID string: the first 128 bits of BLAKE2b over the three.
    """
    text = f"{len(name)}:{name}\n{len(image)}:{image}\n{position}"
    return str(uuid.UUID(bytes=hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()))
