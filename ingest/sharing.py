"""Prefixes that several corpora share: a row is of each of them, whichever of their sentences is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..models.tokens import BulkTokenizer
from .corpus import Sentence
from .selection import prefix_hashes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    U64 = NDArray[np.uint64]


class Sharing:
    """Which of several corpora hold the prefix of each kept occurrence.

    Args:
        names: of the corpora.
        prefixes: ``[rows]`` hashes of the kept occurrences' prefixes, distinct, at least one.
        tokenizer: the model's.
    """

    def __init__(self, names: Sequence[str], prefixes: U64, tokenizer: BulkTokenizer) -> None:
        """Nothing found yet."""
        self._names = {name: number for number, name in enumerate(names)}
        self._tokenizer = tokenizer
        self._order = np.argsort(prefixes)
        self._prefixes = prefixes[self._order]
        self._holds = np.zeros((len(names), len(prefixes)), np.bool_)

    def see(self, chunk: Sequence[Sentence]) -> None:
        """Look for the kept prefixes in some sentences; those of a corpus that is not named are passed over."""
        chunk = [sentence for sentence in chunk if sentence.corpus in self._names]
        table = self._tokenizer.table([sentence.text for sentence in chunk])
        prefix, _ = prefix_hashes(table.ids, table.starts, table.lengths)
        of = np.fromiter((self._names[s.corpus] for s in chunk), np.int64, len(chunk))
        corpus = np.repeat(of, table.lengths)
        spots = np.minimum(np.searchsorted(self._prefixes, prefix), len(self._prefixes) - 1)
        found = self._prefixes[spots] == prefix
        self._holds[corpus[found], self._order[spots[found]]] = True

    def corpora(self, row: int, shown: str) -> tuple[str, ...]:
        """Names of the corpora that hold the prefix of a kept occurrence: first the one whose sentence is shown."""
        held = zip(self._names, self._holds[:, row].tolist(), strict=True)
        others = (name for name, holds in held if holds and name != shown)
        return (shown, *sorted(others))
