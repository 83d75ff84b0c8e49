"""How much disk banks take, and how long it takes to index them, worked out from what goes into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..store.approximation import GRAPH_FROM_ROWS
from .rows import LONGEST_WHOLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .texts import Texts

#: Payload and its indexes, per row of a short sentence; an estimate.
_PAYLOAD_BYTES = 500
#: Bytes of a short sentence; each byte beyond is in the payload, and again in the index of words.
_SHORT_BYTES = 100
#: Seconds of one core for each number of a vector: to make 4-bit copies, and to build a graph. From docs/storage.md
#: (200,000 rows x 576 on two cores with AVX-512: 5.7 s and 44.2 s; without it a graph takes three times as long).
_COPY_SECONDS = 2 * 5.7 / (200_000 * 576)
_GRAPH_SECONDS = 2 * 44.2 / (200_000 * 576)


def text_beyond(texts: Texts, first: NDArray[np.int64], rows: int) -> int:
    """Bytes that long sentences add to a bank.

    Args:
        texts: the sentences.
        first: ``[sentences + 1]``, where each sentence's rows start.
        rows: how many there are.
    """
    return 2 * max(0, texts.bytes_of_rows(first, LONGEST_WHOLE) - _SHORT_BYTES * rows)


def bank_bytes(rows: int, dim: int, vector_dtype: str, quantised: bool, beyond: int = 0) -> int:
    """About how much one bank takes.

    Args:
        rows: of the bank.
        dim: values of a vector.
        vector_dtype: as stored.
        quantised: whether 4-bit copies are kept beside the vectors.
        beyond: :func:`text_beyond`.
    """
    width = dim * (2 if vector_dtype == "float16" else 4)
    return rows * (width + (dim // 2 if quantised else 0) + _PAYLOAD_BYTES) + beyond


def index_seconds(rows: int, dim: int, quantised: bool, graph: bool | None) -> float:
    """About how long it takes one core to index one bank.

    Args:
        rows: of the bank.
        dim: values of a vector.
        quantised: whether 4-bit copies are made.
        graph: whether there is a graph, too; ``None`` where the number of rows decides.
    """
    if not quantised:
        return 0.0
    wanted = rows >= GRAPH_FROM_ROWS if graph is None else graph
    return rows * dim * (_COPY_SECONDS + (_GRAPH_SECONDS if wanted else 0.0))
