"""A server's banks, copied into a folder of this machine as they are asked for, and read there.

A client cannot make a server's exact search faster, but it can multiply over vectors of its own. Each server has a
store of its own in the cache (:func:`banks.copy_facts.store_folder`), an ordinary one of the embedded engine. Whenever
a bank is opened, its record and number of rows on the server are compared with those that were copied; what has grown
is brought up to date, what was replaced is copied anew, and what cannot be copied is asked of the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..schemas.collection import BankIdentity, BankRecord
from ..schemas.errors import (
    BankIncompleteError,
    BankMismatchError,
    BankNotFoundError,
    DamagedBankError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    UsageError,
)
from ..schemas.plans import PlanRecord
from ..schemas.progress import Progress, Silent
from ..schemas.units import show_bytes
from ..store.balance import Balance
from ..store.bank import Bank
from ..store.care import Changes
from ..store.damage import DamagedBank
from ..store.embedded.disk import store_error
from ..store.embedded.engine import EngineSettings
from ..store.embedded.locks import in_turn
from ..store.embedded.store import EmbeddedStore
from ..store.found import BankInfo, BankInfos
from ..store.store import Opener, Store
from ..store.writing import BankWriter
from .copy_facts import (
    CopyFacts,
    cache_folder,
    facts_of,
    goes_on,
    has_cache,
    read_facts,
    require_room,
    store_folder,
    write_facts,
)
from .interrupts import Interruption
from .transfer import Transfer

# Every row is compared by a product: no copies of fewer bits, no graph.
_SETTINGS = EngineSettings(quantized_bits=0, graph_from_rows=1 << 62)
# A bank may change while it is copied; it is then copied again, so often.
_ATTEMPTS = 2


def with_local_copies(
    store: Store, progress: Progress, asked: bool | None = None, folder: str | Path | None = None
) -> Store:
    """A store whose banks are read from local copies, or as it is.

    Args:
        store: that was opened.
        progress: told of copying.
        asked: whether to copy; ``None`` for a server's banks where ``$LENSBANK_CACHE`` names a folder.
        folder: for the copies; by default see :func:`banks.copy_facts.cache_folder`.

    Raises:
        UsageError: copies of a folder's banks are asked for.
    """
    here = isinstance(store, EmbeddedStore)
    if here and asked:
        raise UsageError(
            f"--local-copy was given for {store.address}, which is a folder: only banks of a server are copied.",
            "Leave out --local-copy, or give a server as --store.",
        )
    if here or not (has_cache() if asked is None else asked):
        return store
    return LocalCopies(store, None if folder is None else Path(folder).expanduser().absolute(), progress)


@dataclass(frozen=True, slots=True)
class CopyOpener:
    """Opens a server in another process, with copies on that one's machine; see :class:`store.store.Opener`.

    Attributes:
        server: opens the server.
        folder: for the copies, as in :class:`LocalCopies`; the same on every machine.
    """

    server: Opener
    folder: Path | None

    def open(self, progress: Progress | None = None, patience: float | None = None) -> LocalCopies:
        """See :meth:`store.store.Opener.open`; ``progress`` is told of copying."""
        return LocalCopies(self.server.open(progress, patience), self.folder, progress or Silent())

    def line(self) -> str:
        """Where copies will lie, for people."""
        where = "$LENSBANK_CACHE or ~/.cache/lensbank" if self.folder is None else self.folder
        return f"Each node searches copies of the text banks in its {where}, and first copies those that it lacks."


class LocalCopies(Store):
    """A server whose banks are opened as local copies; all else is the server's own."""

    def __init__(self, server: Store, folder: Path | None, progress: Progress) -> None:
        """Nothing is copied yet.

        Args:
            server: where the banks are; closed with this.
            folder: for the copies of any number of servers, made when it is needed; by default see
                :func:`banks.copy_facts.cache_folder`.
            progress: told of copying, and why something is not copied.
        """
        self.address = server.address
        self._server = server
        self._chosen = folder
        self._folder = store_folder(cache_folder(folder), server.address)
        self._progress = progress
        self._said: set[str] = set()

    @property
    def origin(self) -> Store:
        """See :attr:`Store.origin`: the server."""
        return self._server

    def opener(self) -> CopyOpener:
        """See :meth:`Store.opener`: copies are made wherever it is opened."""
        return CopyOpener(self._server.opener(), self._chosen)

    def open(self, bank: str | BankIdentity, *, allow_incomplete: bool = False) -> Bank:
        """See :meth:`Store.open`: the local copy, made or brought up to date; or the server's bank, which is said."""
        remote = self._server.open(bank, allow_incomplete=allow_incomplete)
        if remote.record.state != "complete":
            return remote
        try:
            return self._copied(remote, facts_of(remote, self.address))
        except StoreFullError as error:
            self._say(f"There is not enough space for a local copy of bank {remote.name}: {error.message}")
        except BankIncompleteError:  # somebody has begun to write it
            raise
        except StoreLockedError:
            self._say(f"The local copy of bank {remote.name} is outdated, and other processes still read it.")
        except StoreError as error:
            self._say(f"There is no local copy of bank {remote.name}: {error.message}")
        except OSError as error:
            self._say(f"There is no local copy of bank {remote.name}: {store_error(error, self._folder).message}")
        return remote

    def _say(self, why: str) -> None:
        if why not in self._said:
            self._said.add(why)
            self._progress.finish()
            self._progress.note(f"{why} The server is searched instead.")

    def _copied(self, remote: Bank, wanted: CopyFacts) -> Bank:
        """The local copy of a bank, open.

        Raises:
            StoreError, OSError: there is none, and none can be made.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        local = EmbeddedStore(self._folder, _SETTINGS)
        with suppress(DamagedBankError, StoreLockedError, BankMismatchError):  # looked at again in turn
            if found := self._current(local, remote, wanted):
                return found
        with in_turn(self._folder / f".{remote.name}.copying", lambda: self._waits(remote.name)):
            try:
                if found := self._current(local, remote, wanted):  # whoever was waited for has copied it
                    return found
            except DamagedBankError as error:
                self._progress.note(f"{error.message} The bank is a local copy, and is copied again.")
                local.drop(remote.name)
            for _ in range(_ATTEMPTS):
                if found := self._copy(local, remote, wanted):
                    return found
                remote = self._server.open(remote.name)
                wanted = facts_of(remote, self.address)
        raise StoreError("The bank changes while it is copied.", "Try again when no process writes to the bank.")

    def _waits(self, name: str) -> None:
        self._progress.remark(f"Another process is copying bank {name}: waiting for it.")

    def _current(self, local: EmbeddedStore, remote: Bank, wanted: CopyFacts) -> Bank | None:
        """The copy, open, if it is still what the server has.

        Raises:
            DamagedBankError: its files are damaged, or its record.
            StoreLockedError: it is being written.
        """
        try:
            bank = local.open(remote.name)
        except (BankNotFoundError, BankIncompleteError):
            return None
        made = read_facts(self._folder / remote.name)
        if made is None or not made.still(wanted) or bank.count() != made.rows:
            bank.close()
            return None
        bank.local_copy = made.local_copy
        return bank

    def _copy(self, local: EmbeddedStore, remote: Bank, wanted: CopyFacts) -> Bank | None:
        """Copy a bank, or what is new of it; ``None`` where it was another one at the end."""
        name, began = remote.name, time.monotonic()
        rows = remote.count()
        self._clear(local, remote)
        try:
            there = sum(info.rows for info in local.list() if info.name == name)
            require_room(self._folder, remote.record.identity, rows - there, _SETTINGS.reserve_bytes)
            with Interruption() as interruption:
                (moved,) = Transfer(self._server, local, self._progress, interruption).run(
                    [BankInfo(name, remote.record, rows)]
                )
        except StoreFullError:
            self._drop_unfinished(local, name)  # a part of a copy would keep the disk full
            raise
        except BankIncompleteError:  # here: a part of a copy of what the server had before
            self._drop_unfinished(local, name)
            return None
        now = facts_of(self._server.open(name), self.address)
        copied = local.open(name)
        if moved.extra or not now.still(wanted) or now.rows not in (None, copied.count()):
            copied.close()
            if moved.extra:
                local.drop(name)
            return None
        made = now.with_rows(copied.count())
        write_facts(self._folder / name, made)
        copied.local_copy = made.local_copy
        new = f"{moved.copied:,} rows" if moved.copied == moved.rows else f"{moved.copied:,} of {moved.rows:,} rows"
        self._progress.note(
            f"Copied bank {name} from {self.address}: {new}, {show_bytes(copied.disk_bytes())} now in {self._folder} "
            f"({time.monotonic() - began:.0f} s)."
        )
        return copied

    def _clear(self, local: EmbeddedStore, remote: Bank) -> None:
        """Drop a copy that cannot be brought up to date: another bank's, or a damaged one."""
        found = {info.name: info.record for info in local.list()}.get(remote.name)
        damaged = any(bank.name == remote.name for bank in local.damaged())
        if damaged or (found is not None and not goes_on(found, remote.record)):
            local.drop(remote.name)

    def _drop_unfinished(self, local: EmbeddedStore, name: str) -> None:
        if any(info.name == name and info.record.state != "complete" for info in local.list()):
            local.drop(name)

    def list(self) -> BankInfos:
        """See :meth:`Store.list`."""
        return self._server.list()

    def damaged(self) -> tuple[DamagedBank, ...]:
        """See :meth:`Store.damaged`."""
        return self._server.damaged()

    def disk_bytes(self, info: BankInfo) -> int | None:
        """See :meth:`Store.disk_bytes`: on the server."""
        return self._server.disk_bytes(info)

    def take_stock(self, info: BankInfo) -> Balance:
        """See :meth:`Store.take_stock`."""
        return self._server.take_stock(info)

    @contextmanager
    def heeding(self, leaving: Callable[[], bool]) -> Iterator[None]:
        """See :meth:`Store.heeding`."""
        with self._server.heeding(leaving):
            yield

    def writer(
        self,
        identities: Sequence[BankIdentity],
        source: str,
        *,
        expected_rows: int | None = None,
        plan: PlanRecord | None = None,
    ) -> BankWriter:
        """See :meth:`Store.writer`."""
        return self._server.writer(identities, source, expected_rows=expected_rows, plan=plan)

    def rewrite(self, name: str, record: BankRecord, changes: Changes, advance: Callable[[int], None]) -> BankRecord:
        """See :meth:`store.care.Care.rewrite`; the copy follows when it is opened."""
        return self._server.rewrite(name, record, changes, advance)

    def drop(self, name: str) -> None:
        """See :meth:`Store.drop`."""
        self._server.drop(name)

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._server.close()
