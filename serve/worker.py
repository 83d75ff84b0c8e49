"""One thread that does one thing after another: there is one model, and many who ask."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..models.machine.shortage import is_out_of_memory, release_memory
from ..schemas.errors import LensbankError
from .failures import OUT_OF_MEMORY, Cancelled, RequestError, status_of, unforeseen
from .jobs import Job, Status
from .wording import described


class _End(NamedTuple):
    """How a reading has ended; see :meth:`serve.jobs.Job.end`."""

    status: Status
    error: dict[str, str] | None = None
    http: int = 500


class Worker:
    """A queue of readings, and the thread that makes them.

    Whatever goes wrong with one is said to whoever asked for it; the thread goes on with the next.
    """

    def __init__(
        self,
        work: Callable[[Job], None],
        idle: Callable[[], None],
        *,
        max_waiting: int,
        idle_seconds: float,
        patience: float,
        note: Callable[[str], None],
    ) -> None:
        """Nothing runs yet.

        Args:
            work: makes a reading; called in the thread.
            idle: called there after a while without work, and at the end.
            max_waiting: readings in the queue.
            idle_seconds: how long that while is.
            patience: seconds for which a waiting reading is kept although nobody asks about it.
            note: told of faults that are nobody's but ours.
        """
        self._work, self._idle, self._note = work, idle, note
        self._max_waiting, self._idle_seconds, self._patience = max_waiting, idle_seconds, patience
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._leaving = False
        self._current: Job | None = None
        # A forward pass cannot be interrupted: a daemon does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="lensbank-model", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a reading.

        Raises:
            RequestError: the queue is full, or the server is stopping.
        """
        with self._changed:
            if self._leaving:
                raise RequestError(503, "The server is stopping.", "Ask again when it runs.")
            if len(self._waiting) >= self._max_waiting:
                raise RequestError(
                    503, f"{len(self._waiting)} readings are waiting, which is the maximum.", "Ask again in a minute."
                )
            self._waiting.append(job)
            self._changed.notify()

    def ahead(self, job: Job) -> int:
        """How many readings will be made before this one."""
        with self._changed:
            running = int(self._current is not None and self._current is not job)
            return self._waiting.index(job) + running if job in self._waiting else 0

    def stop(self, seconds: float) -> int:
        """Cancel everything and wait for the thread.

        Args:
            seconds: how long.

        Returns:
            How many readings were not finished.
        """
        with self._changed:
            self._leaving = True
            unfinished = [*self._waiting, *([self._current] if self._current else [])]
            self._waiting.clear()
            self._changed.notify()
        for job in unfinished:
            job.cancel()
        self._thread.join(seconds)
        return len(unfinished)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        idle = False
        while True:
            job = self._next(None if idle else self._idle_seconds)
            if job is None:
                if self._leaving:
                    return
                self._let_go()
                idle = True
                continue
            idle = False
            try:
                self._one(job)
            finally:
                with self._changed:
                    self._current = None

    def _one(self, job: Job) -> None:
        end = self._made(job)
        if end.error == OUT_OF_MEMORY:  # out here nothing holds the frames any more in which it ran out
            self._let_go()
            release_memory()
        job.end(*end)

    def _made(self, job: Job) -> _End:
        try:
            job.require_wanted(self._patience)
            job.start()
            self._work(job)
        except Cancelled:
            return _End("cancelled")
        except Exception as error:
            if is_out_of_memory(error):
                return _End("failed", OUT_OF_MEMORY, 503)
            if isinstance(error, LensbankError):
                return _End("failed", described(error), status_of(error))
            return _End("failed", self._unforeseen(error))  # a fault of ours, or of a library's
        return _End("done")

    def _let_go(self) -> None:
        try:
            self._idle()
        except Exception as error:
            self._unforeseen(error)

    def _unforeseen(self, error: Exception) -> dict[str, str]:
        said, note = unforeseen(error, "while reading")
        self._note(note)
        return said

    def _next(self, seconds: float | None) -> Job | None:
        """The next reading; ``None`` at the end, and after so many seconds without one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._leaving, seconds)
            if self._leaving or not self._waiting:
                return None
            self._current = self._waiting.popleft()
            return self._current
