"""Kept occurrences to the rows of a bank: where they are in their sentence, ids and payloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..models.encoding import Rows
from ..models.tokens import BulkTokenizer, span_of
from ..schemas.errors import ModelError
from ..schemas.payload import TokenPayload, prefix_ids
from ..schemas.words import word_of
from .corpus import Sentence
from .planning import Selection

#: Characters up to which a row holds its whole sentence. Of a longer one it holds a window: a line of 10 MB would
#: else be stored as often as it has rows.
LONGEST_WHOLE = 2000
#: Characters of the window before and after the token.
AROUND = 800


@dataclass(frozen=True, slots=True)
class Place:
    """One kept token in its batch.

    Attributes:
        sentence: place of the sentence in the batch.
        index: place of the token in the sentence, special tokens counted.
        start: its first visible character.
        end: one past its last.
        next_start: where the next token starts, if there is one.
        row: place of the occurrence among all that were chosen.
    """

    sentence: int
    index: int
    start: int
    end: int
    next_start: int | None
    row: int = 0


class Shared(Protocol):
    """Says which corpora hold the prefix of a chosen occurrence."""

    def corpora(self, row: int, shown: str) -> tuple[str, ...]:
        """See :meth:`ingest.sharing.Sharing.corpora`."""


class SentenceSource(Protocol):
    """Chosen sentences by their places in the encoding order; see :class:`ingest.texts.Texts`."""

    @property
    def sharing(self) -> Shared | None:
        """What several corpora share."""

    def get(self, place: int) -> Sentence:
        """The sentence at a place."""


class Tokens(NamedTuple):
    """One sentence's tokens as plain lists (the tokenizers library makes new ones at every access)."""

    ids: list[int]
    names: list[str]
    offsets: list[tuple[int, int]]
    special: list[int]


class BatchRows:
    """The rows that one batch of sentences gives.

    Args:
        selection: what was chosen.
        texts: the sentences.
        tokenizer: the model's.
        first: place of the batch's first sentence in the encoding order.
        end: one past its last.

    Raises:
        ModelError: the tokenizer no longer gives what was selected.
    """

    def __init__(
        self, selection: Selection, texts: SentenceSource, tokenizer: BulkTokenizer, first: int, end: int
    ) -> None:
        """Tokenise again, now with offsets, and find every kept token."""
        self._sentences = [texts.get(place) for place in range(first, end)]
        encodings = tokenizer.with_offsets([s.text for s in self._sentences])
        self._tokens = [Tokens(e.ids, e.tokens, e.offsets, e.special_tokens_mask) for e in encodings]
        lengths = selection.lengths[first:end].tolist()
        #: Token ids of every sentence, special tokens included, up to the last kept one.
        self.ids = [tokens.ids[:n] for tokens, n in zip(self._tokens, lengths, strict=True)]
        self._sharing = texts.sharing
        self._places = self._find(selection, first, end)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._places)

    def wanted(self) -> Rows:
        """The states to pick, in the order of :meth:`ids_and_payloads`."""
        return Rows(
            np.array([place.sentence for place in self._places], np.int64),
            np.array([place.index for place in self._places], np.int64),
        )

    def describe(self, row: int) -> str:
        """A row for an error message."""
        place = self._places[row]
        sentence = self._sentences[place.sentence]
        text = sentence.text if len(sentence.text) <= 200 else sentence.text[:200] + " ..."
        return f"the token {self._tokens[place.sentence].names[place.index]!r} in {text!r} ({sentence.document})"

    def ids_and_payloads(self) -> tuple[list[str], list[dict[str, Any]]]:
        """Point ids, and payloads whose ``norm`` the store fills in."""
        ids, payloads = [], []
        at, names, positions = -1, [""], [0]
        for place in self._places:
            if place.sentence != at:
                at = place.sentence
                names = prefix_ids(self.ids[at])
                positions = content_positions(self._tokens[at].special)
            ids.append(names[place.index])
            sentence = self._sentences[at]
            corpora = (sentence.corpus,) if self._sharing is None else self._sharing.corpora(place.row, sentence.corpus)
            payloads.append(payload_of(sentence, self._tokens[at], place, positions[place.index], corpora))
        return ids, payloads

    def _find(self, selection: Selection, first: int, end: int) -> list[Place]:
        places = []
        bounds = selection.first[first : end + 1].tolist()
        for at, (tokens, sentence) in enumerate(zip(self._tokens, self._sentences, strict=True)):
            kept = slice(bounds[at], bounds[at + 1])
            ids = self.ids[at]
            for row, index, token in zip(
                range(bounds[at], bounds[at + 1]),
                selection.kept.index[kept].tolist(),
                selection.kept.token[kept].tolist(),
                strict=True,
            ):
                if index >= len(ids) or ids[index] != token:
                    raise ModelError(
                        f"The tokenizer returned different tokens when it read {sentence.text[:200]!r} a second time.",
                        "A tokenizer with random sampling (subword regularisation) cannot be used.",
                    )
                span = span_of(sentence.text, tokens.offsets, tokens.special, index)
                if span.start < span.end:
                    places.append(Place(at, index, *span, row=row))
        return places


def content_positions(special: Sequence[int]) -> list[int]:
    """Per token: how many tokens before it the tokenizer did not add itself."""
    counts = np.cumsum(1 - np.asarray(special, np.int64))
    return [0, *counts[:-1].tolist()]


def payload_of(
    sentence: Sentence, tokens: Tokens, place: Place, position: int, corpora: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What is stored with one token; the store fills its ``norm`` in.

    Args:
        sentence: where it stands.
        tokens: of that sentence.
        place: of the token.
        position: without the special tokens.
        corpora: all that hold the prefix, the sentence's first; default that one alone.
    """
    text = sentence.text
    first, last = window(text, place.start, place.end)
    word = word_of(text, place.start, place.end, place.next_start)
    return TokenPayload(
        token=tokens.names[place.index],
        token_id=tokens.ids[place.index],
        word=text[max(word.start, first) : min(word.end, last)],
        sentence=text[first:last],
        position=position,
        char_start=place.start - first,
        char_end=place.end - first,
        norm=0.0,
        corpus=corpora or (sentence.corpus,),
        document=sentence.document,
        is_word=word.is_complete,
        sentence_start=first,
    ).to_dict()


def window(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of a sentence that is stored with the token at ``start`` to ``end``: all of it, where it is not long.

    Returns:
        Where it starts and one past its end, between words where there are any.
    """
    if len(text) <= LONGEST_WHOLE:
        return 0, len(text)
    first, last = max(0, start - AROUND), min(len(text), end + AROUND)
    if first:
        first = text.find(" ", first, start) + 1 or first
    if last < len(text):
        space = text.rfind(" ", end, last)
        last = last if space < 0 else space
    return first, last
