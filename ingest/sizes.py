"""How much disk banks take, worked out from what goes into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rows import LONGEST_WHOLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .texts import Texts

#: Payload and its indexes, per row of a short sentence; an estimate.
_PAYLOAD_BYTES = 500
#: Bytes of a short sentence; each byte beyond is in the payload, and again in the index of words.
_SHORT_BYTES = 100


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
