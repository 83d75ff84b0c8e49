"""What banks hold already of what is about to be written: where an ingest goes on, and whether it has work to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ..models.tokens import BulkTokenizer
from ..schemas.collection import RECORD_VERSION
from ..schemas.errors import StoreError
from ..schemas.plans import PlanRecord
from ..schemas.progress import Progress
from ..store.found import BankInfo
from ..store.records import begun
from ..store.store import Store
from ..store.writing import BankWriter
from .planning import Selection
from .rows import BatchRows
from .texts import Texts
from .work import Done

#: Sentences whose rows are looked for before their record is believed.
_LOOKED_FOR = 64


def lacks_rows(store: Store, info: BankInfo, names: Collection[str], progress: Progress) -> bool:
    """Whether a complete bank holds other rows of these corpora than its record says, or rows of none on record.

    They are written again then; of rows that belong to nothing the writer says what can be done.

    Args:
        store: that holds it.
        info: the bank.
        names: of the corpora.
        progress: told so.
    """
    try:
        with store.open(info.name, allow_incomplete=True) as bank:
            if info.record.version < RECORD_VERSION:  # there, a row of several corpora counted for one of them
                missing = bank.balance().missing
                wrong = [f"{missing:,} rows fewer than on record"] if missing else []
            else:
                counted = bank.counted()
                there = counted.named
                wrong = [
                    f"{there[corpus.name]:,} rows of corpus {corpus.name!r} instead of the {corpus.rows:,} on record"
                    for corpus in info.record.corpora
                    if corpus.name in names and there[corpus.name] != corpus.rows
                ]
                if counted.foreign and not wrong:
                    wrong = [f"{counted.foreign:,} rows of a corpus that is not on record"]
    except StoreError as error:  # the writer looks closer, and says what can be done
        wrong = [f"rows that cannot be read: {error.message}"]
    if wrong:
        held = " and ".join(wrong).rstrip(".")
        progress.note(f"Bank {info.name} holds {held}. All rows of this corpus are written again.")
    return bool(wrong)


class Reached:
    """How far a plan has come whose sentences are done in any order: up to the first that is not.

    Args:
        stored: the plan, as far as it was done before.
    """

    def __init__(self, stored: PlanRecord) -> None:
        """Nothing new."""
        self._plan = stored
        self._ahead: dict[int, Done] = {}

    def add(self, done: Done) -> PlanRecord:
        """More is done; returns the plan with what is done up to the first gap."""
        self._ahead[done.first] = done
        rows, end = Counter(self._plan.rows), self._plan.done
        while (following := self._ahead.pop(end, None)) is not None:
            rows.update(following.rows)
            end = following.end
        if end > self._plan.done:
            self._plan = self._plan.at(end, rows)
        return self._plan


def already_done(info: BankInfo, planned: PlanRecord) -> int:
    """Sentences of the plan that a bank holds, as it says now; the writer asks again, under its lock.

    Raises:
        BankIncompleteError: it waits for the end of another plan.
    """
    plan = begun(info.name, info.record, planned, lambda: info.rows == 0).plan
    return plan.done if plan is not None else 0


def going_on(
    writer: BankWriter, planned: PlanRecord, selection: Selection, texts: Texts, tokenizer: BulkTokenizer
) -> PlanRecord:
    """The plan as far as it is done: on record, and found in the banks where that is looked for.

    A record may have been put beside rows that are not its own. Where rows of the plan are missing, all
    are written again, and counted at the end.

    Args:
        writer: of the banks.
        planned: from its beginning.
        selection: what was chosen.
        texts: its sentences.
        tokenizer: the model's.

    Raises:
        StoreError: the banks cannot be asked.
    """
    stored = writer.plan or planned
    if not stored.done:
        return stored
    count = min(stored.done, _LOOKED_FOR)
    ids: list[str] = []
    for number in range(count):
        place = number * (stored.done - 1) // max(1, count - 1)
        ids += BatchRows(selection, texts, tokenizer, place, place + 1).ids_and_payloads()[0]
    return stored.again() if writer.missing(ids) else stored
