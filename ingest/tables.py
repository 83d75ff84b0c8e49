"""The texts in the rows of a CSV or TSV file."""

from __future__ import annotations

import csv
import re
import threading
from collections import deque
from collections.abc import Iterator
from itertools import chain

from ..schemas.errors import CorpusError
from .fields import TextField

#: Lines that a quoted cell of a TSV file may span: beyond, the quote is taken for a character of the text.
_SPAN = 64
_BOUND = threading.RLock()
_NAMED = re.compile(r'"?sep=([,;|\t])"?')
_ENDS = tuple(".!?…。！？।؟")


def csv_texts(lines: Iterator[str], field: TextField, longest: int) -> Iterator[tuple[int, str]]:
    """The texts of one column.

    Args:
        lines: of the file, with their ends.
        field: which column.
        longest: characters that a cell may have.

    Yields:
        The line where a row starts (from 1) and its text.

    Raises:
        CorpusError: a row that cannot be read, no such column.
    """
    at, header_line = next(((n, line) for n, line in enumerate(lines, 1) if line.strip()), (1, ""))
    if not header_line:
        return
    delimiter = _delimiter(header_line, field.file)
    if named := _NAMED.fullmatch(header_line.strip()):  # as Excel writes it
        delimiter, header_line, at = named[1], next(lines, ""), at + 1
    header = _header(header_line, delimiter, field.file, at, longest)
    if field.name is None and len(header) == 1 and _is_text(header[0]):
        field.remarks.say(
            f"{field.file} has one column and no header: its first line ({header[0]!r}) is read as a text."
        )
        lines, at = chain([header_line], lines), at - 1
        column = 0
    else:
        column = header.index(chosen := field.choose(header))
        if header.count(chosen) > 1:
            raise CorpusError(f"{field.file} has several columns named {chosen!r}.", "Give each another name.")
        if len(header) == 1 and field.name is None and not field.is_usual(header[0]):
            field.remarks.say(f"{field.file}: the first line, {header[0]!r}, is read as the name of the column.")
    rows = (
        _tsv_rows(lines, len(header), longest)
        if delimiter == "\t"
        else _csv_rows(lines, delimiter, field.file, at, longest)
    )
    for first, row in rows:
        if len(row) == len(header):
            yield at + first, row[column]
        elif row:  # a blank line is an empty row
            raise CorpusError(
                f"{field.file}, line {at + first}, has {len(row)} columns; the header has {len(header)}.",
                "Correct that line; put a text that contains the separator in double quotes.",
            )


def _delimiter(header: str, file: str) -> str:
    # Only the header is looked at: texts are full of commas, names of columns are not.
    if ".tsv" in file.lower() and ("\t" in header or _is_text(header)):
        return "\t"
    return max(",;\t|", key=header.count)


def _header(line: str, delimiter: str, file: str, at: int, longest: int) -> list[str]:
    if delimiter == "\t":
        return [_unquoted(name).strip() for name in line.rstrip("\r\n").split("\t")]
    # Read alone: a row may span lines, the header may not.
    return [name.strip() for _, names in _csv_rows(iter([line]), delimiter, file, at - 1, longest) for name in names]


def _is_text(name: str) -> bool:
    """Whether the one name of a column is rather a text of it."""
    return len(name.split()) > 2 or name.rstrip("'\"”»").endswith(_ENDS)


def _csv_rows(
    lines: Iterator[str], delimiter: str, file: str, before: int, longest: int
) -> Iterator[tuple[int, list[str]]]:
    """Rows, and the line that each starts on, from 1."""
    rows, at = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True), 1
    try:
        while (row := _next_row(rows, longest)) is not None:
            yield at, row
            at = rows.line_num + 1
    except csv.Error as error:
        raise CorpusError(
            f"{file}, line {before + at}, is not CSV: {error}.", 'Write a double quote inside of quotes twice: "".'
        ) from error


def _next_row(rows: Iterator[list[str]], longest: int) -> list[str] | None:
    """The next row, by a bound on its cells that holds for this row alone: csv has one for the whole process."""
    with _BOUND:
        others = csv.field_size_limit(longest)
        try:
            return next(rows, None)
        finally:
            csv.field_size_limit(others)


def _tsv_rows(lines: Iterator[str], width: int, longest: int) -> Iterator[tuple[int, list[str]]]:
    """Likewise of lines with tabs, where a quote that closes nothing is a character of the text.

    Tab-separated files are written in two ways: with no quotes at all, so that one in a text means itself, and
    as CSV is, where cells with quotes, tabs or line breaks stand in quotes. Well-formed cells lose their quotes; a
    cell that only opens one takes in the following lines, if the row is then of the right width, and else keeps it.
    """
    waiting: deque[str] = deque()
    at = 1
    while True:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        used, cells = 1, line.rstrip("\r\n").split("\t")
        if '"' in line and any(_is_open(cell) for cell in cells):
            used, cells = _joined(line, cells, lines, waiting, width, longest)
        yield at, [] if cells == [""] else [_unquoted(cell) for cell in cells]
        at += used


def _joined(
    line: str, cells: list[str], lines: Iterator[str], waiting: deque[str], width: int, longest: int
) -> tuple[int, list[str]]:
    """A row with a cell whose quotes do not close in it: how many lines it takes, and its cells as they are written."""
    text = line
    for more in range(_SPAN):
        found = _strictly(text, longest)
        if found is not None and len(found) == width:
            for _ in range(more):
                waiting.popleft()
            return more + 1, [f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in found]
        if len(waiting) <= more:
            following = next(lines, None)
            if following is None:
                break
            waiting.append(following)
        # A line that is a row by itself is not the rest of this one.
        if len(cells) == width and waiting[more].rstrip("\r\n").count("\t") == width - 1 and width > 1:
            break
        text += waiting[more]
    return 1, cells


def _strictly(text: str, longest: int) -> list[str] | None:
    """The cells of one row as CSV has it, or nothing."""
    try:
        # As one line: a break outside of quotes is an error then, and Unicode's separators break nothing.
        return _next_row(csv.reader([text], delimiter="\t", strict=True), longest)
    except csv.Error:
        return None


def _is_open(cell: str) -> bool:
    """Whether a cell begins with a quote that does not close at its end."""
    return cell.startswith('"') and _unquoted(cell) == cell


def _unquoted(cell: str) -> str:
    """The cell less its quotes, where they are well formed."""
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"':
        return cell
    inner = cell[1:-1].replace('""', "\0")
    return cell if '"' in inner else inner.replace("\0", '"')
