"""Writing embedded banks from processes of their own, fed through shared memory.

The engine holds Python's global lock while it works, so in the parent it would stop the forward
passes that make the rows, and one process does not keep up with a GPU. Each child owns some of the
banks and reads the same memory. The children are spawned (a forked one would inherit the engine's and
torch's threads in a state they cannot go on from). They do not import the parent's main module,
so a script that uses this needs no ``if __name__ == "__main__"`` guard.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...schemas.collection import BankIdentity
from ...schemas.corpora import CorpusRecord
from ...schemas.errors import StoreError
from ...schemas.filters import Condition
from ...schemas.plans import PlanRecord
from ..rows import check_rows, clean_payload, describe_row, one_width, unit_rows
from ..writing import BankWriter, OnIndexed
from .channel import SlotLayout, WriterTask
from .crew import Crew
from .disk import require_free, store_error
from .engine import EngineSettings
from .processes import uninterrupted
from .resources import writing_processes

if TYPE_CHECKING:
    from ..bank import Floats


class EmbeddedWriter(BankWriter):
    """The parent's end. See :class:`store.writing.BankWriter`."""

    def __init__(
        self,
        root: Path,
        identities: Sequence[BankIdentity],
        source: str,
        expected_rows: int | None = None,
        settings: EngineSettings | None = None,
        plan: PlanRecord | None = None,
    ) -> None:
        """Start the children and wait until they have all banks open.

        Raises:
            ValueError: no identities, two of one layer, or of different widths.
            UsageError: the environment asks for no number of processes.
            StoreError: see :meth:`store.store.Store.writer`.
        """
        self._layers = {identity.layer: index for index, identity in enumerate(identities)}
        self._dim = one_width(identities)
        self._root = root
        self._settings = settings or EngineSettings()
        self._layout = SlotLayout.fitting(len(identities), self._dim, self._settings)
        require_free(root, self._settings.reserve_bytes)
        self._free = list(range(self._layout.slots))
        self._slot: int | None = None  # the one being filled ...
        self._rows: list[tuple[str, dict[str, Any]]] = []  # ... and its ids and payloads
        self._closed = False
        self._crew = Crew(self._free.append)
        try:
            self._start(identities, source, expected_rows, plan)
            plans = [one for one in self._crew.begin(expected_rows, len(identities)) if one is not None]
        except BaseException:
            self.abort()
            raise
        #: As far as all banks have come with it.
        self.plan = min(plans, key=lambda one: one.done, default=None)

    def _start(
        self, identities: Sequence[BankIdentity], source: str, expected_rows: int | None, plan: PlanRecord | None
    ) -> None:
        context = get_context("spawn")
        count = writing_processes(len(identities), self._settings.writers)
        try:
            block = context.RawArray(ctypes.c_ubyte, self._layout.total_bytes)
        except OSError as error:
            raise store_error(error, Path(tempfile.gettempdir())) from error
        self._block = memoryview(block).cast("B")
        for first in range(count):
            places = tuple(range(first, len(identities), count))
            own = tuple(identities[place] for place in places)
            task = WriterTask(
                str(self._root), own, places, count, source, expected_rows, self._settings, self._layout,
                os.getpid(), plan,
            )  # fmt: skip
            self._crew.start(context, block, task)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes that write."""
        return self._crew.pids

    def put(
        self,
        ids: Sequence[str],
        payloads: Sequence[Mapping[str, Any]],
        vectors: Mapping[int, Floats],
        norms: Mapping[int, Floats],
    ) -> None:
        """See :meth:`store.writing.BankWriter.put`."""
        self._require_open()
        check_rows(ids, payloads, vectors, norms, self._layers, self._dim)
        rows = [(name, clean_payload(payload)) for name, payload in zip(ids, payloads, strict=True)]
        units = {
            layer: unit_rows(matrix, lambda i, n=layer: f"The state of {describe_row(payloads[i])} at layer {n}")  # type: ignore[misc]
            for layer, matrix in vectors.items()
        }
        start = 0
        while start < len(rows):
            while self._slot is None:
                self._slot = self._take_slot()
            count = min(len(rows) - start, self._layout.rows - len(self._rows))
            with uninterrupted():
                self._fill(self._slot, rows[start : start + count], units, norms, start)
                start += count
                if len(self._rows) == self._layout.rows:
                    self._send_slot()
        self._crew.drain()

    def flush(self, plan: PlanRecord | None = None) -> None:
        """See :meth:`store.writing.BankWriter.flush`. Returns when all children have done it."""
        self._require_open()
        self._ask("flush", plan)

    def remove(self, where: Sequence[Condition]) -> None:
        """See :meth:`store.writing.BankWriter.remove`."""
        self._require_open()
        self._ask("remove", tuple(where))

    def missing(self, ids: Sequence[str]) -> int:
        """See :meth:`store.writing.BankWriter.missing`."""
        self._require_open()
        return int(max(self._ask("missing", list(dict.fromkeys(ids)))))

    def finish(
        self,
        corpora: CorpusRecord | Sequence[CorpusRecord],
        index: bool = True,
        progress: OnIndexed | None = None,
        graph: bool | None = None,
    ) -> None:
        """See :meth:`store.writing.BankWriter.finish`."""
        self._require_open()
        rows = self._ask("settle", (corpora,) if isinstance(corpora, CorpusRecord) else tuple(corpora))
        if index:
            self._crew.index(rows, graph, self._layout, self._settings, progress or (lambda done, total: None))
        elif progress is not None:
            progress(sum(map(sum, rows)), sum(map(sum, rows)))
        self._ask("seal")
        # Records last and together: an interruption leaves all banks building, not some.
        self._ask("complete")
        self.close()

    def abort(self) -> None:
        """See :meth:`store.writing.BankWriter.abort`. To kill a child is safe: only a flush acknowledges rows."""
        self._closed = True
        self._crew.end()

    def close(self) -> None:
        """See :meth:`store.writing.BankWriter.close`."""
        if self._closed:
            return
        try:
            if self._crew.failure is None:
                self._ask("close")
        finally:
            self._closed = True
            if self._crew.failure is None:
                self._crew.let_go()
            else:
                self._crew.end()

    def _require_open(self) -> None:
        if self._crew.failure is not None:
            raise self._crew.failure
        if self._closed:
            raise StoreError("The writer is closed.", "Open another one.")

    def _take_slot(self) -> int:
        self._crew.drain()
        while not self._free:
            self._crew.receive()
        return self._free.pop()

    def _fill(
        self,
        slot: int,
        rows: list[tuple[str, dict[str, Any]]],
        units: Mapping[int, Floats],
        norms: Mapping[int, Floats],
        start: int,
    ) -> None:
        at = slice(len(self._rows), len(self._rows) + len(rows))
        of = slice(start, start + len(rows))
        for layer, index in self._layers.items():
            matrix = np.frombuffer(self._layout.vectors(self._block, slot, index), np.float32)
            matrix.reshape(self._layout.rows, self._dim)[at] = units[layer][of]
            np.frombuffer(self._layout.norms(self._block, slot, index), np.float32)[at] = norms[layer][of]
        self._rows += rows

    def _send_slot(self) -> None:
        """Send the slot being filled; ids and payloads go through it, too, where they fit."""
        if self._slot is None:
            return
        data = pickle.dumps(self._rows, protocol=pickle.HIGHEST_PROTOCOL)
        room = self._layout.blob(self._block, self._slot)
        fits = len(data) <= len(room)
        if fits:
            room[: len(data)] = data
        slot, count = self._slot, len(self._rows)
        self._slot, self._rows = None, []
        self._crew.hand_over(slot, count, len(data) if fits else data)

    def _ask(self, what: str, *arguments: Any) -> list[Any]:
        """Send what is in hand and a request, and wait until all children have answered."""
        with uninterrupted():
            self._send_slot()
        return self._crew.ask(what, *arguments)
