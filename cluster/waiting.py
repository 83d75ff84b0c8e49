"""What is waited for where nothing comes from a cluster: nodes may be gone, and Ray waits for others without a word."""

from __future__ import annotations

import time
from collections.abc import Callable

from .connecting import Workers, alive, fitting

#: Called with a line for people.
Note = Callable[[str], None]

#: Nothing has come for so long: then it is said what is waited for. Also the pause between two looks at the nodes.
SILENT_SECONDS = 60.0
#: What may take workers, or tasks without a model, so long.
LOADING, READING = "Loading the model, copying text banks, or waiting for the server,", "Reading large files"


def unheard(text: str) -> None:
    """A note for nobody."""


class Watch:
    """Looks after the nodes of a cluster while its workers are waited for; says a thing once.

    Args:
        workers: that are waited for.
        note: told what is found.
        busy: what may take them long.
        clock: seconds.
    """

    def __init__(
        self, workers: Workers, note: Note, busy: str = LOADING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """The workers have just been given work."""
        self._workers, self._note, self._busy, self._clock = workers, note, busy, clock
        self._heard = self._looked = clock()
        self._said = ""

    def look(self, *, answered: bool) -> None:
        """Look at the nodes, if it is time for it.

        Args:
            answered: whether something has come since the last call.
        """
        now = self._clock()
        if answered:
            self._heard = now
        if now - self._looked < SILENT_SECONDS:
            return
        self._looked = now
        silent, room = now - self._heard >= SILENT_SECONDS, fitting(alive(), self._workers.cpus, self._workers.gpus)
        if not silent and room >= self._workers.count:
            self._said = ""
            return
        found = _found(self._workers, room, self._busy)
        if found != self._said:
            before = f"Nothing has come from the workers for {SILENT_SECONDS:.0f} s. " if silent else ""
            self._note(before + found)
            self._said = found


def _found(workers: Workers, room: int, busy: str) -> str:
    """What is to be said of a cluster with room for so many workers."""
    if room < 1:
        return (
            f"No node of the cluster has room for a worker with {workers.each()}: the work goes on when one joins. "
            "Ctrl-C ends it; the same command continues."
        )
    if room < workers.count:
        return (
            f"The cluster has room for {room} of {workers.count} workers with {workers.each()}: nodes are gone. The "
            "others do their work, and new ones start when a node joins."
        )
    return f"The cluster has room for all workers. {busy} may take so long; `ray status` says more."
