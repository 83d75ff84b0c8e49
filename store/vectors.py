"""A bank's own unit vectors as arrays, where its engine lets them be read: for who multiplies instead of asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class VectorPart:
    """Rows that lie together.

    Attributes:
        rows: ``[n, dim]`` unit vectors as they are stored, float32 or float16; read-only, most often a mapped file.
        ids: ``[n, 2]`` unsigned 64-bit: the low and the high half of each row's point id.
        live: ``[n]`` boolean; false where a row was deleted, or is stored anew elsewhere. ``None``: all count.
    """

    rows: NDArray[np.floating[Any]]
    ids: NDArray[np.uint64]
    live: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class BankVectors:
    """All rows of a bank; each point is live in exactly one part.

    Attributes:
        parts: at least one where the bank has rows.
        half: whether the engine compares in float16, queries rounded to it as well.
    """

    parts: Sequence[VectorPart]
    half: bool = False


@dataclass(frozen=True, slots=True)
class NoVectors:
    """Why a bank's vectors cannot be read.

    Attributes:
        reason: a clause, as in "..., since REASON".
    """

    reason: str


def id_keys(ids: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """Point ids that sort as their UUID strings do, 16 bytes each.

    Args:
        ids: ``[n, 2]``, low and high half.
    """
    import numpy as np

    octets = np.ascontiguousarray(ids, dtype="<u8").view(np.uint8).reshape(len(ids), 16)
    return np.ascontiguousarray(octets[:, ::-1]).view("S16").reshape(len(ids))


def id_string(low: int, high: int) -> str:
    """A point id as the stores write it: a UUID string."""
    digits = f"{high:016x}{low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_halves(ids: Sequence[int]) -> NDArray[np.uint64]:
    """``[n, 2]``, low and high half, of 128-bit numbers."""
    import numpy as np

    octets = b"".join(number.to_bytes(16, "little") for number in ids)
    return np.frombuffer(octets, "<u8").reshape(len(ids), 2)
