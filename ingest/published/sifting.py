"""Which rows of a published file are kept, and what is counted of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...schemas.imports import ImportRecord
from .locating import Located
from .official import FLOAT8_LIMIT, Cache

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Norms of normalised rows, after float16.
_UNIT = (0.99, 1.01)
_KEPT = ("located", "relocated", "unlocated")
_LEFT_OUT = {
    "broken": "whose states are NaN, infinite or zero",
    "special": "of special or invisible tokens",
    "repeated": "with prefixes that are stored already",
}


class Sieve:
    """Keeps each row that has a direction and a place of its own; once per file."""

    def __init__(self) -> None:
        """Nothing seen."""
        self._counts: Counter[str] = Counter()
        self._ids: set[str] = set()
        self._clipped = 0
        self._raw = False

    def sift(self, found: Sequence[Located], states: NDArray[np.float32]) -> tuple[list[int], NDArray[np.float32]]:
        """Look at rows.

        Args:
            found: what has become of each.
            states: ``[n, dim]``.

        Returns:
            Numbers of the rows to keep, and the norms of all, ``[n]``.
        """
        norms = np.linalg.norm(states.astype(np.float64), axis=1)
        good = np.isfinite(norms) & (norms > 0)
        self._raw |= bool(((norms[good] < _UNIT[0]) | (norms[good] > _UNIT[1])).any())
        self._clipped += int((np.abs(states) >= FLOAT8_LIMIT).sum()) if self._raw else 0
        kept: list[int] = []
        for row, (place, usable) in enumerate(zip(found, good.tolist(), strict=True)):
            if place.kind == "special":
                self._counts["special"] += 1
            elif not usable:
                self._counts["broken"] += 1
            elif place.id in self._ids:
                self._counts["repeated"] += 1
            else:
                self._ids.add(place.id)
                self._counts[place.kind] += 1
                kept.append(row)
        return kept, norms.astype(np.float32)

    @property
    def rows(self) -> int:
        """How many were kept."""
        return sum(self._counts[kind] for kind in _KEPT)

    def left_out(self) -> str:
        """Why others were not, for people."""
        return ", ".join(f"{self._counts[kind]:,} {what}" for kind, what in _LEFT_OUT.items() if self._counts[kind])

    def record(
        self, cache: Cache, *, folder: Path, file: str, digest: str, checked: int, cosine: float, declared: str
    ) -> ImportRecord:
        """What goes into the bank's record.

        Args:
            cache: the file.
            folder: of the published bank.
            file: its name in there.
            digest: SHA-256 of it.
            checked: states that were computed again.
            cosine: their median cosine with the file's.
            declared: what the folder says of itself.
        """
        kinds = (*_KEPT, *("special", "repeated", "broken"))
        return ImportRecord(
            folder=str(folder),
            file=file,
            sha256=digest,
            stored_dtype=cache.dtype,
            raw_norms=self._raw,
            clipped=self._clipped,
            read=len(cache.metadata),
            **{kind: self._counts[kind] for kind in kinds},
            checked=checked,
            cosine=round(cosine, 5),
            declared=declared,
        )
