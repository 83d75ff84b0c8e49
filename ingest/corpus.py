"""A corpus: files, folders or standard input, read as a stream of sentences, as often as needed."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..schemas.errors import CorpusError
from ..schemas.files import kind_of
from .decompression import decompressed
from .fields import TextField
from .readers import Format, guess_rows_format, read_texts
from .remarks import Remarks
from .sentences import Splitter

if TYPE_CHECKING:
    from typing import Self

_FORMATS: dict[str, Format] = {
    ".txt": "text",
    ".text": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_COMPRESSED = (".gz", ".zst")


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


@dataclass(frozen=True, slots=True)
class _Source:
    """One file of a corpus. ``spool`` holds what can be read only once."""

    corpus: str
    label: str
    path: Path
    kind: Format | None
    spool: BinaryIO | None = None


class Corpus:
    """Sentences of several files; iterate as often as needed, each time from the start.

    Close it, or use it in a ``with``: standard input and pipes are kept in an unnamed temporary file.
    """

    def __init__(
        self, groups: Sequence[tuple[str, Sequence[_Source]]], field: str | None, split: Splitter | None
    ) -> None:
        """See :func:`read_corpora`."""
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
            if empty:
                raise CorpusError(f"{path} holds no sentences: it is empty or blank.", "Give a file with text in it.")

    def remarks(self) -> list[str]:
        """What the last reading has found that a user should know: rows left out, what was taken for what."""
        return self._remarks.lines()

    def _read(self, source: _Source) -> Iterator[Sentence]:
        with _opened(source) as raw, decompressed(raw, source.label) as stream:
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
    Any of them may be compressed (``.gz``, ``.zst``). Files of an unknown kind are plain text; in
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
        UsageError: no sentence rules for that language.
    """
    splitter = Splitter(language) if split else None
    groups: list[tuple[str, Sequence[_Source]]] = []
    corpus = Corpus(groups, text_field, splitter)
    try:
        for given in map(str, paths):
            if given == "-" and any(path == "standard input" for path, _ in groups):
                raise CorpusError("Standard input (-) was given twice; it can be read once.")
            groups.append(_group(given, name, stdin))
        groups[:] = _told_apart(groups, name)
    except BaseException:
        corpus.close()
        raise
    if not groups:
        raise CorpusError(
            "No corpus was given.", "Name text, CSV or JSON lines files, folders, or - for standard input."
        )
    return corpus


def _group(given: str, name: str | None, stdin: BinaryIO | None) -> tuple[str, Sequence[_Source]]:
    if given == "-":
        spool = _spooled(stdin or sys.stdin.buffer)
        return "standard input", [_Source(name or "stdin", "stdin", Path("-"), None, spool)]
    path = Path(given)
    try:
        if path.is_dir():
            return given, _folder(path, name or _stem(path.resolve().name))
        if not path.exists():
            raise CorpusError(f"There is no file {given}.", "Check the path; - reads standard input.")
        if path.is_file():
            return given, [_Source(name or _stem(path.name), path.name, path, _format(path))]
        if not path.is_fifo():
            raise CorpusError(f"{given} is {kind_of(path)}; expected a text, CSV or JSON lines file, or a folder.")
        with path.open("rb") as pipe:  # a named pipe, <(...) in a shell: it can be read once
            return given, [_Source(name or _stem(path.name), path.name, path, None, _spooled(pipe))]
    except OSError as error:
        raise _unreadable(given, error) from error


def _told_apart(groups: list[tuple[str, Sequence[_Source]]], name: str | None) -> list[tuple[str, Sequence[_Source]]]:
    """Files and folders of one name, with as much of their paths as tells them apart, in corpus and document."""
    firsts = [Path(given) for given, _ in groups]
    alike: dict[str, list[int]] = {}
    for number, (given, sources) in enumerate(groups):
        if sources and given != "standard input":
            alike.setdefault(sources[0].label if name else sources[0].corpus, []).append(number)
    for numbers in alike.values():
        paths = [Path(os.path.abspath(firsts[number])) for number in numbers]
        if len(set(paths)) < 2:
            continue
        depth = next(n for n in range(1, 4096) if len({path.parts[-1 - n :] for path in paths}) == len(set(paths)))
        for number, path in zip(numbers, paths, strict=True):
            before = "/".join(path.parts[-1 - depth : -1])
            groups[number] = (
                groups[number][0],
                [
                    replace(one, corpus=name or f"{before}/{one.corpus}", label=f"{before}/{one.label}")
                    for one in groups[number][1]
                ],
            )
    return groups


def _folder(folder: Path, corpus: str) -> list[_Source]:
    def failed(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=failed):
        folders[:] = [n for n in folders if not n.startswith(".")]
        found += [Path(parent, n) for n in names if not n.startswith(".") and _suffix(Path(n)) in _FORMATS]
    if not found:
        kinds = ", ".join(_FORMATS)
        raise CorpusError(
            f"The folder {folder} holds no corpus files.", f"Files that are read: {kinds}, also as .gz, .zst."
        )
    found.sort(key=lambda path: path.relative_to(folder).parts)
    return [_Source(corpus, path.relative_to(folder).as_posix(), path, _format(path)) for path in found]


def _format(path: Path) -> Format:
    suffix = _suffix(path)
    if suffix == ".json":
        raise CorpusError(
            f"{path} is a JSON document; expected JSON lines, one object per line.",
            f"Convert it: jq -c '.[]' {path.name} > {path.stem}.jsonl",
        )
    return _FORMATS.get(suffix, "text")


def _suffix(path: Path) -> str:
    """The suffix that tells the format: ``.txt`` of ``a.txt.gz``."""
    if path.suffix.lower() in _COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def _stem(name: str) -> str:
    """A file's name without the suffixes of format and compression."""
    path = Path(name)
    if path.suffix.lower() in _COMPRESSED:
        path = path.with_suffix("")
    return path.stem if path.suffix.lower() in _FORMATS else path.name


def _spooled(stream: BinaryIO) -> BinaryIO:
    """A copy that can be read more than once."""
    spool: BinaryIO = tempfile.TemporaryFile(prefix="lensbank-")  # noqa: SIM115 - closed with the corpus
    try:
        shutil.copyfileobj(stream, spool, 1 << 20)
    except BaseException:
        spool.close()
        raise
    return spool


@contextmanager
def _opened(source: _Source) -> Iterator[BinaryIO]:
    if source.spool is not None:
        source.spool.seek(0)
        yield source.spool
        return
    try:
        with source.path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(str(source.path), error) from error


def _unreadable(path: str, error: OSError) -> CorpusError:
    return CorpusError(f"{path} cannot be read: {error.strerror or error}.", "Check the file and its permissions.")
