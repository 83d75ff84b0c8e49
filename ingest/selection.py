"""Which occurrences of which tokens are kept, decided before any state is computed.

At most ``k`` contexts per vocabulary token, with distinct prefixes (equal prefixes have equal
states), uniform over the corpus and independent of its order: the ``k`` with the smallest
``(hash of the sentence, position)``. All tokens of a sentence share its hash, so they share
sentences, too, and fewer sentences need encoding. A prefix that several sentences share counts
once, with the smallest of their hashes.

Everything is arrays: a corpus has many more tokens than Python can look at one by one. Most
occurrences are discarded by one comparison with their token's current ``k``-th smallest hash; the
rest wait in a buffer that is merged into the kept set when it is full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U64 = NDArray[np.uint64]
    I32 = NDArray[np.int32]

#: Occurrences that wait at most, before they are merged into the kept set.
BUFFER = 1 << 19
_EVERYTHING = np.uint64(0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Token occurrences; parallel arrays of length n.

    Attributes:
        token: vocabulary id.
        sentence: hash of the sentence.
        index: place in the tokenizer's output for that sentence, special tokens counted.
        prefix: hash of the token ids up to and including this one.
    """

    token: I32
    sentence: U64
    index: I32
    prefix: U64

    def __len__(self) -> int:
        """Number of occurrences."""
        return len(self.token)

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Occurrences:
        """Those at the given places, or under a mask."""
        return Occurrences(self.token[which], self.sentence[which], self.index[which], self.prefix[which])

    @staticmethod
    def join(parts: list[Occurrences]) -> Occurrences:
        """One after the other."""
        return Occurrences(
            np.concatenate([p.token for p in parts]),
            np.concatenate([p.sentence for p in parts]),
            np.concatenate([p.index for p in parts]),
            np.concatenate([p.prefix for p in parts]),
        )

    @staticmethod
    def none() -> Occurrences:
        """Empty."""
        return Occurrences(np.empty(0, np.int32), np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.uint64))


class Selector:
    """Keeps the chosen occurrences of a stream.

    Args:
        vocabulary: one more than the largest token id.
        max_contexts: occurrences to keep per token; ``None`` keeps every distinct prefix.
        buffer: occurrences that may wait before they are merged.
    """

    def __init__(self, vocabulary: int, max_contexts: int | None, buffer: int = BUFFER) -> None:
        """Start with nothing kept."""
        if max_contexts is not None and max_contexts < 1:
            raise ValueError(f"max_contexts is {max_contexts}, expected 1 or more, or None")
        self._limit = max_contexts
        self._buffer = buffer
        self._threshold: U64 = np.full(vocabulary, _EVERYTHING, np.uint64)
        self._kept = Occurrences.none()
        self._waiting: list[Occurrences] = []
        self._n_waiting = 0

    def add(self, seen: Occurrences) -> None:
        """Consider more occurrences, in any order and any grouping."""
        chosen = seen.take(seen.sentence <= self._threshold[seen.token])
        if len(chosen):
            self._waiting.append(chosen)
            self._n_waiting += len(chosen)
        # Waiting for as much as a quarter of what is kept bounds the number of merges in all.
        if self._n_waiting >= max(self._buffer, len(self._kept) // 4):
            self._merge()

    def kept(self) -> Occurrences:
        """What is kept of everything so far, by token, then by sentence hash and index."""
        self._merge()
        return self._kept

    @property
    def nbytes(self) -> int:
        """Bytes held between merges (a merge needs some four times as much for a moment)."""
        parts = [self._kept, *self._waiting]
        return self._threshold.nbytes + sum(a.nbytes for p in parts for a in (p.token, p.sentence, p.index, p.prefix))

    def _merge(self) -> None:
        if not self._waiting:
            return
        every = Occurrences.join([self._kept, *self._waiting])
        self._kept, self._waiting, self._n_waiting = Occurrences.none(), [], 0
        every = every.take(_distinct_prefixes(every))
        every = every.take(np.lexsort((every.index, every.sentence, every.token)))
        if self._limit is not None:
            starts = np.flatnonzero(np.diff(every.token, prepend=-1))
            sizes = np.diff(starts, append=len(every))
            rank = np.arange(len(every)) - np.repeat(starts, sizes)
            full = sizes >= self._limit
            last = starts[full] + self._limit - 1
            self._threshold[every.token[last]] = every.sentence[last]
            every = every.take(rank < self._limit)
        self._kept = every


def _distinct_prefixes(every: Occurrences) -> NDArray[np.intp]:
    """Places of one occurrence per prefix: in the sentence with the smallest hash."""
    order = np.lexsort((every.sentence, every.prefix))
    prefix = every.prefix[order]
    first = np.ones(len(order), bool)
    first[1:] = prefix[1:] != prefix[:-1]
    return order[first]


def prefix_hashes(ids: I32, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> tuple[U64, I32]:
    """A 64-bit hash of every prefix of every sentence, and the index of its last token.

    Each (id, index) pair has a random-looking number; a prefix is the sum of its own. Sums need no
    loop over tokens, and this hash only decides which rows are the same during the selection
    (point ids come from :func:`schemas.payload.prefix_ids`).

    Args:
        ids: token ids of all sentences, one after the other, special tokens included.
        starts: where each sentence starts in ``ids``.
        lengths: tokens of each sentence.

    Returns:
        Per token of ``ids``: hash, and index in its sentence.
    """
    index = np.arange(len(ids), dtype=np.int64) - np.repeat(starts, lengths)
    pairs = (ids.astype(np.uint64) << np.uint64(32)) | index.astype(np.uint64)
    total = np.cumsum(_mix(pairs), dtype=np.uint64)
    before = np.concatenate([np.zeros(1, np.uint64), total])[starts]
    return total - np.repeat(before, lengths), index.astype(np.int32)


def _mix(x: U64) -> U64:
    """The finaliser of SplitMix64: neighbouring inputs, unrelated outputs."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
