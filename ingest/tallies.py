"""What is counted of a corpus as it is read, and the groups that its sentences are read in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..schemas.progress import Progress
from .corpus import Corpus, Sentence

if TYPE_CHECKING:
    from typing import Self

#: Sentences, and characters, that are tokenised or looked up at once.
CHUNK_SENTENCES = 4096
CHUNK_CHARACTERS = 1 << 20


class Tally:
    """Counts and fingerprints of the corpora that a stream of sentences belongs to."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.sentences: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self._digests: dict[str, hashlib._Hash] = {}
        self._known: dict[str, str] = {}

    @classmethod
    def counted(cls, sentences: Mapping[str, int], tokens: Mapping[str, int], fingerprints: Mapping[str, str]) -> Self:
        """What others have counted."""
        tally = cls()
        tally.sentences, tally.tokens, tally._known = dict(sentences), dict(tokens), dict(fingerprints)
        return tally

    def add(self, sentence: Sentence) -> None:
        """Count one sentence."""
        name = sentence.corpus
        if name not in self._digests:
            self._digests[name] = hashlib.sha256()
            self.sentences[name] = self.tokens[name] = 0
        self._digests[name].update(sentence.text.encode() + b"\n")
        self.sentences[name] += 1

    def fingerprints(self) -> dict[str, str]:
        """Corpus name → SHA-256 over its sentences, in order."""
        return {**self._known, **{name: digest.hexdigest() for name, digest in self._digests.items()}}


def fingerprint(corpus: Corpus, progress: Progress) -> dict[str, str]:
    """Corpus name → SHA-256 over its sentences, in the corpora's order: one pass, no tokenizer."""
    tally = Tally()
    progress.start("Comparing", None, "sentences")
    for chunk in chunks(corpus):
        for sentence in chunk:
            tally.add(sentence)
        progress.advance(len(chunk))
    progress.finish()
    return tally.fingerprints()


def chunks(sentences: Iterable[Sentence]) -> Iterator[Sequence[Sentence]]:
    """Sentences in groups that are worth a call and fit into memory."""
    chunk: list[Sentence] = []
    size = 0
    for sentence in sentences:
        chunk.append(sentence)
        size += len(sentence.text)
        if len(chunk) == CHUNK_SENTENCES or size >= CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
