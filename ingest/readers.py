"""The texts in one open file, whatever its format: plain text, CSV or JSON lines."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

from ..schemas.errors import CorpusError
from .fields import TextField
from .foreign import require_text
from .key_paths import NOTHING_THERE, at_path, key_paths
from .tables import csv_texts

Format = Literal["text", "csv", "jsonl"]

#: A line beyond this is a mistake (a binary or minified file), and would fill the memory.
MAX_LINE_BYTES = 64 << 20
_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
_DIGITS = 1000
# Line and paragraph separator, next line: in plain text they end a line, and stand nowhere else.
_SEPARATORS = re.compile("[\u2028\u2029\x85]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def read_texts(stream: BinaryIO, kind: Format, field: TextField) -> Iterator[tuple[int, str]]:
    """The texts of a file.

    Args:
        stream: its decompressed content.
        kind: its format.
        field: which column or key; not looked at for plain text.

    Yields:
        The line where a text starts (from 1) and the text, white space untouched.

    Raises:
        CorpusError: binary, not UTF-8, a row that cannot be read, no such field.
    """
    require_text(stream, field.file)
    lines = decoded_lines(stream, field.file)
    if kind == "text":
        return _text_lines(lines, field)
    rows = csv_texts(lines, field, MAX_LINE_BYTES) if kind == "csv" else _jsonl_texts(lines, field)
    return _with_text(rows, field)


def _text_lines(lines: Iterator[str], field: TextField) -> Iterator[tuple[int, str]]:
    """Lines of plain text; those of Unicode's own separators have the number of the line that they are in."""
    first = True
    for number, line in enumerate(lines, 1):
        if first and line.strip():
            first = False
            if _is_json_row(line):
                field.remarks.say(
                    f"{field.file} is read as plain text, although its first line is JSON. To read JSON lines, name "
                    "the field that holds the text with --text-field."
                )
        for part in _SEPARATORS.split(line):
            yield number, part


def _is_json_row(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line, parse_int=_whole_number), dict)
    except (ValueError, RecursionError):
        return False


def is_json_lines(head: bytes) -> bool:
    """Whether a file that begins so holds a JSON object on its first line."""
    line = next((line for line in head.removeprefix(_MARK).splitlines() if line.strip()), b"")
    return _is_json_row(line.decode("utf-8", "replace"))


def _with_text(rows: Iterator[tuple[int, str | None]], field: TextField) -> Iterator[tuple[int, str]]:
    """The rows that have one; the others are counted."""
    for line, text in rows:
        if text is None or not text.strip():
            field.remarks.without_text(field.file)
        else:
            yield line, text


def decoded_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    r"""Lines of a UTF-8 file, their ends included (``\n``, ``\r\n``, or ``\r`` of old Macintosh files), without marks.

    A byte order mark may begin any line, where files were put one after the other.

    Raises:
        CorpusError: a line with a zero byte, that is not UTF-8, or that is longer than
            :data:`MAX_LINE_BYTES`; names file and line.
    """
    for number, raw in enumerate(_raw_lines(stream), 1):
        raw = raw.removeprefix(_MARK)
        if b"\0" in raw:
            raise CorpusError(
                f"{name} is binary: line {number} holds a zero byte; expected text.",
                "Corpora are txt, csv or jsonl files, also compressed (gz, zst, bz2, xz).",
            )
        if len(raw) > MAX_LINE_BYTES or (len(raw) == MAX_LINE_BYTES and not raw.endswith((b"\n", b"\r"))):
            raise CorpusError(
                f"Line {number} of {name} is longer than {MAX_LINE_BYTES >> 20} MiB; expected a sentence or paragraph.",
                "Break it into lines.",
            )
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{name}, line {number}, is not UTF-8: byte {raw[error.start]:#04x} at column {error.start + 1}.",
                "Convert the file to UTF-8 (iconv), or correct that line.",
            ) from error


