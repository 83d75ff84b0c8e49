"""Sentences to token ids, in bulk, with what each id is worth keeping for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..schemas.errors import ModelError
from ..schemas.words import token_span, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray


def require_embedded(largest: int, embeddings: int) -> None:
    """Refuse a token for which a model has no embedding.

    Args:
        largest: of the ids that a tokenizer gave.
        embeddings: rows of the model's input embedding.

    Raises:
        ModelError: there is no such row.
    """
    if largest >= embeddings:
        raise ModelError(
            f"The tokenizer gives id {largest}, but the model embeds {embeddings} tokens (0 to {embeddings - 1}).",
            "The model and its tokenizer do not belong together.",
        )


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Token ids of several sentences, one after the other, special tokens included.

    Attributes:
        ids: ``[tokens]`` int32.
        special: ``[tokens]``, whether the tokenizer itself added the token (BOS ...).
        starts: ``[sentences]``, where each sentence starts.
        lengths: ``[sentences]``.
    """

    ids: NDArray[np.int32]
    special: NDArray[np.bool_]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def contents(self) -> NDArray[np.int64]:
        """``[sentences]``, tokens without the special ones."""
        total = np.concatenate([[0], np.cumsum(~self.special)])
        return np.asarray(total[self.starts + self.lengths] - total[self.starts], np.int64)


class Span(NamedTuple):
    """The visible characters of a token in its text.

    Attributes:
        start: the first; see :func:`schemas.words.token_span`.
        end: one past the last; equal to ``start`` where the token shows nothing.
        next_start: where the tokenizer says that the next token starts; ``None`` where there is none.
    """

    start: int
    end: int
    next_start: int | None


def span_of(text: str, offsets: Sequence[tuple[int, int]], special: Sequence[int], index: int) -> Span:
    """The visible characters of one token.

    Args:
        text: what was tokenised.
        offsets: of every token, as the tokenizer has them.
        special: whether the tokenizer itself added a token.
        index: place of the token among them.
    """
    following = index + 1
    next_start = offsets[following][0] if following < len(offsets) and not special[following] else None
    return Span(*token_span(text, *offsets[index], next_start), next_start)


def special_ids(tokenizer: Any) -> set[int]:
    """Ids of all tokens that a tokenizer marks as special, those without a role of their own included.

    ``all_special_ids`` has the begin and end of a text, padding and the like; ``<image>``, ``<row_1_col_1>`` and
    reserved tokens are special among the added tokens only.
    """
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | {number for number in tokenizer.all_special_ids if number is not None}


class BulkTokenizer:
    """A model's fast tokenizer without padding or truncation, whatever side or length it is set to.

    Special tokens are added as the model's own tokenizer does by default.

    Args:
        tokenizer: a fast tokenizer of transformers.
        embeddings: rows of the model's input embedding.
    """

    def __init__(self, tokenizer: Any, embeddings: int) -> None:
        """Look at every token of the vocabulary once."""
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._embeddings = embeddings
        self.vocabulary = max(len(tokenizer), embeddings)
        self._keepable = _keepable(tokenizer, self.vocabulary)

    def table(self, texts: Sequence[str]) -> TokenTable:
        """Token ids of sentences, without offsets: the quick way, for whole corpora.

        Raises:
            ModelError: an id for which the model has no embedding.
        """
        encodings = self._encode(texts, getattr(self._backend, "encode_batch_fast", self._backend.encode_batch))
        lengths = np.fromiter((len(e) for e in encodings), np.int64, len(encodings))
        total = int(lengths.sum())
        ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32, total)
        special = np.fromiter(chain.from_iterable(e.special_tokens_mask for e in encodings), np.bool_, total)
        if total:
            require_embedded(int(ids.max()), self._embeddings)
        return TokenTable(ids, special, np.cumsum(lengths) - lengths, lengths)

    def keepable(self, table: TokenTable) -> NDArray[np.bool_]:
        """Which tokens of a table a bank may hold: ``[tokens]``, neither special nor invisible."""
        return ~table.special & self._keepable[table.ids]

    def shows(self, token_id: int) -> bool:
        """Whether a bank may hold an id: neither special nor invisible."""
        return bool(self._keepable[token_id])

    def string(self, token_id: int) -> str:
        """The tokenizer's own string for an id."""
        return str(self._backend.id_to_token(token_id) or "")

    def text(self, token_id: int) -> str:
        """What an id shows, without what is invisible around it."""
        return visible(str(self._backend.decode([token_id], skip_special_tokens=False)))

    def with_offsets(self, texts: Sequence[str]) -> list[Any]:
        """Encodings of the tokenizers library: ids, tokens, character offsets, special-token mask."""
        return self._encode(texts, self._backend.encode_batch)

    def _encode(self, texts: Sequence[str], encode: Any) -> list[Any]:
        # A tokenizer keeps the padding and truncation of whatever was asked of it last.
        self._backend.no_padding()
        self._backend.no_truncation()
        encodings: list[Any] = encode(list(texts), add_special_tokens=True)
        return encodings


def _keepable(tokenizer: Any, vocabulary: int) -> NDArray[np.bool_]:
    """Per id: it shows something, and is no special token (a text may spell one out)."""
    decode = tokenizer.backend_tokenizer.decode_batch
    texts = decode([[i] for i in range(vocabulary)], skip_special_tokens=False)
    keepable = np.fromiter((bool(visible(text)) for text in texts), np.bool_, vocabulary)
    keepable[[number for number in special_ids(tokenizer) if number < vocabulary]] = False
    return keepable
