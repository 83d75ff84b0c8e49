"""Mean states that readings subtract: one of images takes a forward pass of each, so a few are kept."""

from __future__ import annotations

from collections import OrderedDict

from ..query.centring import Centre
from ..query.pipeline import QuerySession
from ..schemas.progress import Silent
from .jobs import Job
from .uploads import Uploads

_KEPT = 8

#: What a mean is of: model, layers, prompt, images.
_Key = tuple[str, tuple[int, ...], str | None, tuple[str, ...]]


class Watching(Silent):
    """Progress of a session that nobody sees; it ends the work where nobody wants it, and keeps what is noted."""

    def __init__(self) -> None:
        """Of no reading."""
        self.job: Job | None = None
        self.notes: list[str] = []

    def advance(self, count: int) -> None:
        """Something is done.

        Raises:
            Cancelled: nobody wants the rest.
        """
        if self.job is not None:
            self.job.require_wanted()

    def note(self, text: str) -> None:
        """Something that the reading should say."""
        self.notes.append(text)


class Centres:
    """Mean states of uploaded images, with what is to be said about each."""

    def __init__(self, uploads: Uploads, watching: Watching) -> None:
        """None are known.

        Args:
            uploads: the images.
            watching: the progress of the sessions.
        """
        self._uploads, self._watching = uploads, watching
        self._kept: OrderedDict[_Key, tuple[Centre, tuple[str, ...]]] = OrderedDict()

    def of_images(self, session: QuerySession, job: Job) -> tuple[Centre, tuple[str, ...]]:
        """What a reading of images subtracts, and notes.

        Raises:
            LensbankError: see :meth:`query.pipeline.QuerySession.centre_on`.
            Cancelled: nobody wants it any more.
        """
        question = job.question
        images = question.centre_images or question.images
        key = (question.model, session.layers, question.options.prompt, images)
        if key not in self._kept:
            del self._watching.notes[:]
            files = [self._uploads.get(image).data for image in images]  # decoded one after the other
            centre = session.centre_on(files, "folder" if question.centre_images else "images")
            while len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = (centre, tuple(self._watching.notes))
        self._kept.move_to_end(key)
        return self._kept[key]
