"""Every row of a bank gone over, without vectors: what is missing, what is foreign, what is not as it was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..schemas.collection import RECORD_VERSION
from ..schemas.errors import StoreError
from ..schemas.kinds import fault_of
from ..schemas.payload import corpora_of
from ..store.bank import Bank

_EXAMPLES = 3

#: A row: its id and its payload.
BareRow = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows of which one thing is wrong.

    Attributes:
        what: a clause about them, ``of which 'word' is missing``.
        count: how many.
        examples: the first ones: their ids, with what else there is to say.
    """

    what: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        """As a line."""
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count:,} {'row' if self.count == 1 else 'rows'} {self.what}: {', '.join(self.examples)}{more}"


class Findings:
    """Collects what is wrong with rows, by kind, with a few examples of each."""

    def __init__(self) -> None:
        """Nothing is wrong."""
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, what: str, example: str) -> None:
        """Count one row."""
        self._counts[what] += 1
        examples = self._examples.setdefault(what, [])
        if len(examples) < _EXAMPLES:
            examples.append(example)

    def found(self) -> tuple[Finding, ...]:
        """Most frequent first."""
        return tuple(Finding(what, n, tuple(self._examples[what])) for what, n in self._counts.most_common())


@dataclass(frozen=True, slots=True)
class RowsReport:
    """What going over a bank has found.

    Attributes:
        bank: its name.
        rows: that are there.
        differences: between rows counted and rows on record, a clause each.
        findings: rows that are foreign or changed.
    """

    bank: str
    rows: int
    differences: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether it holds what is on record, and nothing else."""
        return not self.differences and not self.findings

    def lines(self) -> list[str]:
        """The report for people."""
        said = "those on record" if self.passed else "NOT those on record"
        return [
            f"{self.bank}: {self.rows:,} rows checked: {said}",
            *(f"  {one}" for one in (*self.differences, *self.findings)),
        ]


def pages(bank: Bank) -> Iterator[list[BareRow]]:
    """All rows in id order, without vectors.

    Raises:
        StoreError: reading failed.
    """
    for page in bank.pages():
        yield [(name, payload) for name, _, payload in page]


def go_over(bank: Bank, advance: Callable[[int], None] = lambda count: None) -> RowsReport:
    """Read all ids and payloads; count by corpus, and compare with the record.

    Args:
        bank: open; of an unfinished one, rows are not counted against its record.
        advance: called with the number of rows of each page.

    Raises:
        StoreError: the bank cannot be read.
    """
    findings, named, rows, kind = Findings(), Counter[str](), 0, bank.record.identity.kind
    planned = bank.record.plan.corpora if bank.record.plan is not None else ()
    known = {corpus.name for corpus in bank.record.corpora} | set(planned)
    for page in pages(bank):
        for name, payload in page:
            fault = fault_of(kind, name, payload)
            if fault is not None:
                findings.add(_clause(*fault), name)
            if fault is None or fault[0] not in ("id", "corpus"):
                corpora = corpora_of(payload) if fault is None else _corpora(payload)
                named.update(corpora)
                if known.isdisjoint(corpora):
                    findings.add("of no corpus on record", f"{name} ({', '.join(corpora) or 'none'})")
        rows += len(page)
        advance(len(page))
    return RowsReport(bank.name, rows, tuple(_differences(bank, named, rows)), findings.found())


def foreign_row(bank: Bank, point_id: str, field: str, what: str) -> StoreError:
    """The error that names a row which cannot be copied, and what :func:`schemas.payload.row_fault` says of it."""
    return StoreError(
        f"Point {point_id} of bank {bank.name} in {bank.address} was not written by lensbank, or was changed: its "
        f"{field} {what}.",
        f"lensbank banks verify {bank.name} names all such rows. Delete those rows; if rows are missing afterwards, "
        "ingest the same corpus again to restore them.",
    )


def require_own_rows(bank: Bank) -> None:
    """Refuse a bank with a row that this program did not write, or that was changed.

    Raises:
        StoreError: naming the first of them, and its field; or reading failed.
    """
    for page in pages(bank):
        for name, payload in page:
            if fault := fault_of(bank.record.identity.kind, name, payload):
                raise foreign_row(bank, name, *fault)


def _clause(field: str, what: str) -> str:
    return "whose id is a number (ids made by lensbank are UUIDs)" if field == "id" else f"of which {field!r} {what}"


def _corpora(payload: Mapping[str, Any]) -> Sequence[str]:
    """The names in a payload of which something else is wrong."""
    names = payload.get("corpus")
    if isinstance(names, str):
        return (names,)
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list | tuple) else ()


def _differences(bank: Bank, named: Mapping[str, int], rows: int) -> Iterator[str]:
    """What a complete bank holds less or more than its record says."""
    record = bank.record
    if record.state != "complete":
        return
    if balance := bank.balance():
        yield balance.in_words()
    if record.version >= RECORD_VERSION:  # before, a row of several corpora counted for one of them
        for corpus in record.corpora:
            if named[corpus.name] != corpus.rows:
                yield f"corpus {corpus.name!r}: {named[corpus.name]:,} rows found, {corpus.rows:,} on record"
