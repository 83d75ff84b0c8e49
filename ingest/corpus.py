"""A corpus: files, folders or standard input, read as a stream of sentences, as often as needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..schemas.checking import require_kind
from ..schemas.errors import CorpusError, UsageError
from ..schemas.files import shown_path
from ..schemas.words import visible
from .decompression import decompressed
from .fields import TextField
from .readers import Format, guess_rows_format, read_texts
from .remarks import Remarks
from .sentences import Splitter
from .sources import Source, group_of, opened, size_of, told_apart, writable

if TYPE_CHECKING:
    from typing import Self


class Sentence(NamedTuple):
    """One sentence and where it comes from.

    Attributes:
        text: without white space at the ends, single spaces inside; never empty.
        corpus: name of its corpus.
        file: file name; inside a folder, the path below it.
        line: where the sentence starts, from 1.
    """

    text: str
    corpus: str
    file: str
    line: int

    @property
    def document(self) -> str:
        """File and line, ``captions.txt:17``."""
        return f"{self.file}:{self.line}"


class Corpus:
    """Sentences of several files; iterate as often as needed, each time from the start.

    Close it, or use it in a ``with``: standard input and pipes are kept in an unnamed temporary file.
    """

    def __init__(
        self,
        groups: Sequence[tuple[str, Sequence[Source]]],
        field: str | None,
        split: Splitter | None,
        *,
        may_be_empty: bool = False,
    ) -> None:
        """See :func:`read_corpora`."""
        self._may_be_empty = may_be_empty
        self._groups = groups
        self._field = field
        self._splitter = split
        self._remarks = Remarks()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the corpora, in order, each once."""
        return tuple(dict.fromkeys(source.corpus for _, sources in self._groups for source in sources))

    def __iter__(self) -> Iterator[Sentence]:
        """Read from the start.

        Raises:
            CorpusError: a file that cannot be read, is not text, or a path without any sentence.
        """
        self._remarks.clear()
        for path, sources in self._groups:
            empty = True
            for source in sources:
                for sentence in self._read(source):
                    empty = False
                    yield sentence
            self._require_some(path, self._may_be_empty or not empty)

    def portable(self) -> Corpus:
        """The same corpus for processes that run elsewhere; can be pickled.

        Raises:
            UsageError: standard input, or a pipe, which only this process can read.
        """
        for shown, sources in self._groups:
            if any(source.spool is not None for source in sources):
                raise UsageError(
                    f"{shown} can be read by this process alone, not by the workers of a cluster.",
                    "Write it to a file that every node sees under the same path.",
                )
        groups = [
            (shown, [replace(one, path=Path(os.path.abspath(one.path))) for one in sources])
            for shown, sources in self._groups
        ]
        return Corpus(groups, self._field, self._splitter)

    def divided(self, count: int) -> list[Corpus]:
        """The same sentences as so many corpora at most, by bytes about equal; a file stays whole, and may be empty.

        Raises:
            CorpusError: a file cannot be read.
        """
        files = [source for _, sources in self._groups for source in sources]
        total, before = sum(map(size_of, files)), 0
        parts: dict[int, list[Source]] = {}
        for source in files:
            parts.setdefault(min(count - 1, before * count // max(1, total)), []).append(source)
            before += size_of(source)
        return [Corpus([("", part)], self._field, self._splitter, may_be_empty=True) for part in parts.values()]

    def look(self) -> None:
        """Read every path up to its first sentence: what cannot be read at all is found before a model is loaded.

        Raises:
            CorpusError: as of reading it all.
        """
        for path, sources in self._groups:
            self._require_some(path, any(True for source in sources for _ in self._read(source)))
        self._remarks.clear()

    @staticmethod
    def _require_some(path: str, some: bool) -> None:
        if not some:
            raise CorpusError(f"{path} holds no sentences: it is empty or blank.", "Give a file with text in it.")

    def remarks(self) -> list[str]:
        """What the last reading has found that a user should know: rows left out, what was taken for what."""
        return self._remarks.lines()

    def _read(self, source: Source) -> Iterator[Sentence]:
        with opened(source) as raw, decompressed(raw, source.label) as stream:
            field = TextField(source.label, self._field, self._remarks)
            kind = source.kind or ("text" if self._field is None else guess_rows_format(stream))
            for line, text in self._sentences(read_texts(stream, kind, field), kind, source.label):
                words = text.split()
                if words:
                    yield Sentence(" ".join(words), source.corpus, source.label, line)

    def _sentences(self, texts: Iterator[tuple[int, str]], kind: Format, file: str) -> Iterator[tuple[int, str]]:
        splitter = self._splitter
        if splitter is None:
            return texts

        def unknown(script: str) -> None:
            self._remarks.no_rules(file, script)

        if kind == "text":
            return splitter.split_lines(texts, unknown)
        # Rows do not continue one another, so each is a text of its own. Line breaks inside do not count: a row
        # has one place, where it starts.
        rows = ([(line, part) for part in text.splitlines()] for line, text in texts)
        return (found for row in rows for found in splitter.split_lines(row, unknown))

    def close(self) -> None:
        """Let go of temporary files; harmless when repeated."""
        for _, sources in self._groups:
            for source in sources:
                if source.spool is not None:
                    source.spool.close()

    def __enter__(self) -> Self:
        """The corpus itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()


def read_corpora(
    paths: Iterable[str | Path],
    *,
    text_field: str | None = None,
    split: bool | None = None,
    language: str = "en",
    name: str | None = None,
    stdin: BinaryIO | None = None,
) -> Corpus:
    """A corpus from files, folders and standard input.

    Plain text has one sentence per line, CSV (with a header) and JSON lines one per row; with
    ``split`` they hold free text that is split into sentences, and blank lines end paragraphs.
    Any of them may be compressed (``.gz``, ``.zst``, ``.bz2``, ``.xz``). Files of an unknown kind are plain text; in
    folders, which are read with all that is below them in order of name, they are passed over.
    Standard input is plain text, or with ``text_field`` JSON lines or CSV.

    Args:
        paths: files and folders; ``-`` is standard input.
        text_field: column or key that holds the text; needed where several could.
        split: whether to split free text into sentences; default no.
        language: for ``split``, an ISO 639-1 code.
        name: corpus name; default each path's own name, without its suffixes.
        stdin: what ``-`` reads; default the process's.

    Raises:
        CorpusError: a path that is missing, cannot be read or is of an unknown kind; ``-`` twice.
        UsageError: no sentence rules for that language; an empty name; a ``text_field``, but only plain text.
    """
    for value, what in ((text_field, "text_field"), (name, "name")):
        require_kind(value, str | None, what, "a text or None")
    require_kind(split, bool | None, "split", "True, False or None")
    require_kind(language, str, "language", "an ISO 639-1 code such as 'en'")
    if name is not None and not visible(name):
        raise UsageError(
            "The name of the corpus is empty.", "Give a name with visible characters, or leave out --name."
        )
    splitter = Splitter(language) if split else None
    groups: list[tuple[str, Sequence[Source]]] = []
    corpus = Corpus(groups, text_field, splitter)
    try:
        for given in map(str, paths):
            if given == "-" and any(path == "standard input" for path, _ in groups):
                raise CorpusError("Standard input (-) was given twice, but it can be read only once.")
            groups.append(group_of(given, name, stdin))
        groups[:] = told_apart(groups, name)
        groups[:] = [(shown_path(given), [writable(source) for source in sources]) for given, sources in groups]
    except BaseException:
        corpus.close()
        raise
    if not groups:
        raise CorpusError(
            "No corpus was given.", "Give text, CSV or JSON lines files, folders, or - for standard input."
        )
    if text_field is not None and all(source.kind == "text" for _, sources in groups for source in sources):
        corpus.close()
        raise UsageError(
            f"--text-field {text_field} names a column of CSV or a key of JSON lines, but all files are plain text.",
            "Leave it out, or name the files .csv, .tsv or .jsonl.",
        )
    return corpus
