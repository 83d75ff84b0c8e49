"""The work of an index of images on a Ray cluster: actors read images, ask the lenses, and store the rows.

Every actor has the model and searches the text banks itself: the server's, or local copies that the actors of a node
share. This process compares, plans, keeps account, and removes what was replaced.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from ..banks.local_copies import CopyOpener
from ..images.facts import IndexFacts, tokens_of_any
from ..images.reading import Hashed, Job, Read, Writers, read_images
from ..images.sets import SetImage, hashed
from ..query.images import open_image
from ..query.options import QueryOptions
from ..query.pipeline import QuerySession
from ..schemas.errors import BankMismatchError, ImageError
from ..schemas.progress import Noted, Progress
from ..schemas.version import tool_version
from ..store.store import Opener
from ..store.writing import Permit, Sender
from .connecting import Workers
from .facts import Loading
from .running import by_tasks, by_workers, on_a_worker, require_same_tool
from .waiting import Note, unheard
from .workers import Failed, Worker, patience_here, tried, worker_class

if TYPE_CHECKING:
    from ..store.store import Store

#: Images whose files one task hashes.
_FILES_TOGETHER = 256


@dataclass(frozen=True)
class Asking:
    """How a worker makes the session that reads images; can be pickled.

    Attributes:
        loading: of the model.
        store: of the text banks; may make copies of them where it is opened.
        options: what the lenses are asked.
        vector_dtype: of the stored directions.
    """

    loading: Loading
    store: Opener
    options: QueryOptions
    vector_dtype: Literal["float32", "float16"]

    def open(self, progress: Progress, patience: float | None = None) -> QuerySession:
        """Open the session; it keeps the store open for as long as this process lasts.

        Args:
            progress: told of copies of the text banks.
            patience: see :meth:`store.store.Opener.open`.

        Raises:
            LensbankError: as :func:`models.loading.load_model` and :class:`query.pipeline.QuerySession`.
        """
        loaded = self.loading.load()
        return QuerySession(self.store.open(progress, patience), loaded, self.options)


def describe(asking: Asking) -> tuple[IndexFacts, int, str, str, list[str]] | Failed:
    """What a session says, visual tokens of an image, the model's precision, the program's version, notes on copies."""

    def look() -> tuple[IndexFacts, int, str, str, list[str]]:
        noted = Noted()
        with asking.open(noted) as session:
            facts, loaded = IndexFacts.of(session, asking.vector_dtype), session.loaded
            tokens, dtype = tokens_of_any(loaded, asking.options.prompt), str(loaded.dtype).removeprefix("torch.")
            return facts, tokens, dtype, tool_version(), _with_node(noted.notes)

    found: tuple[IndexFacts, int, str, str, list[str]] | Failed = tried(look)
    return found


def _with_node(notes: Iterable[str]) -> list[str]:
    return [f"On node {platform.node()}: {note}" for note in notes]


@dataclass(frozen=True)
class Setting:
    """What a worker that reads images is told once.

    Attributes:
        asking: of the session.
        facts: what that must say.
        permits: to write, one a layer.
    """

    asking: Asking
    facts: IndexFacts
    permits: Mapping[int, Permit]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says of some images.

    Attributes:
        reads: of each what became of it.
        notes: on copies that were made since the last answer, or could not be; with the node's name.
    """

    reads: Sequence[Read]
    notes: Sequence[str]


class IndexingWorker(Worker):
    """Holds the model and the lenses, reads images, and puts their rows into the image banks."""

    setting: ClassVar[Setting]

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._session: QuerySession | None = None
        self._noted = Noted()
        self._senders: dict[int, Sender] = {}

    def work(self, piece: Job) -> Answer:
        """Read some images."""
        session = self._session = self._session or self._opened()
        found = [_placed(one, piece) for one in read_images(session, piece, lambda tokens: self._senders)]
        for sender in self._senders.values():
            sender.drain()
        notes, self._noted.notes = _with_node(self._noted.notes), []
        return Answer(found, notes)

    def _opened(self) -> QuerySession:
        patience = patience_here()
        session, told = self.setting.asking.open(self._noted, patience), self.setting.facts
        facts = IndexFacts.of(session, self.setting.asking.vector_dtype)
        for identity, here in zip(told.identities, facts.identities, strict=True):
            identity.require_model(here)  # a folder of the same name may hold other weights here
        if differing := told.record.differences(facts.record):
            raise BankMismatchError(
                f"The index began with other {', '.join(differing)} than this worker finds: a text bank has changed.",
                "Run the same command again when the text banks are complete.",
            )
        self._senders = {layer: permit.open(patience) for layer, permit in self.setting.permits.items()}
        return session


