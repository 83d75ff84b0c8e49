"""The files that a corpus is made of: found, given distinct names, opened."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ..schemas.errors import CorpusError
from ..schemas.files import kind_of, standard_input
from ..schemas.names import escaped
from .decompression import decompressed
from .readers import Format, is_json_lines

_FORMATS: dict[str, Format] = {
    ".txt": "text",
    ".text": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
#: Bytes of a .json file that are looked at: JSON lines have a whole object on their first.
_PEEK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a corpus.

    Attributes:
        corpus: name of its corpus.
        label: what it is called on record.
        path: where it is.
        kind: what it holds; ``None`` where that is to be guessed.
        spool: holds what can be read only once.
    """

    corpus: str
    label: str
    path: Path
    kind: Format | None
    spool: BinaryIO | None = None


def group_of(given: str, name: str | None, stdin: BinaryIO | None) -> tuple[str, Sequence[Source]]:
    """What a path of the command line stands for, and its files; ``-`` is standard input.

    Raises:
        CorpusError: it is missing, cannot be read or is of an unknown kind.
    """
    if given == "-":
        spool = _spooled(stdin or standard_input())
        return "standard input", [Source(name or "stdin", "stdin", Path("-"), None, spool)]
    path = Path(given)
    try:
        if path.is_dir():
            return given, _folder(path, name or _stem(path.resolve().name))
        if not path.exists():
            raise CorpusError(f"There is no file {given}.", "Check the path; - reads standard input.")
        if path.is_file():
            return given, [Source(name or _stem(path.name), path.name, path, _format(path))]
        if not path.is_fifo():
            raise CorpusError(f"{given} is {kind_of(path)}; expected a text, CSV or JSON lines file, or a folder.")
        with path.open("rb") as pipe:  # a named pipe, <(...) in a shell: it can be read once
            return given, [Source(name or _stem(path.name), path.name, path, None, _spooled(pipe))]
    except OSError as error:
        raise _unreadable(given, error) from error


def told_apart(groups: list[tuple[str, Sequence[Source]]], name: str | None) -> list[tuple[str, Sequence[Source]]]:
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


def writable(source: Source) -> Source:
    """The same, with names that can be written: bytes that are no UTF-8 are spelt out."""
    return replace(source, corpus=escaped(source.corpus), label=escaped(source.label))


def _folder(folder: Path, corpus: str) -> list[Source]:
    def failed(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=failed):
        folders[:] = [n for n in folders if not n.startswith(".")]
        found += [Path(parent, n) for n in names if not n.startswith(".") and _suffix(Path(n)) in _FORMATS]
    if not found:
        kinds = ", ".join(_FORMATS)
        raise CorpusError(
            f"The folder {folder} holds no corpus files.",
            f"Files that are read: {kinds}, also compressed ({', '.join(_COMPRESSED)}).",
        )
    found.sort(key=lambda path: path.relative_to(folder).parts)
    return [Source(corpus, path.relative_to(folder).as_posix(), path, _format(path)) for path in found]


def _format(path: Path) -> Format:
    suffix = _suffix(path)
    if suffix == ".json":
        with path.open("rb") as file, decompressed(file, path.name) as content:
            if is_json_lines(content.read(_PEEK)):
                return "jsonl"
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
def opened(source: Source) -> Iterator[BinaryIO]:
    """A source from its start.

    Raises:
        CorpusError: it cannot be read.
    """
    if source.spool is not None:
        source.spool.seek(0)
        yield source.spool
        return
    try:
        with source.path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(str(source.path), error) from error


def size_of(source: Source) -> int:
    """Bytes of a file as it lies there, 0 of what is no file.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        return source.path.stat().st_size if source.spool is None else 0
    except OSError as error:
        raise _unreadable(str(source.path), error) from error


def _unreadable(path: str, error: OSError) -> CorpusError:
    return CorpusError(f"{path} cannot be read: {error.strerror or error}.", "Check the file and its permissions.")
