"""The models, and the lenses that are open for them. Everything here happens in the model's thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from ..models.loading import LoadedModel
from ..query.asked import Asked
from ..query.asking import ask_image, ask_images, ask_text
from ..query.centring import Centre
from ..query.continuing import before_answer, continued, still_unread
from ..query.options import QueryOptions
from ..query.pipeline import QuerySession
from ..schemas.errors import StoreError
from ..schemas.results import LENSES, Reading
from .centres import Centres, Watching
from .jobs import Job
from .lent import Lender
from .privacy import public_reading
from .questions import Question
from .uploads import Uploads
from .wording import in_http_words

if TYPE_CHECKING:
    from ..store.store import Store

# Sets of open banks, each with its own filters: few people ask many kinds of questions at once.
_OPEN = 4
_WARM = "a"


class Engine:
    """Models, and a few sessions that stay open between readings."""

    def __init__(
        self,
        models: Mapping[str, LoadedModel],
        open_store: Callable[[], AbstractContextManager[Store]],
        uploads: Uploads,
    ) -> None:
        """Nothing is opened yet.

        Args:
            models: by the name that clients use.
            open_store: opens the store anew, so that what was written since is seen.
            uploads: the images.
        """
        self._models, self._lender, self._uploads = models, Lender(open_store), uploads
        self._watching = Watching()
        self._centres = Centres(uploads, self._watching)
        self._sessions: OrderedDict[tuple[str, QueryOptions], QuerySession] = OrderedDict()

    def read(self, job: Job) -> None:
        """Make a reading, layer by layer; see :class:`serve.worker.Worker`.

        Raises:
            LensbankError: as :class:`query.pipeline.QuerySession`.
            Cancelled: nobody wants it any more.
        """
        session = self._session(job.question)
        job.require_wanted()
        self._watching.job = job
        try:
            first = before_answer(job.question.options) if job.question.images else None
            if first is None:
                asked, centre, notes = self._asked(session, job, job.question.options)
                self._add(job, session, asked, centre, notes)
            else:
                self._answering(job, session, first)
        except StoreError:  # what is open may be no longer what is there
            self.let_go()
            raise
        finally:
            self._watching.job = None

    def _add(
        self, job: Job, session: QuerySession, asked: Asked, centre: Centre | None, notes: Sequence[str]
    ) -> dict[int, Reading]:
        """Read layer after layer; what was read, by layer."""
        order = telling_first(tuple(asked.states))
        job.expect(len(order))
        parts = {}
        for part in session.layer_by_layer(asked, order, centre):
            layer = part.layers[0].layer
            parts[layer] = replace(part, notes=(*part.notes, *notes))
            self._give(job, parts[layer])
        return parts

    def _answering(self, job: Job, session: QuerySession, first: QueryOptions) -> None:
        """Read everything but the answer, then let the model answer and read the answer's tokens."""
        early = self._add(job, session, *self._asked(session, job, first))
        job.go_on()
        asked, _, _ = self._asked(session, job, job.question.options)
        for layer, part in early.items():
            rest = still_unread(asked, layer, part)
            more = next(session.layer_by_layer(rest)) if rest.tokens else None
            self._give(job, continued(part, asked, more))

    def _give(self, job: Job, part: Reading) -> None:
        """Hand a layer over, in the words of those who asked."""
        noted = replace(part, notes=tuple(map(in_http_words, part.notes)))
        job.add(public_reading(noted, job.question.model))

    def warm(self) -> None:
        """Do what the first reading would wait for: open the banks, and run each model once.

        Raises:
            LensbankError: as :class:`query.pipeline.QuerySession`.
        """
        for name, loaded in self._models.items():
            options = QueryOptions(lenses=tuple(LENSES))
            session = self._session(Question((), _WARM, name, options))
            if loaded.processor is not None:
                asked = ask_image(loaded, Image.new("RGB", (64, 64), "white"), session.layers, options)
            else:
                asked = ask_text(loaded, _WARM, session.layers, options)
            for _ in session.layer_by_layer(asked, session.layers[:1]):
                pass

    def let_go(self) -> None:
        """Let go of all banks, so that an ingest can write them."""
        while self._sessions:
            self._sessions.popitem()[1].close()
        self._lender.close()

    def _session(self, question: Question) -> QuerySession:
        options = question.options
        prompt = options.prompt if options.centre else None  # the mean is of images that are asked the same
        plain = replace(options, prompt=prompt, patches=(), read=("image",), answer=None, answer_tokens=None)
        if self._is_outdated():
            self.let_go()
        key = (question.model, plain)  # what is asked of an image is no matter of the lenses
        if key not in self._sessions:
            while len(self._sessions) >= _OPEN:
                self._sessions.popitem(last=False)[1].close()
            self._sessions[key] = QuerySession(
                self._lender.store(), self._models[question.model], plain, self._watching
            )
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _is_outdated(self) -> bool:
        try:
            return self._lender.is_outdated()
        except StoreError:  # opened anew, it says what is wrong
            return True

    def _asked(
        self, session: QuerySession, job: Job, options: QueryOptions
    ) -> tuple[Asked, Centre | None, tuple[str, ...]]:
        """What the model has been shown, what is subtracted from its states, and what is to be said about that."""
        question = job.question
        if question.text is not None:
            layers, mean = session.text_layers_and_centre()
            return ask_text(session.loaded, question.text, layers, options), mean, ()
        centre, notes = self._centres.of_images(session, job) if options.centre else (None, ())
        images = [self._uploads.opened(self._uploads.get(image)) for image in question.images]
        asked = ask_images(session.loaded, images, session.layers, options, said=job.say)
        return asked, centre, notes


def telling_first(layers: Sequence[int]) -> tuple[int, ...]:
    """The layers in the order in which they are read: the middle one, which a page shows first, then the others."""
    if not layers:
        return ()
    middle = layers[len(layers) // 2]
    return (middle, *(layer for layer in layers if layer != middle))
