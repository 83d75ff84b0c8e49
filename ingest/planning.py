"""The two passes over a corpus that come before any state: choose occurrences, collect their sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..models.tokens import BulkTokenizer
from ..schemas.corpora import CorpusRecord
from ..schemas.errors import CorpusError
from ..schemas.payload import sentence_hash
from ..schemas.plans import PlanRecord, plan_key
from ..schemas.progress import Progress
from ..schemas.words import RULES as WORD_RULES
from .corpus import Corpus
from .selection import Occurrences
from .sharing import Sharing
from .summaries import Summary, summarise
from .tallies import Tally, chunks
from .texts import Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Versions of what decides which rows a corpus gives, and in which order; on record while they are written.
RULES = {"selection": 1, "rows": 3, "words": WORD_RULES}


@dataclass(frozen=True)
class Selection:
    """What was chosen, in the order in which it will be encoded: longest sentences first.

    Attributes:
        hashes: ``[sentences]`` hashes of the sentences that hold kept occurrences.
        lengths: ``[sentences]`` tokens up to the last kept one, special tokens included.
        first: ``[sentences + 1]``, where each sentence's occurrences start in ``kept``.
        kept: the occurrences, by sentence in that order, then by index.
        tally: of everything that was read.
        truncated: sentences longer than the model can read.
    """

    hashes: NDArray[np.uint64]
    lengths: NDArray[np.int32]
    first: NDArray[np.int64]
    kept: Occurrences
    tally: Tally
    truncated: int

    @cached_property
    def key(self) -> str:
        """Hash of everything that decides which rows are written, in which order."""
        digest = hashlib.sha256(repr(sorted(self.tally.fingerprints().items())).encode())
        for array in (self.hashes, self.lengths, self.first, self.kept.token, self.kept.index):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def plan(self) -> PlanRecord:
        """What goes on record before the first row is written."""
        prints = self.tally.fingerprints()
        key = plan_key("ingest", self.key, RULES)
        return PlanRecord("ingest", key, prints, RULES, total=len(self.hashes), rows=dict.fromkeys(prints, 0))

    def tokens(self, start: int = 0) -> int:
        """Tokens to encode from a sentence on."""
        return int(self.lengths[start:].sum(dtype=np.int64))

    def at(self, places: NDArray[np.int64]) -> Selection:
        """What was chosen in some of the sentences alone.

        Args:
            places: ``[n]``, at least one, in the encoding order.
        """
        counts = np.diff(self.first)[places]
        which = np.concatenate([np.arange(self.first[place], self.first[place + 1]) for place in places])
        return Selection(
            hashes=self.hashes[places],
            lengths=self.lengths[places],
            first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            kept=self.kept.take(which),
            tally=self.tally,
            truncated=0,
        )


def select(
    corpus: Corpus,
    tokenizer: BulkTokenizer,
    max_contexts: int | None,
    seed: int,
    max_positions: int | None,
    progress: Progress,
) -> Selection:
    """First pass: tokenise everything and choose.

    Args:
        corpus: what to read.
        tokenizer: the model's.
        max_contexts: per vocabulary token; ``None`` keeps every distinct prefix.
        seed: of the choice.
        max_positions: tokens that the model can read; nothing beyond is chosen.
        progress: counts sentences.

    Raises:
        CorpusError: the corpus cannot be read, or holds nothing to keep.
        ModelError: the tokenizer does not belong to the model.
    """
    tally = Tally()
    progress.start("Reading", None, "sentences")
    summary = summarise(corpus, tokenizer, max_contexts, seed, max_positions, tally, progress)
    progress.finish()
    return ordered(summary, tally)


def ordered(summary: Summary, tally: Tally) -> Selection:
    """What was chosen from a whole corpus, in the order in which it is encoded.

    Args:
        summary: of the whole.
        tally: of the whole.

    Raises:
        CorpusError: there is nothing to keep.
    """
    kept = summary.kept
    if not len(kept):
        raise CorpusError(
            "The corpus holds no token to store: only special tokens and white space were found.",
            "Give a corpus that contains words.",
        )
    hashes, sentence = np.unique(kept.sentence, return_inverse=True)
    lengths = np.zeros(len(hashes), np.int32)
    np.maximum.at(lengths, sentence, kept.index + 1)
    # Longest first: a batch that does not fit into memory fails at once, not after hours.
    order = np.lexsort((hashes, -lengths))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    place = place[sentence]
    counts = np.bincount(place, minlength=len(order))
    return Selection(
        hashes=hashes[order],
        lengths=lengths[order],
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        kept=kept.take(np.lexsort((kept.index, place))),
        tally=tally,
        truncated=summary.truncated,
    )


def collect(corpus: Corpus, selection: Selection, seed: int, progress: Progress, tokenizer: BulkTokenizer) -> Texts:
    """Second pass: find the sentences that hold selected occurrences, and what several corpora share.

    Raises:
        CorpusError: the corpus is no longer what the first pass has read.
    """
    by_hash = np.argsort(selection.hashes)
    sorted_hashes = selection.hashes[by_hash]
    names = tuple(selection.tally.sentences)
    sharing = Sharing(names, selection.kept.prefix, tokenizer) if len(names) > 1 else None
    tally, texts = Tally(), Texts(len(selection.hashes), sharing)
    try:
        progress.start("Collecting", sum(selection.tally.sentences.values()), "sentences")
        for chunk in chunks(corpus):
            hashes = np.fromiter((sentence_hash(seed, s.text) for s in chunk), np.uint64, len(chunk))
            spots = np.minimum(np.searchsorted(sorted_hashes, hashes), len(sorted_hashes) - 1)
            for i in np.flatnonzero(sorted_hashes[spots] == hashes).tolist():
                texts.put(int(by_hash[spots[i]]), chunk[i])
            for sentence in chunk:
                tally.add(sentence)
            if sharing is not None:
                sharing.see(chunk)
            progress.advance(len(chunk))
        progress.finish()
        if texts.missing() or tally.fingerprints() != selection.tally.fingerprints():
            raise CorpusError(
                "The corpus changed while it was being read.",
                "Run the command again when no process writes to the corpus.",
            )
    except BaseException:
        texts.close()
        raise
    return texts


def corpus_records(selection: Selection, rows: Mapping[str, int]) -> list[CorpusRecord]:
    """What goes into the banks' records, one per corpus, with the rows that it gave."""
    prints = selection.tally.fingerprints()
    return [
        CorpusRecord(name, prints[name], count, selection.tally.tokens[name], rows[name])
        for name, count in selection.tally.sentences.items()
    ]
