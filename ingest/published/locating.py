"""Find imported tokens in their sentences again, by reading the sentences with the model's own tokenizer."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...models.tokens import BulkTokenizer, span_of
from ...schemas.errors import InputError
from ...schemas.payload import TokenPayload, prefix_ids
from ..corpus import Sentence
from ..rows import Place, Tokens, content_positions, payload_of

Kind = Literal["located", "relocated", "unlocated", "special"]


@dataclass(frozen=True)
class Located:
    """What has become of one imported row.

    Attributes:
        kind: ``located`` where the file says, ``relocated`` elsewhere, ``unlocated``, or ``special`` (left out).
        id: point id.
        payload: to be stored.
    """

    kind: Kind
    id: str = ""
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Read:
    """A sentence as the tokenizer sees it."""

    tokens: Tokens
    ids: list[str]
    positions: list[int]


class Locator:
    """Gives imported rows their words, characters and point ids.

    Args:
        tokenizer: of the model that made the states.
        corpus: name for the payload.
        file: for the payload's ``document``.
    """

    def __init__(self, tokenizer: BulkTokenizer, corpus: str, file: str) -> None:
        """Nothing is read yet."""
        self._tokenizer, self._corpus, self._file = tokenizer, corpus, file
        self._seen: set[bytes] = set()
        self.sentences = self.tokens = 0

    def locate(self, entries: Sequence[Mapping[str, Any]], first_row: int) -> list[Located]:
        """Find rows.

        Args:
            entries: metadata of consecutive rows.
            first_row: number of the first of them in the file, from 0.

        Raises:
            InputError: a token id that the model does not have.
        """
        texts = list(dict.fromkeys(entry["caption"] for entry in entries))
        known = {}
        for text, encoding in zip(texts, self._tokenizer.with_offsets(texts), strict=True):
            tokens = Tokens(encoding.ids, encoding.tokens, encoding.offsets, encoding.special_tokens_mask)
            known[text] = _Read(tokens, prefix_ids(tokens.ids), content_positions(tokens.special))
            self._count(text, len(tokens.ids))
        return [self._find(entry, known[entry["caption"]], row) for row, entry in enumerate(entries, first_row)]

    def _count(self, text: str, tokens: int) -> None:
        key = hashlib.blake2b(_line(text), digest_size=16).digest()
        if key not in self._seen:
            self._seen.add(key)
            self.sentences += 1
            self.tokens += tokens

    def _find(self, entry: Mapping[str, Any], read: _Read, row: int) -> Located:
        token, position, tokens = entry["token_id"], entry["position"], read.tokens
        if not 0 <= token < self._tokenizer.vocabulary:
            raise InputError(
                f"Row {row} of {self._file} has token id {token}; the model knows {self._tokenizer.vocabulary}.",
                "Give the model that made the bank.",
            )
        if not self._tokenizer.shows(token):
            return Located("special")
        sentence = Sentence(entry["caption"], self._corpus, self._file, row + 1)
        kind: Kind = "located"
        if not (0 <= position < len(tokens.ids) and tokens.ids[position] == token):
            # As where a tokenizer pads on the left and positions were counted from there.
            places = [index for index, other in enumerate(tokens.ids) if other == token]
            if len(places) != 1:
                return self._lost(entry, sentence)
            kind, position = "relocated", places[0]
        span = span_of(sentence.text, tokens.offsets, tokens.special, position)
        if tokens.special[position] or span.start == span.end:
            return Located("special")
        place = Place(0, position, *span)
        return Located(kind, read.ids[position], payload_of(sentence, tokens, place, read.positions[position]))

    def _lost(self, entry: Mapping[str, Any], sentence: Sentence) -> Located:
        """A row whose place is not known: no characters, the token for a word, and an id of its own."""
        end = len(sentence.text)
        name = f"{sentence.document}\n{sentence.text}\n{entry['token_id']}\n{entry['position']}"
        point = uuid.UUID(bytes=hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16).digest())
        payload = TokenPayload(
            token=self._tokenizer.string(entry["token_id"]),
            token_id=entry["token_id"],
            word=self._tokenizer.text(entry["token_id"]),
            sentence=sentence.text,
            position=-1,
            char_start=end,
            char_end=end,
            norm=0.0,
            corpus=(sentence.corpus,),
            document=sentence.document,
            is_word=False,
        )
        return Located("unlocated", str(point), payload.to_dict())


def fingerprint_of(texts: Iterable[str]) -> str:
    """SHA-256 over sentences, each once, in order: the fingerprint of an imported corpus."""
    digest = hashlib.sha256()
    for text in dict.fromkeys(texts):
        digest.update(_line(text))
    return digest.hexdigest()


def _line(text: str) -> bytes:
    return text.encode("utf-8", "replace") + b"\n"
