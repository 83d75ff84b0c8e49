"""What is chosen from a part of a corpus, and how parts become the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..models.tokens import BulkTokenizer
from ..schemas.payload import sentence_hash
from ..schemas.progress import Progress
from .corpus import Sentence
from .selection import Occurrences, Selector, prefix_hashes
from .tallies import Tally, chunks


@dataclass(frozen=True, slots=True)
class Summary:
    """What was chosen from a part of a corpus; of all parts together :func:`merged` makes what one pass chooses.

    Attributes:
        kept: the occurrences.
        sentences: read, by corpus.
        tokens: read, by corpus.
        truncated: sentences longer than the model can read.
    """

    kept: Occurrences
    sentences: Mapping[str, int]
    tokens: Mapping[str, int]
    truncated: int


def summarise(
    sentences: Iterable[Sentence],
    tokenizer: BulkTokenizer,
    max_contexts: int | None,
    seed: int,
    max_positions: int | None,
    tally: Tally,
    progress: Progress,
) -> Summary:
    """Tokenise and choose, see :func:`ingest.planning.select`; a part of a corpus will do, and may be empty.

    Args:
        sentences: of the part.
        tokenizer: the model's.
        max_contexts: per vocabulary token.
        seed: of the choice.
        max_positions: tokens that the model can read.
        tally: counts what is read.
        progress: advanced by sentences.

    Raises:
        CorpusError: it cannot be read.
        ModelError: the tokenizer does not belong to the model.
    """
    selector, truncated = Selector(tokenizer.vocabulary, max_contexts), 0
    for chunk in chunks(sentences):
        table = tokenizer.table([sentence.text for sentence in chunk])
        for sentence, count in zip(chunk, table.contents().tolist(), strict=True):
            tally.add(sentence)
            tally.tokens[sentence.corpus] += count
        hashes = np.fromiter((sentence_hash(seed, s.text) for s in chunk), np.uint64, len(chunk))
        prefix, index = prefix_hashes(table.ids, table.starts, table.lengths)
        which = tokenizer.keepable(table)
        if max_positions is not None:
            which &= index < max_positions
            truncated += int((table.lengths > max_positions).sum())
        selector.add(Occurrences(table.ids, np.repeat(hashes, table.lengths), index, prefix).take(which))
        progress.advance(len(chunk))
    return Summary(selector.kept(), tally.sentences, tally.tokens, truncated)


def merged(summaries: Iterable[Summary], vocabulary: int, max_contexts: int | None) -> Summary:
    """What one pass over all parts of a corpus would keep, however it was divided.

    What a part leaves out stands behind as many distinct prefixes of its token as are kept, each of which other parts
    can only replace by the same prefix in a sentence of a smaller hash. So it would be left out of the whole as well.

    Args:
        summaries: of the parts, in any order.
        vocabulary: one more than the largest token id.
        max_contexts: per vocabulary token.
    """
    selector, truncated = Selector(vocabulary, max_contexts), 0
    sentences, tokens = Counter[str](), Counter[str]()
    for summary in summaries:
        selector.add(summary.kept)
        sentences.update(summary.sentences)
        tokens.update(summary.tokens)
        truncated += summary.truncated
    return Summary(selector.kept(), sentences, tokens, truncated)
