"""What the page holds: readings as JSON with every word, sentence and corpus token stored once.

An image of 729 visual tokens at nine layers has 33,000 neighbours a lens, but far fewer corpus
tokens, and those share words and files. So the data is tables and numbers into them::

    strings     every distinct string
    neighbors   corpus tokens, by columns: word, token, sentence, corpus and document (numbers of
                strings); line, what follows the document (-1: nothing); token_id, bank_layer, is_word;
                and where in the sentence the word starts, and how many characters later the token and
                the word end, as JavaScript counts (UTF-16)
    vocabulary  vocabulary entries: word, token, token_id
    pictures    a ``data:`` URL of every distinct picture; images have their numbers, or null
    readings    as in schemas.results, less their neighbours. The tokens, which are the same at every
                layer, stand once: ``kind`` by its number in :data:`KINDS`; what is ``emitted`` by its
                number in the vocabulary (-1: not known); ``start`` and ``end`` in UTF-16. Each layer has
                for each lens how many entries each token has, their numbers in one of the two tables, and
                their scores in ten-thousandths, one token after the other; and where it is known what
                chance reaches, that, likewise

A token that is its word behind one of :data:`MARKS` is no string but the mark's number, from -1 down.

The whole result, with the ids of the points, is what ``--format json`` writes.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from ..schemas.positions import READ_KINDS, Emitted
from ..schemas.results import (
    LayerReading,
    Neighbor,
    PixelBox,
    Reading,
    TokenReading,
    VocabularyToken,
)
from ..schemas.words import word_span
from .chips import chip_texts, readable, text_of
from .spelling import spelled

LATENT = "latent"
#: The kinds of positions by number: the page has the same list, in the same order.
KINDS = (*READ_KINDS, "text")
#: What tokenizers put before a word: the page has the same list, in the same order.
MARKS = ("Ġ", "▁", "")
#: Scores are whole numbers of these.
SCORE_UNIT = 10_000

#: A longer sentence is cut around its word: a corpus of whole books would not fit in a page.
MAX_SENTENCE = 600
_KEPT_BEFORE, _KEPT_AFTER = 400, 160

# Higher levels take three times as long for a fiftieth of the size.
_LEVEL = 6


def to_text(value: Any) -> str:
    """A JSON value as the page carries it: UTF-8, deflated (RFC 1950), in base64.

    None of base64's characters means anything to HTML, whatever the strings hold.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode("utf-8"), _LEVEL)).decode("ascii")


def pack(readings: Sequence[Reading], pictures: Sequence[Sequence[str | None]]) -> dict[str, Any]:
    """Readings and their pictures as the page's data; JSON types only.

    Args:
        readings: at least one.
        pictures: a ``data:`` URL or ``None`` for each image of each reading.
    """
    tables = _Tables()
    packed = [_reading(reading, images, tables) for reading, images in zip(readings, pictures, strict=True)]
    strings = {"strings": tables.strings.rows, "pictures": tables.pictures.rows}
    return {**strings, **tables.columns(), "readings": packed}


