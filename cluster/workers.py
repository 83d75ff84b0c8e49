"""What runs in the worker processes. Each answer is one that can be pickled: what was done, or the error."""

from __future__ import annotations

import math
import pickle
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..ingest.corpus import Corpus
from ..ingest.here import encoder_of, store_batch
from ..ingest.means import mean_states
from ..ingest.parts import Part
from ..ingest.summaries import Summary, summarise
from ..ingest.tallies import Tally, fingerprint
from ..ingest.work import Done
from ..models.tokens import BulkTokenizer
from ..schemas.collection import BankIdentity
from ..schemas.errors import LensbankError
from ..schemas.progress import Silent
from ..store.writing import Permit, Sender
from .facts import Loading, ModelFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..models.encoding import Encoder

#: Seconds that a new worker waits for a server: as long as one takes to start again.
FIRST_PATIENCE = 60.0
#: Of the tables that go to workers, and of those that come back.
WORK, ANSWER = "work", "answer"


@dataclass(frozen=True, slots=True)
class Failed:
    """An error of a worker.

    Attributes:
        error: itself.
        node: name of the machine.
    """

    error: LensbankError
    node: str

    def as_error(self) -> LensbankError:
        """The same error, which says where it was."""
        message = f"On node {self.node}: {self.error.message}"
        error = LensbankError.__new__(type(self.error))
        LensbankError.__init__(error, message, self.error.hint)
        return error


def tried(work: Callable[[], Any]) -> Any:
    """What ``work`` returns, or :class:`Failed`."""
    try:
        return work()
    except LensbankError as error:
        return Failed(error, platform.node())


def describe(loading: Loading) -> ModelFacts | Failed:
    """Load the model once, and say what it is."""
    found: ModelFacts | Failed = tried(lambda: ModelFacts.of(loading.load()))
    return found


def fingerprints(corpus: Corpus) -> Mapping[str, str] | Failed:
    """The fingerprints of all corpora; the sentences stand in their order, so one process reads them."""
    found: Mapping[str, str] | Failed = tried(lambda: fingerprint(corpus, Silent()))
    return found


@dataclass(frozen=True, slots=True)
class Choosing:
    """Chooses from a part of the corpora.

    Attributes:
        tokenizer: the model's.
        embeddings: rows of its input embedding.
        max_contexts: per vocabulary token.
        seed: of the choice.
        max_positions: tokens that the model can read.
    """

    tokenizer: Any
    embeddings: int
    max_contexts: int | None
    seed: int
    max_positions: int | None

    def __call__(self, part: Corpus) -> Summary | Failed:
        """What is chosen from a part."""
        tokenizer = BulkTokenizer(self.tokenizer, self.embeddings)
        found: Summary | Failed = tried(
            lambda: summarise(part, tokenizer, self.max_contexts, self.seed, self.max_positions, Tally(), Silent())
        )
        return found


def means(
    loading: Loading, layers: Sequence[int], parts: Sequence[Part]
) -> Mapping[int, NDArray[np.floating[Any]]] | Failed:
    """See :func:`ingest.means.mean_states`."""

    def compute() -> Mapping[int, NDArray[np.floating[Any]]]:
        loaded = loading.load()
        tokenizer = BulkTokenizer(loaded.tokenizer, loaded.embeddings)
        return mean_states(loaded, layers, (part.rows(tokenizer) for part in parts), lambda count: None)

    found: Mapping[int, NDArray[np.floating[Any]]] | Failed = tried(compute)
    return found


@dataclass(frozen=True)
class Setting:
    """What an encoding worker gets once, at its start.

    Attributes:
        loading: of the model.
        identities: of the banks.
        permit: to write them.
    """

    loading: Loading
    identities: Sequence[BankIdentity]
    permit: Permit


@dataclass
class _Ready:
    """A worker that has its model and a way to the store."""

    tokenizer: BulkTokenizer
    encoder: Encoder
    sender: Sender

    @classmethod
    def by(cls, setting: Setting) -> _Ready:
        loaded = setting.loading.load()
        for identity in setting.identities:  # a folder of the same name may hold other weights here
            here = loaded.identity(
                identity.layer,
                vector_dtype=identity.vector_dtype,
                max_contexts=identity.max_contexts,
                seed=identity.seed,
            )
            identity.require_model(here)
        tokenizer = BulkTokenizer(loaded.tokenizer, loaded.embeddings)
        return cls(tokenizer, encoder_of(loaded, setting.identities), setting.permit.open(patience_here()))


def patience_here() -> float:
    """How many seconds a worker waits for a server that does not answer when it begins.

    Whoever was started again worked with it before: it waits as long as everybody else does. A node that may never
    have reached the server, because it has another name there, says so soon.
    """
    import ray

    return math.inf if ray.get_runtime_context().was_current_actor_reconstructed else FIRST_PATIENCE


class Worker:
    """An actor of Ray Data that does pieces of work.

    It is started without arguments: those of an actor that is started again may be gone with their node. A subclass
    holds the setting instead (:func:`worker_class`). What takes long to get ready is made ready with the first piece,
    so that what goes wrong there can be answered.
    """

    setting: ClassVar[Any]

    def __call__(self, table: Any) -> Any:
        """Ray Data's call: a table with a column :data:`WORK` gives one with a column :data:`ANSWER`."""
        return as_table(ANSWER, [self.answer(pickle.loads(one.as_py())) for one in table.column(WORK)])

    def answer(self, piece: Any) -> Any:
        """What was done, or :class:`Failed`."""
        return tried(lambda: self.work(piece))

    def work(self, piece: Any) -> Any:
        """Do a piece of work; returns when the server has its rows."""
        raise NotImplementedError


class EncodingWorker(Worker):
    """Holds the model, encodes parts of a corpus, and puts their rows into the banks."""

    setting: ClassVar[Setting]

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._ready: _Ready | None = None

    def work(self, piece: Sequence[Part]) -> list[Done]:
        """Store some parts."""
        if self._ready is None:
            self._ready = _Ready.by(self.setting)
        ready, done = self._ready, []
        for part in piece:
            rows = part.rows(ready.tokenizer)
            given = store_batch(ready.encoder, rows, ready.sender)
            done.append(Done(part.first, part.end, int(part.selection.lengths.sum()), len(rows), dict(given)))
        ready.sender.drain()
        return done


def worker_class(kind: type[Worker], setting: Any) -> type[Worker]:
    """The class of workers of a kind that were told ``setting``."""
    return type(kind.__name__, (kind,), {"setting": setting, "__module__": "__main__"})


def as_table(column: str, values: Sequence[Any]) -> Any:
    """A table of one column, a pickled value in each row."""
    import pyarrow

    return pyarrow.table({column: pyarrow.array([pickle.dumps(value) for value in values], pyarrow.large_binary())})
