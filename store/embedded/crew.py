"""The writing processes together: asked at once, waited for until all have answered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from multiprocessing import connection
from multiprocessing.context import SpawnContext
from typing import Any

from ...schemas.errors import StoreError
from ..writing import OnIndexed
from .channel import SlotLayout, WriterTask
from .child import Child
from .engine import EngineSettings
from .processes import spawning, uninterrupted
from .resources import indexed_at_once


class Crew:
    """The children of one writer.

    Attributes:
        failure: of the first child that failed or died; the others are of no use without it.
    """

    def __init__(self, on_read: Callable[[int], None]) -> None:
        """Nobody is there yet.

        Args:
            on_read: called with the slot that all children have read.
        """
        self.failure: StoreError | None = None
        self._children: list[Child] = []
        self._on_read = on_read
        self._reading: dict[int, int] = {}  # slot: children that have still to read it
        self._number = 0  # of the latest request

    def start(self, context: SpawnContext, block: Any, task: WriterTask) -> None:
        """Start another child."""
        with uninterrupted(), spawning():
            self._children.append(Child.start(context, block, task))

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes."""
        return tuple(child.process.pid for child in self._children if child.process.pid is not None)

    def begin(self, expected_rows: int | None, banks: int) -> list[Any]:
        """Lock and check all banks before any of them is changed.

        One child locks after the other, so that of two writers of the same banks one gets all.

        Returns:
            Of each child how far its banks have come with the plan.
        """
        for child in self._children:
            self.ask("lock", to=(child,))
        there = max(self.ask("look"))
        for child in self._children:
            child.begun = True
        return self.ask("begin", None if expected_rows is None else max(expected_rows, there), banks)

    def hand_over(self, slot: int, count: int, blob: int | bytes) -> None:
        """Tell all children to store the rows of a slot."""
        self._reading[slot] = len(self._children)
        for child in self._children:
            self._tell(child, "put", slot, count, blob)

    def ask(self, what: str, *arguments: Any, to: Sequence[Child] | None = None) -> list[Any]:
        """Send a request, and wait for the answers of all who were asked.

        Raises:
            StoreError: a child failed or died.
        """
        children = self._children if to is None else to
        number = self._request(children, what, *arguments)
        while not all(number in child.answers for child in children):
            self.receive()
        return [child.answers.pop(number) for child in children]

    def index(self, rows: Sequence[Sequence[int]], graph: bool | None, layout: SlotLayout, settings: EngineSettings,
              progress: OnIndexed) -> None:  # fmt: skip
        """Index banks side by side, as many as memory and disk allow.

        Args:
            rows: of each bank of each child.
            graph: whether with an HNSW graph; ``None`` where a bank is large.
            layout: of the shared memory, which knows the rows' width.
            settings: of the engine.
            progress: called as banks are done.
        """
        most, total, done = max(map(max, rows)), sum(map(sum, rows)), 0
        room = shutil.disk_usage(self._children[0].task.root).free - settings.reserve_bytes
        beside = indexed_at_once(len(self._children), min(most, settings.merged_rows), layout.dim)
        beside = max(1, min(beside, room // max(1, layout.indexing_bytes(most))))
        waiting = [list(enumerate(own)) for own in rows]
        progress(done, total)
        busy: dict[int, tuple[int, int]] = {}  # child: the request's number, and rows of its bank
        while any(waiting) or busy:
            for at, jobs in enumerate(waiting):
                if jobs and at not in busy and len(busy) < beside:
                    bank, count = jobs.pop(0)
                    busy[at] = self._request((self._children[at],), "index", bank, graph, beside), count
            while not (ready := [at for at, (number, _) in busy.items() if number in self._children[at].answers]):
                self.receive()
            for at in ready:
                number, count = busy.pop(at)
                del self._children[at].answers[number]
                done += count
                progress(done, total)

    def drain(self) -> None:
        """Act on what the children have said by now.

        Raises:
            StoreError: a child failed or died.
        """
        while any(child.pipe.poll() for child in self._children):
            self.receive()

    def receive(self) -> None:
        """Wait for messages of the children, and act on them.

        Raises:
            StoreError: a child failed or died.
        """
        there = [child for child in self._children if not child.left]
        ready = connection.wait([one for child in there for one in (child.pipe, child.process.sentinel)])
        for child in there:
            if child.pipe in ready or child.process.sentinel in ready:
                with uninterrupted():
                    self._heed(child)
                if self.failure is not None:
                    raise self.failure

    def end(self) -> None:
        """End all at once."""
        for child in self._children:
            child.dismiss()
        for child in self._children:
            child.end()

    def let_go(self) -> None:
        """Wait until all have ended."""
        for child in self._children:
            child.let_go()

    def _request(self, children: Sequence[Child], what: str, *arguments: Any) -> int:
        """Send a request and return its number."""
        with uninterrupted():
            self._number += 1
            for child in children:
                self._tell(child, what, self._number, *arguments)
        return self._number

    def _tell(self, child: Child, *message: Any) -> None:
        if not child.tell(*message):
            while True:  # what it said before it ended says more
                self.receive()

    def _heed(self, child: Child) -> None:
        kind, *rest = child.receive()
        if kind == "free":
            self._reading[rest[0]] -= 1
            if not self._reading[rest[0]]:
                self._on_read(rest[0])
        self.failure = self.failure or child.failure
