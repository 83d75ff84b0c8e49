"""What has been written into a bank: a corpus, or a set of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .imports import ImportRecord
from .indexes import IndexRecord
from .words import RULES as WORD_RULES


@dataclass(frozen=True, slots=True)
class CorpusRecord:
    """One corpus that has been written into a bank.

    Attributes:
        name: as in the payload's ``corpus``.
        fingerprint: SHA-256 over the sentences read, in order.
        sentences: sentences read.
        tokens: tokens read.
        rows: rows of the bank that bear its name (as ``--where corpus=NAME`` finds them).
        imported: where its states came from, if they were not computed here.
        words: version of the word rules (:data:`schemas.words.RULES`) that gave its rows their words; ``None`` of
            corpora that were ingested before it was kept.
        indexed: of a set of images, how it was read; ``None`` of a corpus.
    """

    name: str
    fingerprint: str
    sentences: int
    tokens: int
    rows: int
    imported: ImportRecord | None = None
    words: int | None = WORD_RULES
    indexed: IndexRecord | None = None

    @property
    def has_old_words(self) -> bool:
        """Whether its words follow older rules."""
        return self.indexed is None and self.words != WORD_RULES

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CorpusRecord:
        """Read a stored record."""
        imported, indexed = data.get("imported"), data.get("indexed")
        known = {"words": None, **data}
        return cls(
            **{
                **known,
                "imported": None if imported is None else ImportRecord(**imported),
                "indexed": None if indexed is None else IndexRecord.from_dict(indexed),
            }
        )
