"""Who does the work of an ingest: this process (:mod:`ingest.here`), or others that it tells what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..schemas.collection import BankIdentity
from ..schemas.progress import Progress
from ..store.writing import BankWriter
from .corpus import Corpus
from .options import IngestOptions
from .planning import Selection
from .texts import Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models.machine.precision import Precision

    Floats = NDArray[np.floating[Any]]


class Model(Protocol):
    """What an ingest has to know of a model, wherever its weights are."""

    @property
    def tokenizer(self) -> Any:
        """A fast tokenizer."""

    @property
    def source(self) -> str:
        """As given by the user; directories absolute."""

    @property
    def chosen(self) -> Precision | None:
        """Why it computes in its precision, where none was asked for."""

    @property
    def max_positions(self) -> int | None:
        """The longest sequence it was made for; ``None`` where it does not say."""

    @property
    def n_layers(self) -> int:
        """Blocks of the language model."""

    @property
    def dim(self) -> int:
        """Width of its hidden states."""

    @property
    def embeddings(self) -> int:
        """Rows of its input embedding."""

    def identity(self, layer: int, *, vector_dtype: str, max_contexts: int | None, seed: int) -> BankIdentity:
        """The identity of a bank that it fills at a layer."""


@dataclass(frozen=True, slots=True)
class Done:
    """Sentences whose rows were given to the store.

    Attributes:
        first: place of the first one in the encoding order.
        end: one past the last.
        tokens: that were encoded.
        written: rows of each bank.
        rows: corpus → rows; one of several corpora counts in each.
    """

    first: int
    end: int
    tokens: int
    written: int
    rows: Mapping[str, int] = field(default_factory=dict)


class Work(Protocol):
    """The parts of an ingest that take long."""

    @property
    def model(self) -> Model:
        """The model that is used."""

    def select(self, corpus: Corpus, options: IngestOptions, progress: Progress) -> Selection:
        """See :func:`ingest.planning.select`."""

    def means(
        self, layers: Sequence[int], options: IngestOptions, selection: Selection, texts: Texts, progress: Progress
    ) -> Mapping[int, Floats]:
        """See :func:`ingest.means.mean_states`; of :func:`ingest.means.drawn_blocks`."""

    def encode(
        self,
        writer: BankWriter,
        identities: Sequence[BankIdentity],
        options: IngestOptions,
        selection: Selection,
        texts: Texts,
        start: int,
    ) -> Iterator[Done | None]:
        """Encode and store what was chosen.

        Args:
            writer: of the banks.
            identities: of the banks.
            options: of the ingest.
            selection: what was chosen.
            texts: its sentences.
            start: place of the first sentence to encode.

        Yields:
            Every sentence from ``start`` on once, in any order, after its rows were given to the store; ``None``
            where nothing has come for a while, so that whoever waits can look around.

        Raises:
            ModelError: states cannot be computed.
            StoreError: rows cannot be stored.
        """
