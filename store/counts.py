"""Rows counted in the engine against rows on record: what makes a bank complete, and what keeps it from that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..schemas.collection import RECORD_VERSION, BankRecord
from ..schemas.corpora import CorpusRecord
from ..schemas.errors import BankIncompleteError, StoreError
from ..schemas.filters import Condition
from ..schemas.plans import PlanRecord

#: Counts the rows that meet all conditions.
Count = Callable[[Sequence[Condition]], int]


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows as the engine counts them.

    Attributes:
        rows: all.
        named: corpus → rows that bear its name; a row may bear several.
        foreign: rows that bear none of these names.
    """

    rows: int
    named: Mapping[str, int]
    foreign: int


def count_named(count: Count, names: Iterable[str]) -> Counted:
    """Count a bank's rows by the names of its corpora."""
    names = tuple(dict.fromkeys(names))
    named = {name: count((Condition("corpus", "=", (name,)),)) for name in names}
    rows = count(())
    return Counted(rows, named, count((Condition("corpus", "!=", names),)) if names else rows)


def names_of(record: BankRecord, corpora: Iterable[CorpusRecord] = ()) -> tuple[str, ...]:
    """Names of the corpora on record, of those of its plan, and of others."""
    planned = record.plan.corpora if record.plan is not None else ()
    return tuple(dict.fromkeys((*(c.name for c in record.corpora), *planned, *(c.name for c in corpora))))


def restores(record: BankRecord, plan: PlanRecord) -> bool:
    """Whether a plan writes nothing but corpora that are on record: it puts back what is missing."""
    held = {(corpus.name, corpus.fingerprint) for corpus in record.corpora}
    return bool(plan.corpora) and set(plan.corpora.items()) <= held


def covers(record: BankRecord, plan: PlanRecord) -> bool:
    """Whether a plan writes every corpus on record again: what the bank holds is then not needed."""
    return bool(record.corpora) and set(plan.corpora.items()) == {(c.name, c.fingerprint) for c in record.corpora}


def with_corpora(record: BankRecord, corpora: Sequence[CorpusRecord]) -> tuple[CorpusRecord, ...]:
    """The record's corpora and the new ones, each once: a repeated ingest adds nothing."""
    images = record.identity.kind == "image"  # a set that is indexed again is what it is now
    every = {(corpus.name, "" if images else corpus.fingerprint): corpus for corpus in (*record.corpora, *corpora)}
    return tuple(every.values())


def opened(name: str, record: BankRecord, stored: int, counted: Counted) -> BankRecord:
    """The record of a bank that was opened for its plan, once its rows are counted; before the first new row.

    Where rows are gone that the plan had made durable, it begins again: they are written once more.

    Args:
        name: of the bank.
        record: from :func:`store.records.begun`.
        stored: rows at the last flush, as the store has noted them.
        counted: what is there.

    Raises:
        StoreError: it holds other rows than its record says, and this plan would not mend that.
    """
    if record.version < RECORD_VERSION:
        # Its rows were counted for the corpus that wrote them last, and perhaps with some that show nothing.
        corpora = tuple(replace(c, rows=counted.named[c.name]) for c in record.corpora)
        record = replace(record, corpora=corpora, version=RECORD_VERSION)
    plan = record.plan
    if plan is None:
        return record
    known = {corpus.name: corpus.rows for corpus in record.corpora}
    # Of a row that lost its corpus the same ingest makes a whole one again.
    missing = sum(max(0, rows - counted.named[one]) for one, rows in known.items())
    if counted.foreign and not (restores(record, plan) and counted.foreign <= missing):
        raise StoreError(
            f"Bank {name} holds {counted.foreign:,} rows of a corpus that is not on its record.",
            f"Drop the bank and ingest again: lensbank banks drop {name}. Or delete those rows; lensbank banks verify "
            f"{name} names them.",
        )
    wrong = [
        _differs(counted.named[one], one, rows)
        for one, rows in known.items()
        if one not in plan.corpora and counted.named[one] != rows
    ]
    if wrong and not restores(record, plan):
        raise StoreError(
            f"Bank {name} holds {' and '.join(wrong)}.",
            f"Ingest that corpus again to restore missing rows, or drop the bank: lensbank banks drop {name}.",
        )
    lost = counted.rows < stored or any(
        counted.named[one] < max(rows, known.get(one, 0)) for one, rows in plan.rows.items()
    )
    return replace(record, plan=plan.again()) if lost else record


