"""What a server has: models, images, readings, and the threads that work for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..models.loading import LoadedModel
from ..schemas.results import LENSES, RESULT_VERSION
from ..schemas.version import tool_version
from .engine import Engine
from .jobs import Job
from .lookups import Lookups
from .questions import Question
from .settings import ServeSettings
from .shelf import Shelf
from .uploads import Uploads
from .worker import Worker

if TYPE_CHECKING:
    from ..store.store import Store


class Service:
    """Everything behind the routes; knows nothing of HTTP.

    Attributes:
        settings: bounds.
        models: by the name that clients use.
        uploads: images.
        shelf: readings.
        lookups: what needs no model.
        worker: the model's thread.
        engine: what it does.
        note: tells whoever runs the server something.
    """

    def __init__(
        self,
        models: Mapping[str, LoadedModel],
        open_store: Callable[[], AbstractContextManager[Store]],
        settings: ServeSettings,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing runs yet.

        Args:
            models: at least one.
            open_store: opens the store anew.
            settings: bounds.
            note: told what the person who runs the server should know.
            clock: by which readings are given up that nobody asks about.
        """
        self.note = note
        self.settings, self.models, self._clock = settings, models, clock
        self.uploads, self.shelf = Uploads(settings), Shelf(settings)
        self.lookups = Lookups(open_store, models)
        self.engine = Engine(models, open_store, self.uploads)
        self.worker = Worker(
            self.engine.read,
            self.engine.let_go,
            max_waiting=settings.max_waiting,
            idle_seconds=settings.idle_seconds,
            patience=settings.abandoned_seconds,
            note=note,
        )

    def ask(self, question: Question) -> Job:
        """Queue a reading.

        Raises:
            RequestError: the queue is full; an image is not there.
        """
        for image in (*question.images, *question.centre_images):
            self.uploads.get(image)
        job = Job(question, clock=self._clock)
        self.worker.put(job)
        self.shelf.add(job)
        return job

    def about(self) -> dict[str, Any]:
        """What can be asked of this server; JSON types only."""
        bounds = ("max_bytes", "max_pixels", "max_images", "max_centre_images", "max_text", "max_top_k", "max_answer")
        return {
            "tool": tool_version(),
            "result_version": RESULT_VERSION,
            "models": [
                {"name": name, "layers": loaded.lm.n_layers, "images": loaded.is_vlm, "dtype": loaded.dtype_name}
                for name, loaded in self.models.items()
            ],
            "lenses": LENSES,
            "limits": {name: getattr(self.settings, name) for name in bounds},
        }