def _raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines as they are; one that is longer than is allowed comes without its end."""
    rest = b""
    # Reading as much again as is held keeps the copying of a long line within twice its length.
    while chunk := stream.read(max(_CHUNK, len(rest))):
        lines = (rest + chunk).splitlines(keepends=True)
        # The last may go on; after a carriage return a line feed may follow.
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
        yield from lines
        if len(rest) >= MAX_LINE_BYTES:
            yield rest[:MAX_LINE_BYTES]
            return
    yield from rest.splitlines(keepends=True)


def guess_rows_format(stream: BinaryIO) -> Format:
    """JSON lines or CSV, by the first character that is no white space; the stream is rewound."""
    head = stream.read(4096).removeprefix(_MARK).lstrip()
    stream.seek(0)
    return "jsonl" if head.startswith(b"{") else "csv"


def _jsonl_texts(lines: Iterator[str], field: TextField) -> Iterator[tuple[int, str | None]]:
    key, rows = None, _JsonRows(field.file)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = rows.read(line, number)
        if key is None and isinstance(row, dict) and row:
            # A null may stand where other rows have their text.
            texts = [name for name, value in row.items() if value is None or isinstance(value, str)]
            there = field.name is not None and at_path(row, field.name) is not NOTHING_THERE
            key = field.name if there else field.choose(texts if field.name is None else key_paths(row))
            if field.name is None and key is not None and len(row) > 1 and not field.is_usual(key):
                field.remarks.say(f"{field.file}: texts are read from {key!r}, the only field with a text.")
        if rows.doubled and key is not None and (twice := rows.doubled & {key, *key.split(".")}):
            raise CorpusError(
                f"{field.file}, line {number}, has a key twice: {', '.join(sorted(twice))}. One text would be lost.",
                "Correct that line.",
            )
        if isinstance(row, list) and row and isinstance(row[0], dict | list):
            raise CorpusError(
                f"{field.file}, line {number}, is a JSON array; expected one object per line (JSON lines).",
                f"Convert it: jq -c '.[]' {field.file}",
            )
        text = row if not isinstance(row, dict) else at_path(row, key) if key is not None else None
        if text is NOTHING_THERE and row:
            raise CorpusError(
                f"{field.file}, line {number}, has no field {key!r}; its fields are {', '.join(key_paths(row))}.",
                "Choose another field with --text-field, or correct that line.",
            )
        if text is NOTHING_THERE:
            text = None
        if text is not None and not isinstance(text, str):
            raise CorpusError(
                f"{field.file}, line {number}: expected a text, found {type(text).__name__}.",
                "Name the field that holds the text with --text-field.",
            )
        # JSON can spell lone surrogates, which are no characters and which no tokenizer takes.
        yield number, text if text is None or text.isascii() else _SURROGATES.sub("\ufffd", text)


class _JsonRows:
    """Reads lines of JSON.

    Attributes:
        doubled: keys that an object of the last line had twice, of which JSON keeps the last.
    """

    def __init__(self, file: str) -> None:
        self.doubled: set[str] = set()
        self._file = file
        self._decode = json.JSONDecoder(parse_int=_whole_number, object_pairs_hook=self._table).decode

    def _table(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self.doubled.update(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return found

    def read(self, line: str, number: int) -> Any:
        """What a line holds.

        Raises:
            CorpusError: no JSON, or nested too deeply.
        """
        self.doubled.clear()
        try:
            return self._decode(line)
        except (ValueError, RecursionError) as error:
            said = "nested too deeply" if isinstance(error, RecursionError) else f"not JSON: {error}"
            raise CorpusError(
                f"{self._file}, line {number}, is {said}.", "Expected one JSON object per line (JSON lines)."
            ) from error


def _whole_number(digits: str) -> int | float:
    """A whole number beside the text; of more digits than Python converts, about so much."""
    return int(digits) if len(digits) < _DIGITS else float(digits)