@dataclass(frozen=True, slots=True)
class Settled:
    """What counting shows at the end of a plan.

    Attributes:
        record: to be written: of a complete bank where nothing differs.
        corpora: of the bank, with the rows that were counted.
        error: what differs; ``None`` where nothing does.
    """

    record: BankRecord
    corpora: tuple[CorpusRecord, ...]
    error: BankIncompleteError | None


def settle(name: str, record: BankRecord, corpora: Sequence[CorpusRecord], counted: Counted) -> Settled:
    """Compare what a bank holds with what it shall hold.

    Args:
        name: of the bank.
        record: as it is.
        corpora: what was written, each with the rows that it gave.
        counted: what is there.
    """
    known = {corpus.name: corpus.rows for corpus in record.corpora}
    own = [text for c in corpora if (text := (_own if record.plan is not None else _unplanned)(c, record, counted))]
    given = {corpus.name for corpus in corpora}
    others = {one: rows for one, rows in known.items() if one not in given and counted.named[one] != rows}
    every = tuple(replace(c, rows=counted.named[c.name]) for c in with_corpora(record, corpora))
    if own or counted.foreign:
        foreign = [f"{counted.foreign:,} rows of a corpus that is not on record"] if counted.foreign else []
        plan = record.plan.again() if record.plan is not None else None
        drop = f"lensbank banks drop {name}"
        error = BankIncompleteError(
            f"Bank {name} cannot be completed: it holds {' and '.join([*own, *foreign])}.",
            f"Drop the bank and ingest again: {drop}. Or delete those rows (lensbank banks verify {name} names them), "
            "and run the same command again."
            if foreign
            else f"Run the same command again: it writes all rows again. If that does not help, drop the bank: {drop}.",
        )
        return Settled(replace(record, plan=plan), every, error)
    if others:
        wrong = " and ".join(_differs(counted.named[one], one, rows) for one, rows in others.items())
        error = BankIncompleteError(
            f"The rows of {', '.join(given)} are stored in bank {name}, but the bank cannot be completed: it holds "
            f"{wrong}.",
            f"Also ingest {', '.join(others)} again to restore missing rows, or drop the bank: lensbank banks drop "
            f"{name}.",
        )
        kept = tuple(replace(c, rows=known[c.name]) if c.name in others else c for c in every)
        return Settled(replace(record, corpora=kept, plan=None), every, error)
    return Settled(record, every, None)


def _own(corpus: CorpusRecord, record: BankRecord, counted: Counted) -> str:
    """What is wrong with the rows of a corpus that was written; nothing: empty."""
    there, given = counted.named[corpus.name], corpus.rows
    earlier = [held for held in record.corpora if held.name == corpus.name]
    again = any(held.fingerprint == corpus.fingerprint and held.rows == given for held in earlier)
    if not earlier or again or record.identity.kind == "image":
        return "" if there == given else _differs(there, corpus.name, given)
    # Another corpus of the same name, or another choice from it, is there, too: they may share rows.
    before = max(held.rows for held in earlier)
    if max(before, given) <= there <= before + given:
        return ""
    return (
        f"{there:,} rows of corpus {corpus.name!r}, instead of the {before:,} that it held before {given:,} were "
        "written"
    )


def _unplanned(corpus: CorpusRecord, record: BankRecord, counted: Counted) -> str:
    """As :func:`_own`, of rows that no plan foretold: what is there counts, but no more than was given."""
    there, before = counted.named[corpus.name], sum(c.rows for c in record.corpora if c.name == corpus.name)
    if there <= before + corpus.rows:
        return ""
    return f"{there:,} rows of corpus {corpus.name!r} instead of {before + corpus.rows:,}"


def _differs(there: int, name: str, expected: int) -> str:
    return f"{there:,} rows of corpus {name!r} instead of the {expected:,} on record"
