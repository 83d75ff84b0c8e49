"""Readings that are kept: those on their way, and the newest that are finished."""

from __future__ import annotations

import threading
from collections import OrderedDict

from .failures import RequestError
from .jobs import Job
from .settings import ServeSettings


class Shelf:
    """Readings by their id. Safe to use from several threads."""

    def __init__(self, settings: ServeSettings) -> None:
        """Empty."""
        self._settings = settings
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, job: Job) -> None:
        """Keep one; those that were not asked for longest are let go where there is too much."""
        with self._lock:
            self._jobs[job.id] = job
            over = [each for each in self._jobs.values() if each.is_over]
            words = sum(each.words for each in over)
            while over and (len(self._jobs) > self._settings.kept_readings or words > self._settings.kept_words):
                oldest = over.pop(0)
                words -= oldest.words
                del self._jobs[oldest.id]

    def get(self, name: str) -> Job:
        """One by its id.

        Raises:
            RequestError: there is none, or none any more.
        """
        with self._lock:
            job = self._jobs.get(name)
            if job is not None:
                self._jobs.move_to_end(name)
        if job is None:
            raise RequestError(404, "The server no longer has this reading.", "Ask the question again.")
        job.touch()
        return job
