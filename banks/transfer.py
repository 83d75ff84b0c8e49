"""Banks from one store into another: compared, copied, compared again, and only then complete.

Rows are read in id order, so what an interrupted run has stored is found again by comparing, and
nothing needs to be remembered beside the banks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ..schemas.collection import RECORD_VERSION
from ..schemas.corpora import CorpusRecord
from ..schemas.errors import GaveUpError, LeavingError, StoreError
from ..schemas.plans import PlanRecord, copy_plan
from ..schemas.progress import Progress, phase_of
from ..store.bank import Bank
from ..store.found import BankInfo
from ..store.records import begun
from ..store.store import Store
from ..store.unfinished import require_complete
from .checksums import TOLERANCE, Checksum, Comparison, checksum, compare, rows_of
from .portions import Portion, rows_wanted
from .row_check import require_own_rows
from .stopping import NeverStopping, Stopping

# Rows per put; storing goes on while the next ones are read.
_CHUNK_BYTES = 2 << 20
_FLUSH_SECONDS = 10.0
_LEAVING_SECONDS = 20.0


@dataclass(slots=True)
class Moved:
    """What has become of one bank.

    Attributes:
        name: of the bank.
        rows: rows of the source, all of which the target holds now.
        vector_dtype: as stored.
        copied: rows that were written.
        extra: rows of the target that the source does not have.
        rounded: rows whose vectors differ by rounding.
        checksum: of the source's rows.
        seconds: that copying took; reading and comparing before and after not counted.
    """

    name: str
    rows: int
    vector_dtype: str
    copied: int = 0
    extra: int = 0
    rounded: int = 0
    checksum: Checksum = field(default_factory=Checksum)
    seconds: float = 0.0

    def found(self, result: Comparison) -> None:
        """Take over what comparing the two banks has shown."""
        self.extra, self.rounded, self.checksum = result.extra, result.rounded, result.here

    def line(self) -> str:
        """For people."""
        if self.copied:
            rate = f" at {self.copied / self.seconds:,.0f} rows/s" if self.seconds > 0 else ""
            what = f"copied {self.copied:,} of {self.rows:,} rows{rate}"
        else:
            what = f"nothing to copy: all {self.rows:,} rows are in the target already"
        if self.extra:
            what += f"; the target also has {self.extra:,} of other corpora"
        same = "all bit for bit the same"
        if self.rounded:
            same = f"{self.rounded:,} vectors within {TOLERANCE[self.vector_dtype]:.0e}, the rest bit for bit"
        return f"{self.name}: {what}; verified, {same} ({self.checksum})."


@dataclass(frozen=True)
class Transfer:
    """Copies banks of ``source`` into ``target``.

    Attributes:
        source: where the banks are.
        target: where they shall be, too.
        progress: told what happens.
        stopping: asked between portions; ends the copy with what is in hand stored.
    """

    source: Store
    target: Store
    progress: Progress
    stopping: Stopping = NeverStopping()

    def run(self, infos: Sequence[BankInfo]) -> list[Moved]:
        """Copy banks one after the other; all are looked at before any is touched.

        Args:
            infos: banks of the source, see :func:`choose`.

        Raises:
            BankIncompleteError: a bank here is not complete, or there waits for something else.
            BankMismatchError: the target's bank was made by another model or other settings.
            StoreLockedError: somebody writes to a bank, or (embedded) reads the target's.
            StoreFullError: there is no room.
            StoreError: reading or writing failed, or what was written is not what was read.
        """
        there = {info.name: info for info in self.target.list()}
        for info in infos:
            require_complete(info.name, info.record, self.source.address)
            if info.name in there:
                there[info.name].record.identity.require_match(info.record.identity)
        stopping = self.stopping
        with self.source.heeding(lambda: stopping.requested), self.target.heeding(lambda: stopping.requested):
            return [self._move(info, there.get(info.name)) for info in infos]

    def _move(self, info: BankInfo, there: BankInfo | None) -> Moved:
        with self.source.open(info.name) as bank:
            corpora = self._counted(bank)
            plan = copy_plan(self.source.address, info.record.created, {c.name: c.fingerprint for c in corpora})
            if there is not None and there.record.state == "building" and there.rows:
                begun(info.name, there.record, plan, lambda: False)  # refused before rows are compared, not after
            before = self._compare(bank) if there is not None and there.rows else None
            done = Moved(info.name, bank.count(), info.record.identity.vector_dtype)
            if before is None or before.wanted:
                if before is not None and before.present:
                    self.progress.note(
                        f"Bank {info.name}: {before.present:,} of {before.here.rows:,} rows are in the target "
                        f"already; {before.wanted:,} to copy."
                    )
                began = time.monotonic()
                here = self._copy(bank, info, plan, before)
                done.copied, done.seconds = before.wanted if before else here.rows, time.monotonic() - began
                self._verify(bank, here, done, before)
            else:
                done.found(before)
            if done.copied or there is None or not _holds(there, info):
                self._finish(info, done.rows, plan, corpora)
        return done

    def _counted(self, bank: Bank) -> tuple[CorpusRecord, ...]:
        """The corpora on record, with the rows that are there.

        Raises:
            StoreError: the bank holds other rows than its record says.
        """
        record = bank.record
        counted = bank.counted()
        wrong = [
            f"{counted.named[corpus.name]:,} rows of corpus {corpus.name!r} instead of the {corpus.rows:,} on record"
            for corpus in record.corpora
            if record.version >= RECORD_VERSION and counted.named[corpus.name] != corpus.rows
        ]
        wrong += [f"{counted.foreign:,} rows of a corpus that is not on record"] if counted.foreign else []
        if wrong:
            require_own_rows(bank)  # where one is not, its name says more
            raise StoreError(
                f"Bank {bank.name} in {self.source.address} holds {' and '.join(wrong)}, so it was not copied.",
                "Ingest that corpus into the source again to restore missing rows, or drop the bank in the source.",
            )
        return tuple(replace(corpus, rows=counted.named[corpus.name]) for corpus in record.corpora)

    def _compare(self, bank: Bank) -> Comparison:
        self.progress.start(f"Comparing {bank.name}", bank.count(), "rows")
        with self._open_target(bank.name) as other:
            result = compare(bank, other, self.progress.advance)
        self.progress.finish()
        return result

    @contextmanager
    def _open_target(self, name: str) -> Iterator[Bank]:
        """The target's bank, also where the writer of a killed run is just leaving it."""
        deadline = time.monotonic() + _LEAVING_SECONDS
        while True:
            try:
                bank = self.target.open(name, allow_incomplete=True)
                break
            except LeavingError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        with bank:
            yield bank

    def _copy(self, bank: Bank, info: BankInfo, plan: PlanRecord, before: Comparison | None) -> Checksum:
        """Write the rows wanted; returns the checksum of all."""
        total, identity, rows = Checksum(), info.record.identity, bank.count()
        wanted = before.wanted if before else rows
        self.progress.start(f"Copying {info.name}", wanted, "rows")
        with self.target.writer([identity], info.record.source, expected_rows=rows, plan=plan) as writer:
            portion = Portion(writer, identity.layer, max(1, _CHUNK_BYTES // (4 * identity.dim)))
            written, flushed = 0, time.monotonic()
            with self._interruptible(info.name), self.stopping.deferred():
                for row in rows_of(bank) if before is None else rows_wanted(bank, before):
                    if before is None:
                        total.add(row)
                    sent = portion.add(row)
                    written += sent
                    self.progress.advance(sent)
                    if sent and (self.stopping.requested or time.monotonic() - flushed >= _FLUSH_SECONDS):
                        writer.flush()
                        flushed = time.monotonic()
                        self._leave(info.name, written, wanted)
                sent = portion.send()
                self.progress.advance(sent)
                writer.flush()
                self._leave(info.name, written + sent, wanted)
        self.progress.finish()
        return before.here if before else total

    @contextmanager
    def _interruptible(self, name: str) -> Iterator[None]:
        """A block that says what it means to be interrupted while a server keeps one waiting."""
        try:
            yield
        except KeyboardInterrupt as error:
            if isinstance(error.__cause__, GaveUpError):
                self.progress.finish()
                self.progress.note(
                    f"Interrupted while {name} was copied and a server did not answer. The same command continues "
                    "from the stored rows."
                )
            raise

    def _leave(self, name: str, written: int, wanted: int) -> None:
        """End here, where somebody asked for it."""
        if self.stopping.requested:
            self.progress.finish()
            self.progress.note(
                f"Interrupted: {written:,} of {wanted:,} rows of {name} are copied. The same command continues from "
                "there."
            )
            raise self.stopping.error()

    def _verify(self, bank: Bank, here: Checksum, done: Moved, before: Comparison | None) -> None:
        """Read the target again.

        Raises:
            StoreError: it does not hold what the source does.
        """
        done.checksum = here
        if before is None or not before.extra:
            self.progress.start(f"Verifying {bank.name}", here.rows, "rows")
            with self._open_target(bank.name) as other:
                found = checksum(other, self.progress.advance)
            self.progress.finish()
            if found == here:
                return
        # More rows than the source's, or rounding: row by row.
        result = self._compare(bank)
        if result.here != here:
            raise StoreError(
                f"Bank {bank.name} in {self.source.address} changed while it was copied ({here.rows:,} rows before, "
                f"{result.here.rows:,} now).",
                "Run the command again when no process writes to the bank.",
            )
        if result.wanted:
            raise StoreError(
                f"Bank {bank.name} in {self.target.address} differs from its source: of {here.rows:,} rows "
                f"{result.missing:,} are missing and {result.different:,} differ"
                + (f" ({result.example})." if result.example else "."),
                "The bank stays incomplete. Run the command again to copy those rows again.",
            )
        done.found(result)

    def _finish(self, info: BankInfo, rows: int, plan: PlanRecord, corpora: Sequence[CorpusRecord]) -> None:
        """Build the index and mark the bank complete."""
        identity = info.record.identity
        advance = phase_of(self.progress, f"Indexing {info.name}", "rows")
        with self.target.writer([identity], info.record.source, expected_rows=rows, plan=plan) as writer:
            graph = True if info.index == "graph" else None
            writer.finish(corpora, index=True, progress=advance, graph=graph)
        self.progress.finish()


def _holds(there: BankInfo, info: BankInfo) -> bool:
    """Whether a bank that holds all rows says so, too."""
    held = {(corpus.name, corpus.fingerprint, corpus.words) for corpus in there.record.corpora}
    return there.record.state == "complete" and {(c.name, c.fingerprint, c.words) for c in info.record.corpora} <= held
