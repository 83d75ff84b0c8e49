"""A batch of an ingest on its own: what another process needs to make the same rows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..models.tokens import BulkTokenizer
from .corpus import Sentence
from .planning import Selection
from .rows import BatchRows
from .tallies import Tally
from .texts import Texts


@dataclass(frozen=True)
class Part:
    """Consecutive sentences of the encoding order; can be pickled.

    Attributes:
        first: place of the first one among all.
        selection: what was chosen in them.
        sentences: themselves.
        names: of the corpora of each chosen occurrence, the shown sentence's first; ``None`` where there is one corpus.
    """

    first: int
    selection: Selection
    sentences: Sequence[Sentence]
    names: Sequence[tuple[str, ...]] | None

    @classmethod
    def of(cls, selection: Selection, texts: Texts, first: int, end: int) -> Part:
        """The sentences from ``first`` to before ``end``."""
        sentences = [texts.get(place) for place in range(first, end)]
        at = selection.at(np.arange(first, end))
        if texts.sharing is None:
            names = None
        else:
            starts = selection.first[first : end + 1].tolist()
            names = [
                texts.sharing.corpora(row, sentence.corpus)
                for sentence, start, stop in zip(sentences, starts, starts[1:], strict=False)
                for row in range(start, stop)
            ]
        bare = Selection(at.hashes, at.lengths, at.first, at.kept, Tally(), 0)
        return cls(first, bare, sentences, names)

    @property
    def end(self) -> int:
        """One past the place of the last sentence among all."""
        return self.first + len(self.sentences)

    @property
    def sharing(self) -> Part | None:
        """See :class:`ingest.rows.SentenceSource`."""
        return None if self.names is None else self

    def corpora(self, row: int, shown: str) -> tuple[str, ...]:
        """See :class:`ingest.rows.Shared`."""
        return (shown,) if self.names is None else self.names[row]

    def get(self, place: int) -> Sentence:
        """The sentence at a place within this part."""
        return self.sentences[place]

    def rows(self, tokenizer: BulkTokenizer) -> BatchRows:
        """The rows that it gives.

        Raises:
            ModelError: the tokenizer no longer gives what was selected.
        """
        return BatchRows(self.selection, self, tokenizer, 0, len(self.sentences))
