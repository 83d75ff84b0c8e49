"""The texts in one open file, whatever its format: plain text, CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from ..schemas.errors import CorpusError

Format = Literal["text", "csv", "jsonl"]

#: A line beyond this is a mistake (a binary or minified file), and would fill the memory.
MAX_LINE_BYTES = 64 << 20
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TEXT_FIELDS = ("text", "sentence", "caption")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TextField:
    """How to find the text in a row.

    Attributes:
        file: for messages.
        name: the field asked for; ``None`` takes the only one, or one that is named ``text``,
            ``sentence`` or ``caption``.
    """

    file: str
    name: str | None

    def choose(self, fields: list[str]) -> str:
        """The field to read of those there are.

        Raises:
            CorpusError: it is not there, or none was named and several could be meant.
        """
        listed = ", ".join(fields) or "none"
        if self.name is not None:
            if self.name not in fields:
                raise CorpusError(
                    f"{self.file} has no field {self.name!r}; its fields are {listed}.", "Choose one with --text-field."
                )
            return self.name
        likely = [name for name in _TEXT_FIELDS if name in fields] or fields
        if len(likely) != 1:
            raise CorpusError(
                f"{self.file} has several fields and it is not clear which holds the text: {listed}.",
                "Name it with --text-field.",
            )
        return likely[0]


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
    lines = decoded_lines(stream, field.file)
    if kind == "csv":
        return _csv_texts(lines, field)
    if kind == "jsonl":
        return _jsonl_texts(lines, field)
    return enumerate(lines, 1)


def decoded_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    r"""Lines of a UTF-8 file, ``\n`` included, a byte order mark left out.

    Raises:
        CorpusError: a line with a zero byte, that is not UTF-8, or that is longer than
            :data:`MAX_LINE_BYTES`; names file and line.
    """
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES):
        number += 1
        if number == 1:
            if raw.startswith(_UTF16):
                raise CorpusError(
                    f"{name} is UTF-16; expected UTF-8.", f"Convert it: iconv -f UTF-16 -t UTF-8 '{name}'."
                )
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in raw:
            raise CorpusError(
                f"{name} is binary: line {number} holds a zero byte; expected text.",
                "Corpora are txt, csv or jsonl files, also as .gz or .zst.",
            )
        if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
            raise CorpusError(
                f"Line {number} of {name} is longer than {MAX_LINE_BYTES >> 20} MiB; expected a sentence or paragraph.",
                "Break it into lines.",
            )
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{name}, line {number}, is not UTF-8: byte {raw[error.start]:#04x} at column {error.start + 1}.",
                "Convert the file to UTF-8 (iconv), or mend that line.",
            ) from error


def guess_rows_format(stream: BinaryIO) -> Format:
    """JSON lines or CSV, by the first character that is no white space; the stream is rewound."""
    head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    stream.seek(0)
    return "jsonl" if head.startswith(b"{") else "csv"


def _csv_texts(lines: Iterator[str], field: TextField) -> Iterator[tuple[int, str]]:
    at, header_line = next(((n, line) for n, line in enumerate(lines, 1) if line.strip()), (1, ""))
    if not header_line:
        return
    # Only the header is looked at: texts are full of commas, names of columns are not.
    delimiter = max(",;\t", key=header_line.count)
    csv.field_size_limit(MAX_LINE_BYTES)
    try:
        # Read alone: a row may span lines, the header may not.
        header = [name.strip() for name in next(csv.reader([header_line], delimiter=delimiter, strict=True))]
        column = header.index(field.choose(header))
        rows, first, at = csv.reader(lines, delimiter=delimiter, strict=True), at, at + 1
        for row in rows:
            if len(row) == len(header):
                yield at, row[column]
            elif row:  # a blank line is an empty row
                raise CorpusError(
                    f"{field.file}, line {at}, has {len(row)} columns; the header has {len(header)}.",
                    "Mend that line; a text that holds the separator belongs in double quotes.",
                )
            at = first + rows.line_num + 1
    except csv.Error as error:
        raise CorpusError(
            f"{field.file}, line {at}, is not CSV: {error}.", 'A double quote inside quotes is written twice: "".'
        ) from error


def _jsonl_texts(lines: Iterator[str], field: TextField) -> Iterator[tuple[int, str]]:
    key: str | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(
                f"{field.file}, line {number}, is not JSON: {error}.", "Expected one JSON object per line (JSON lines)."
            ) from error
        if isinstance(row, str):
            text: object = row
        elif isinstance(row, dict):
            if key is None:
                texts = [name for name, value in row.items() if isinstance(value, str)]
                key = field.choose(list(row) if field.name is not None else texts)
            if key not in row:
                raise CorpusError(
                    f"{field.file}, line {number}, has no field {key!r}; its fields are {', '.join(row) or 'none'}.",
                    "Choose another with --text-field, or mend that line.",
                )
            text = row[key]
        else:
            text = row
        if text is None:
            continue
        if not isinstance(text, str):
            raise CorpusError(
                f"{field.file}, line {number}: expected a text, found {type(text).__name__}.",
                "Name the field that holds the text with --text-field.",
            )
        # JSON can spell lone surrogates, which are no characters and which no tokenizer takes.
        yield number, text if text.isascii() else _SURROGATES.sub("\ufffd", text)
