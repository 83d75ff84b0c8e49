"""The sentences that a selection has chosen, outside of memory."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .corpus import Sentence
from .sharing import Sharing

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray


class Texts:
    """The selected sentences, in an unnamed temporary file, so that memory does not grow with them.

    Where a sentence occurs more than once, the first place by corpus, file and line counts.

    Attributes:
        sharing: says which corpora hold which of the chosen prefixes; ``None`` where there is one corpus.
    """

    def __init__(self, size: int, sharing: Sharing | None = None) -> None:
        """Room for ``size`` sentences."""
        self.sharing = sharing
        self._file: BinaryIO = tempfile.TemporaryFile(prefix="lensbank-")  # noqa: SIM115 - closed in close()
        self._end = 0
        self._at = np.full(size, -1, np.int64)
        self._bytes = np.zeros(size, np.int32)
        self._line = np.zeros(size, np.int64)
        self._source = np.zeros(size, np.int32)
        self._sources: list[tuple[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def put(self, place: int, sentence: Sentence) -> None:
        """Record one sentence that was found."""
        source = (sentence.corpus, sentence.file)
        if self._at[place] >= 0:
            if (*source, sentence.line) >= (*self._sources[self._source[place]], int(self._line[place])):
                return
        else:
            data = sentence.text.encode()
            self._file.write(data)
            self._at[place], self._bytes[place] = self._end, len(data)
            self._end += len(data)
        if source not in self._numbers:
            self._numbers[source] = len(self._sources)
            self._sources.append(source)
        self._source[place], self._line[place] = self._numbers[source], sentence.line

    def get(self, place: int) -> Sentence:
        """The sentence at a place in the encoding order."""
        self._file.seek(int(self._at[place]))
        text = self._file.read(int(self._bytes[place])).decode()
        corpus, file = self._sources[self._source[place]]
        return Sentence(text, corpus, file, int(self._line[place]))

    def bytes_of_rows(self, first: NDArray[np.int64], most: int) -> int:
        """Bytes of text that the rows hold together.

        Args:
            first: ``[sentences + 1]``, where each sentence's rows start.
            most: bytes that one holds at most.
        """
        return int((np.minimum(self._bytes, most).astype(np.int64) * np.diff(first)).sum())

    def missing(self) -> int:
        """Sentences that were not found."""
        return int((self._at < 0).sum())

    def close(self) -> None:
        """Let go of the temporary file; harmless when repeated."""
        self._file.close()

    def __enter__(self) -> Self:
        """The texts themselves."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()