class _Interned:
    """Distinct things in the order they were first seen; calling gives the number of one."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def __call__(self, thing: Any) -> int:
        number = self._numbers.setdefault(thing, len(self.rows))
        if number == len(self.rows):
            self.rows.append(thing)
        return number


class _Tables:
    """The tables that all readings of a page share."""

    NEIGHBOR = ("word", "token", "sentence", "corpus", "document", "line", "token_id", "bank_layer", "is_word")
    PLACES = ("start", "seen", "end")
    VOCABULARY = ("word", "token", "token_id")

    def __init__(self) -> None:
        self.strings = _Interned()
        self.pictures = _Interned()
        self._neighbors = _Interned()
        self._known: dict[tuple[Any, ...], int] = {}
        self._vocabulary = _Interned()

    def columns(self) -> dict[str, dict[str, list[Any]]]:
        return {
            "neighbors": _columns((*self.NEIGHBOR, *self.PLACES), self._neighbors.rows),
            "vocabulary": _columns(self.VOCABULARY, self._vocabulary.rows),
        }

    def string(self, text: str) -> int:
        return self.strings(readable(text))

    def neighbor(self, n: Neighbor) -> int:
        """A row of the bank; the same one is a neighbour of many tokens, at many layers."""
        key = (n.sentence, n.char_start, n.char_end, n.bank_layer, n.token_id, n.word, n.document, n.corpus, n.corpora)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = self._new_neighbor(n)
        return number

    def _new_neighbor(self, n: Neighbor) -> int:
        sentence, (start, seen, end) = _shown_sentence(n)
        document, line = _document(n.document)
        strings = (self.string(sentence), self.string(", ".join(n.corpora or (n.corpus,))), self.string(document))
        word = spelled(n.word, n.token) or n.word
        names = (self.string(word), self.token(n.token, word))
        numbers = (line, n.token_id, n.bank_layer, int(n.is_word))
        return self._neighbors((*names, *strings, *numbers, start, seen - start, end - start))

    def token(self, token: str, word: str) -> int:
        """A token that follows from its word needs no string."""
        for number, mark in enumerate(MARKS):
            if token == mark + word:
                return -1 - number
        return self.string(token)

    def entry(self, v: VocabularyToken | Emitted) -> int:
        word = spelled(v.word, v.token) or v.word
        return self._vocabulary((self.string(word), self.token(v.token, word), v.token_id))


def _columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    return {name: [row[number] for row in rows] for number, name in enumerate(names)}


def _document(name: str) -> tuple[str, int]:
    """``file.txt:12`` as ``file.txt:`` and 12; -1 where no plain number ends the name."""
    match = re.fullmatch(r"(.*?)(0|[1-9][0-9]{0,14})", name, re.DOTALL)
    return (match[1], int(match[2])) if match else (name, -1)


def _shown_sentence(n: Neighbor) -> tuple[str, tuple[int, int, int]]:
    """The sentence, cut around the word where it is long, and its three places in UTF-16 units."""
    start, end = word_span(n.sentence, n.char_start, n.char_end)
    seen = min(max(n.char_end, start), end)
    sentence, shift = n.sentence, 0
    if len(sentence) > MAX_SENTENCE:
        first, last = max(0, start - _KEPT_BEFORE), min(len(sentence), end + _KEPT_AFTER)
        shown = sentence[first:last]
        sentence = ("…" if first else "") + shown + ("…" if last < len(n.sentence) else "")
        shift = first - bool(first)
    return sentence, (
        _utf16(sentence, start - shift),
        _utf16(sentence, seen - shift),
        _utf16(sentence, end - shift),
    )


def _utf16(text: str, place: int) -> int:
    """A place counted in code points, counted in UTF-16 units."""
    if text.isascii():
        return place
    return len(text[:place].encode("utf-16-le", "surrogatepass")) // 2


def _reading(reading: Reading, pictures: Sequence[str | None], tables: _Tables) -> dict[str, Any]:
    first = reading.layers[0].tokens if reading.layers else ()
    for layer in reading.layers:
        if [_place(token) for token in layer.tokens] != [_place(token) for token in first]:
            raise ValueError(f"layer {layer.layer} of {reading.source!r} has other tokens than the first layer")
    images = [
        {**_readable(asdict(image)), "picture": None if picture is None else tables.pictures(picture)}
        for image, picture in zip(reading.images, pictures, strict=True)
    ]
    return {
        **_facts(reading),
        "images": images,
        "tokens": {
            "index": [token.index for token in first],
            "kind": [KINDS.index(token.kind) for token in first],
            "text": chip_texts(reading, first),
            **_said(reading, first, tables),
            "image": [token.image for token in first],
            "view": [token.view for token in first],
            "row": [token.row for token in first],
            "col": [token.col for token in first],
            "box": [None if token.box is None else _edges(token.box) for token in first],
        },
        "layers": [_layer(layer, reading.search.lenses, tables) for layer in reading.layers],
    }


def _place(token: TokenReading) -> tuple[int | None, ...]:
    return (token.index, token.view, token.row, token.col)


def _edges(box: PixelBox) -> list[float]:
    return [_short(edge) for edge in (box.x0, box.y0, box.x1, box.y1)]


def _said(reading: Reading, tokens: Sequence[TokenReading], tables: _Tables) -> dict[str, list[int | None]]:
    """Where chips stand in their texts, and what the model says next at them; nothing where there are none."""
    said: dict[str, list[int | None]] = {}
    if any(token.kind not in ("image", "text") for token in tokens):
        spans = [(text_of(reading, token), token.char_start, token.char_end) for token in tokens]
        said["start"] = [None if start is None else _utf16(text, start) for text, start, _ in spans]
        said["end"] = [None if end is None else _utf16(text, end) for text, _, end in spans]
    if any(token.emitted for token in tokens):
        said["emitted"] = [-1 if token.emitted is None else tables.entry(token.emitted) for token in tokens]
    return said


def _facts(reading: Reading) -> dict[str, Any]:
    """What a reading says beside its layers, its free texts made readable."""
    names = ("kind", "source", "sha256", "prompt", "tool", "read", "answer", "answer_given", "model", "banks", "notes")
    facts = {name: _readable(getattr(reading, name)) for name in names}
    facts["search"] = _readable(asdict(reading.search))
    facts["views"] = [asdict(view) for view in reading.views]
    return facts


def _readable(value: Any) -> Any:
    """A JSON value whose strings have been made readable."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {readable(str(key)): _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    return value


def _layer(layer: LayerReading, lenses: Iterable[str], tables: _Tables) -> dict[str, Any]:
    packed = {}
    for lens in lenses:
        found: list[Sequence[Any]] = [token.found(lens) for token in layer.tokens]
        number: Callable[[Any], int] = tables.neighbor if lens == LATENT else tables.entry
        packed[lens] = {
            "count": [len(entries) for entries in found],
            "entry": [number(entry) for entries in found for entry in entries],
            "score": [round(entry.score * SCORE_UNIT) for entries in found for entry in entries],
        }
        reaches = [entry.reach for entries in found for entry in entries]
        if any(reach is not None for reach in reaches):
            packed[lens]["reach"] = [None if reach is None else round(reach * SCORE_UNIT) for reach in reaches]
        chances = [getattr(entry, "probability", None) for entries in found for entry in entries]
        if any(chance is not None for chance in chances):
            packed[lens]["probability"] = [None if chance is None else float(f"{chance:.3g}") for chance in chances]
    return {"layer": layer.layer, "norm": [float(f"{token.norm:.4g}") for token in layer.tokens], "lenses": packed}


def _short(number: float) -> float:
    """A thousandth of a pixel; whole numbers without a fraction."""
    rounded = round(number, 3)
    return int(rounded) if rounded == int(rounded) else rounded
