"""Whether a complete bank holds the rows on record: asked whenever it is opened, and when banks are listed."""

from __future__ import annotations

from dataclasses import dataclass

from ..schemas.collection import RECORD_VERSION, BankRecord
from .counts import Counted


@dataclass(frozen=True, slots=True)
class Balance:
    """How the rows that are there differ from those on record.

    Attributes:
        missing: rows that are gone, at least.
        extra: rows that are there beside those on record, at least.
        damage: what is wrong with the bank's files; empty where nothing is, or where that is not known.
        about: whether rows were estimated, not counted.
    """

    missing: int = 0
    extra: int = 0
    damage: str = ""
    about: bool = False

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.missing or self.extra or self.damage)

    def in_words(self) -> str:
        """For people: ``3 rows missing, 1 row not on record``; nothing where nothing differs."""
        about = "about " if self.about else ""
        said = [self.damage] if self.damage else []
        said += [f"{about}{_rows(self.missing)} missing"] if self.missing else []
        said += [f"{about}{_rows(self.extra)} not on record"] if self.extra else []
        return ", ".join(said)


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def balance(record: BankRecord, noted: int | None, counted: Counted, *, about: bool = False) -> Balance:
    """Compare what was counted with what is on record.

    Args:
        record: of a complete bank; of another nothing is expected.
        noted: rows at the last flush; ``None`` where they are not on record.
        counted: all rows, and as far as they are known those of each corpus.
        about: whether this is an estimate.
    """
    if record.state != "complete":
        return Balance()
    missing = extra = 0
    if noted is not None:
        missing, extra = noted - counted.rows, counted.rows - noted
    if record.version >= RECORD_VERSION:  # before, a row of several corpora counted for one of them
        gaps = [c.rows - counted.named[c.name] for c in record.corpora if c.name in counted.named]
        missing = max([missing, *gaps])
        extra = max([extra, counted.foreign, *(-gap for gap in gaps)])
    return Balance(max(0, missing), max(0, extra), about=about)


def on_record(record: BankRecord, noted: int) -> Balance:
    """Whether a record contradicts itself: every row is of a corpus on record, and no corpus has more rows than all."""
    if record.state != "complete" or record.version < RECORD_VERSION or not record.corpora:
        return Balance()
    rows = [corpus.rows for corpus in record.corpora]
    return Balance(missing=max(0, max(rows) - noted), extra=max(0, noted - sum(rows)))
