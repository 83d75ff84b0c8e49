"""A model's vocabulary as a person reads it: its entries' words, filters on them, and the best of scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..models.tokens import special_ids
from ..schemas.filters import Condition
from ..schemas.words import folded, is_unspaced, stands_alone, visible
from .search import Distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

#: Fields of the filter language that a vocabulary entry has; the others belong to corpus tokens.
VOCABULARY_FIELDS = ("token", "token_id", "word", "is_word")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {">": gt, ">=": ge, "<": lt, "<=": le}
# Entries looked at beyond the best k, so that ties at the end of the list are seen whole.
_SPARE = 16
_GROWTH = 4


class Vocabulary:
    r"""Every row of a model's embedding or unembedding, in words.

    No entry is left out: special tokens are read by their own name (``<|im_end|>``), rows for
    which the tokenizer has no token as ``[id 50000]``.

    Attributes:
        tokens: the tokenizer's own string of each entry.
        words: what a person would read: decoded as it would be behind another word, without the
            space around it. Bytes that are no whole character are written ``\xc5``, or as the
            tokenizer has it (``<0xC5>``); white space and what else is invisible is empty.
        is_word: whether the entry is one whole word, not a piece of one: a space begins it, or its
            script has none; it holds a letter and no punctuation. Special tokens are no words.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        """Decode every entry (a second for 250,000).

        Args:
            tokenizer: a fast tokenizer of transformers.
            size: rows of the model's matrix; may be more than the tokenizer has tokens.
        """
        known = min(size, len(tokenizer))
        rest = [f"[id {i}]" for i in range(known, size)]
        names = tokenizer.convert_ids_to_tokens(list(range(known)))
        self.tokens = [name if name is not None else f"[id {i}]" for i, name in enumerate(names)] + rest
        texts = _decoded(tokenizer, known)
        self.words = [readable(token, visible(text)) for token, text in zip(self.tokens, texts, strict=False)] + rest
        special = special_ids(tokenizer)
        whole = [i not in special and _is_word(text) for i, text in enumerate(texts)]
        self.is_word: NDArray[np.bool_] = np.array(whole + [False] * len(rest), np.bool_)
        numbers: dict[str, int] = {}
        self._folded = [numbers.setdefault(folded(word), len(numbers)) for word in self.words]

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.tokens)

    def allowed(self, where: Sequence[Condition]) -> NDArray[np.bool_]:
        """Which entries meet all conditions, ``[len(self)]``.

        Args:
            where: conditions on :data:`VOCABULARY_FIELDS`, of the same meaning as in a bank.

        Raises:
            KeyError: a condition on another field.
        """
        columns = {
            "token": np.array(self.tokens, object),
            "token_id": np.arange(len(self)),
            "word": np.array(self.words, object),
            "is_word": self.is_word,
        }
        kept = np.ones(len(self), np.bool_)
        for condition in where:
            column = columns[condition.field]
            if condition.op in _COMPARE:
                for value in condition.values:
                    kept &= np.asarray(_COMPARE[condition.op](column, value), np.bool_)
            elif condition.op == "~":
                beginning = str(condition.values[0])
                kept &= np.fromiter((str(one).startswith(beginning) for one in column), np.bool_, len(column))
            else:
                matches = np.isin(column, np.array(condition.values, column.dtype))
                kept &= ~matches if condition.op == "!=" else matches
        return kept

    def best(
        self, scores: Tensor, k: int, allowed: Tensor | None = None, distinct: Distinct | None = None
    ) -> list[list[tuple[int, float]]]:
        """The ``k`` best entries of each row of scores; ties by id.

        Args:
            scores: ``[n, at most len(self)]`` float32, finite.
            k: entries per row; fewer come back where fewer are allowed.
            allowed: boolean, one for each column of ``scores``; ``None`` for all.
            distinct: ``word`` keeps the best entry of each word, whatever its case.

        Returns:
            ``(id, score)``, best first, for each row.
        """
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -np.inf)
        size = scores.shape[1]
        found: list[list[tuple[int, float]]] = [[] for _ in range(len(scores))]
        pending = list(range(len(scores)))
        depth = min(size, _GROWTH * k + _SPARE)
        while pending:
            rows = scores if len(pending) == len(scores) else scores[pending]  # an index would copy them all
            values, ids = (part.cpu().numpy() for part in rows.topk(depth, dim=1))
            open_rows = []
            for row, at_values, at_ids in zip(pending, values, ids, strict=True):
                last = at_values[-1]
                # Other entries may tie with the last one, unless that is the very last there is.
                whole = depth == size or last == -np.inf
                shown = (at_values > -np.inf) if whole else (at_values > last)
                found[row] = self._first(at_values[shown], at_ids[shown], k, distinct)
                if len(found[row]) < k and not whole:
                    open_rows.append(row)
            pending, depth = open_rows, min(size, depth * _GROWTH)
        return found

    def _first(
        self, values: NDArray[np.floating[Any]], ids: NDArray[np.integer[Any]], k: int, distinct: Distinct | None
    ) -> list[tuple[int, float]]:
        chosen: list[tuple[int, float]] = []
        seen: set[int] = set()
        for place in np.lexsort((ids, -values)):
            entry = int(ids[place])
            word = self._folded[entry]
            if distinct and word in seen:
                continue
            seen.add(word)
            chosen.append((entry, float(values[place])))
            if len(chosen) == k:
                break
        return chosen


_known: WeakKeyDictionary[Any, dict[tuple[int, int], Vocabulary]] = WeakKeyDictionary()


def vocabulary_of(tokenizer: Any, size: int) -> Vocabulary:
    """The same, decoded once for a tokenizer as it is; see :class:`Vocabulary`."""
    made = _known.setdefault(tokenizer, {})
    key = (size, len(tokenizer))
    if key not in made:
        made[key] = Vocabulary(tokenizer, size)
    return made[key]


def _decoded(tokenizer: Any, size: int) -> list[str]:
    """Each entry's text as it would stand behind another word: many decoders drop a space at the start."""
    decode = tokenizer.backend_tokenizer.decode_batch
    before = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
    (prefix,) = decode([before], skip_special_tokens=False)
    pairs = decode([[*before, i] for i in range(size)], skip_special_tokens=False)
    alone = decode([[i] for i in range(size)], skip_special_tokens=False)
    return [p[len(prefix) :] if p.startswith(prefix) else a for p, a in zip(pairs, alone, strict=True)]


def readable(token: str, text: str) -> str:
    """The text, or bytes in figures: what stands for a byte in a tokenizer's string is no letter to a reader."""
    if "\ufffd" not in text:
        return text
    if re.fullmatch("<0x[0-9A-F]{2}>", token):
        return token
    if not all(char in _BYTES for char in token):
        return text
    return bytes(_BYTES[char] for char in token).decode("utf-8", "backslashreplace").strip()


def _byte_letters() -> dict[str, int]:
    """The letter that byte-level tokenizers write for each byte: itself, or one from U+0100 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(0x100 + place): byte for place, byte in enumerate(hidden)}


_BYTES = _byte_letters()


def _is_word(text: str) -> bool:
    word = visible(text)
    return stands_alone(word) and (text[0].isspace() or is_unspaced(word[0]))