def _placed(read: Read, job: Job) -> Read:
    """The same; where the file is missing on this node alone, its reason says so."""
    if read.odd and not next(one for one in job.images if one.name == read.name).path.exists():
        return replace(read, odd=f"{read.odd} (on node {platform.node()})")
    return read


def hash_files(images: Sequence[SetImage]) -> Hashed:
    """See :func:`images.sets.hashed`."""
    return hashed(images, lambda count: None)


@dataclass(frozen=True)
class IndexOnCluster:
    """See :class:`images.reading.ImageWork`.

    Attributes:
        facts: what decides the banks, as one worker found it.
        asking: how a worker makes its session.
        workers: how many there are.
        tokens: visual tokens of an image; 0 where that depends on the image.
        note: told of copies of the text banks, and what is waited for where nothing comes of the cluster for long.
    """

    facts: IndexFacts
    asking: Asking
    workers: Workers
    tokens: int = 0
    note: Note = unheard

    @classmethod
    def of(
        cls,
        loading: Loading,
        store: Store,
        options: QueryOptions,
        vector_dtype: Literal["float32", "float16"],
        workers: Workers,
        note: Note = unheard,
    ) -> IndexOnCluster:
        """Load the model on one worker, open the text banks there, and learn what they are.

        Args:
            loading: of the model.
            store: of the text banks.
            options: what the lenses are asked.
            vector_dtype: of the stored directions.
            workers: how many will read.
            note: told of copies of the text banks, where the store makes such, and what is waited for.

        Raises:
            UsageError: the store is a folder.
            LensbankError: a worker's; it says on which node.
        """
        asking = Asking(loading.given(workers), store.opener(), options, vector_dtype)
        if isinstance(asking.store, CopyOpener) and "latent" in options.lenses:
            note(asking.store.line())
        facts, tokens, dtype, tool, notes = on_a_worker(workers, note, describe, asking)
        require_same_tool(tool)
        for line in notes:
            note(line)
        return cls(facts, replace(asking, loading=asking.loading.fixed(dtype)), workers, tokens, note)

    def hashed(self, images: Sequence[SetImage], advance: Callable[[int], None]) -> Hashed:
        """See :meth:`images.reading.ImageWork.hashed`; files are read on all nodes."""
        here = [_anywhere(image) for image in images]
        parts = [here[at : at + _FILES_TOGETHER] for at in range(0, len(here), _FILES_TOGETHER)]
        digests, odd = dict[str, str](), dict[str, str]()
        for found, reasons in by_tasks(hash_files, parts, self.note):
            digests |= found
            odd |= reasons
            advance(len(found) + len(reasons))
        return digests, odd

    def read(self, job: Job, writers: Writers) -> Iterator[Read | None]:
        """See :meth:`images.reading.ImageWork.read`."""
        if refused := _all_refused(job.images, self.asking.options.max_pixels):
            yield from refused
            return
        permits = {layer: writer.permit() for layer, writer in writers(self.tokens).items()}
        kind = worker_class(IndexingWorker, Setting(self.asking, self.facts, permits))
        job = replace(job, images=[_anywhere(image) for image in job.images])
        said = set[str]()
        for answer in by_workers(self.workers, kind, job.units(), self.note):
            if answer is None:
                yield None
                continue
            for line in answer.notes:
                if line not in said:  # several workers of a node may say the same
                    said.add(line)
                    self.note(line)
            yield from answer.reads


def _anywhere(image: SetImage) -> SetImage:
    """The same image, whatever folder a process works in."""
    return replace(image, path=image.path.absolute())


def _all_refused(images: Sequence[SetImage], max_pixels: int) -> list[Read]:
    """Why none of some images can be opened; nothing where one can, which is found with the first as a rule."""
    refused = []
    for image in images:
        try:
            open_image(image.path, max_pixels)
        except ImageError as error:
            refused.append(Read(image.name, odd=error.message))
        else:
            return []
    return refused
