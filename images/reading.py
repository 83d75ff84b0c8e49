"""Images become rows: the model sees each once, the lenses describe its visual tokens, and both go to the banks.

Who does this is another question: this process (:class:`Here`), or others that it tells what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from ..query.asked import Asked
from ..query.asking import ask_image
from ..query.pipeline import QuerySession
from ..schemas.errors import ImageError, InputError, ModelError, UnsupportedModelError
from ..store.writing import BankWriter, RowSink
from .facts import IndexFacts
from .rows import of_tokens, rows_of_image
from .sets import SetImage, hashed

#: Images that are read as one unit of work, the same whoever does it: what lenses are asked at once decides last bits.
IMAGES_TOGETHER = 8
#: States that the lenses read at once: several images of few visual tokens, one of many.
_STATES_AT_ONCE = 1024

#: Opens the writers, one a layer; the same ones when called again. Told the visual tokens of an image, about; 0 where
#: they are not known.
Writers = Callable[[float], Mapping[int, BankWriter]]
#: Image → SHA-256 of its file, and image → why it cannot be read.
Hashed = tuple[dict[str, str], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Job:
    """Images to read; can be pickled.

    Attributes:
        name: of the set.
        images: of it.
        layers: of the banks that lack something.
        read: digest of how they are read.
    """

    name: str
    images: Sequence[SetImage]
    layers: Sequence[int]
    read: str

    def units(self) -> Iterator[Job]:
        """The same in parts of :data:`IMAGES_TOGETHER` images."""
        for at in range(0, len(self.images), IMAGES_TOGETHER):
            yield Job(self.name, self.images[at : at + IMAGES_TOGETHER], self.layers, self.read)


@dataclass(frozen=True, slots=True)
class Read:
    """What became of an image.

    Attributes:
        name: of the image.
        sha256: of the file that was read; empty where it could not be.
        tokens: visual tokens, whose rows were given to the store.
        odd: why it could not be read; empty where it was.
    """

    name: str
    sha256: str = ""
    tokens: int = 0
    odd: str = ""


class ImageWork(Protocol):
    """The parts of an index that take long."""

    @property
    def facts(self) -> IndexFacts:
        """What decides the banks."""

    def hashed(self, images: Sequence[SetImage], advance: Callable[[int], None]) -> Hashed:
        """See :func:`images.sets.hashed`."""

    def read(self, job: Job, writers: Writers) -> Iterator[Read | None]:
        """Read images and store their rows; ids that are there are replaced.

        Args:
            job: the images.
            writers: called when one of the images could be read, and not before.

        Yields:
            Every image once, in any order, after its rows were given to the store; ``None`` where nothing has come
            for a while, so that whoever waits can look around.

        Raises:
            UnsupportedModelError: the model's visual tokens cannot be located, whatever the image.
            StoreError: the store failed.
        """


class Here:
    """This process, with one session.

    Args:
        session: the model and its lenses.
        vector_dtype: of the stored directions.

    Raises:
        LensbankError: as :meth:`images.facts.IndexFacts.of`.
    """

    def __init__(self, session: QuerySession, vector_dtype: Literal["float32", "float16"]) -> None:
        """Nothing runs yet."""
        self._session = session
        self.facts = IndexFacts.of(session, vector_dtype)

    def hashed(self, images: Sequence[SetImage], advance: Callable[[int], None]) -> Hashed:
        """See :meth:`ImageWork.hashed`."""
        return hashed(images, advance)

    def read(self, job: Job, writers: Writers) -> Iterator[Read | None]:
        """See :meth:`ImageWork.read`."""
        for unit in job.units():
            yield from read_images(self._session, unit, writers)


def read_images(session: QuerySession, job: Job, sinks: Callable[[float], Mapping[int, RowSink]]) -> Iterator[Read]:
    """Read images in this process; arguments, answers and errors as of :meth:`ImageWork.read`."""
    batch: list[tuple[SetImage, Asked]] = []
    for image in job.images:
        try:
            batch.append((image, _asked(session, image, job.layers)))
        except (ImageError, InputError, ModelError) as error:
            if isinstance(error, UnsupportedModelError):
                raise  # the model's fault, whatever the image
            yield Read(image.name, odd=error.message)
            continue
        if sum(len(asked.tokens) for _, asked in batch) * len(job.layers) >= _STATES_AT_ONCE:
            yield from _stored(session, job, batch, sinks(_tokens_of(batch)))
            batch = []
    if batch:
        yield from _stored(session, job, batch, sinks(_tokens_of(batch)))


def _tokens_of(batch: Sequence[tuple[SetImage, Asked]]) -> float:
    """Visual tokens of one of them, on average."""
    return sum(len(asked.tokens) for _, asked in batch) / len(batch)


def _asked(session: QuerySession, image: SetImage, layers: Sequence[int]) -> Asked:
    asked = ask_image(session.loaded, image.path, layers, session.options)
    if image.size is not None and image.size != (asked.width, asked.height):
        raise InputError(
            f"it is annotated as {image.size[0]} x {image.size[1]} pixels, but has {asked.width} x "
            f"{asked.height}, so the boxes would be in the wrong place"
        )
    return asked


def _stored(
    session: QuerySession, job: Job, batch: Sequence[tuple[SetImage, Asked]], sinks: Mapping[int, RowSink]
) -> Iterator[Read]:
    """Let the lenses read the states of some images at once, and hand over the rows."""
    stacked = {layer: np.concatenate([asked.states[layer] for _, asked in batch]) for layer in job.layers}
    answers, start = session.vectors(stacked, silent=True), 0
    for image, asked in batch:
        end = start + len(asked.tokens)
        for layer in job.layers:
            said: dict[str, Any] = of_tokens(answers, layer, start, end)
            ids, payloads = rows_of_image(job.name, image, asked, said, job.read)
            states = asked.states[layer]
            norms = np.linalg.norm(states, axis=1).astype(np.float32)
            sinks[layer].put(ids, payloads, {layer: states}, {layer: norms})
        start = end
        yield Read(image.name, asked.sha256, len(asked.tokens))
