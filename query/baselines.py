"""What a state's scores look like where nothing was meant: its cosines with rows that were taken by chance.

A cosine says little by itself. Some states are near to everything: to two random rows of the bank almost as near as to
the best of all. So every score is told beside the cosines of the same state with a sample of the same bank, whatever
filters the query has: half of the sample reaches ``typical``, one row in a hundred reaches ``reach``. A hundredth, not
the best row of the sample: that one may well be what the state means, and another sample would have another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from ..schemas.results import Neighbor, VocabularyToken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..store.bank import Bank
    from .bank_product import BankProduct

    Floats = NDArray[np.floating[Any]]

#: Rows of a sample: at most so many, and so many bytes of float32 (a server sends them).
ROWS = 1024
BYTES = 8 << 20
#: Of fewer rows there is no hundredth.
FEWEST = 100
# Rows that are asked for at once, and cosines that are held.
_PAGE = 256
_COSINES_AT_ONCE = 4 << 20
_DIGITS = 6

Found = TypeVar("Found", Neighbor, VocabularyToken)


class BankBaselines:
    """The samples of open banks, each fetched once, when it is first needed.

    A row's id is a hash of its context, so the first rows by id are as good as drawn by lot: the same ones in a folder
    and on a server, and in every session.
    """

    def __init__(
        self, banks: Sequence[Bank], device: torch.device | None = None, products: Sequence[BankProduct | None] = ()
    ) -> None:
        """Of banks that stay open; the first one of each layer stands for it. Computed on a device.

        Rows are read where a bank's product has them, else asked of its database.
        """
        self._device = device
        pairs = list(zip(banks, products or (None,) * len(banks), strict=True))
        self._banks = {bank.record.identity.layer: (bank, product) for bank, product in reversed(pairs)}
        self._samples: dict[int, Floats] = {}

    def told(self, states: Floats, found: Sequence[Sequence[Neighbor]]) -> list[tuple[Neighbor, ...]]:
        """The same neighbours, each with what the sample of its bank reaches.

        Args:
            states: ``[n, dim]``, any norm.
            found: for each state its neighbours.

        Raises:
            StoreError: the database failed.
        """
        levels: dict[tuple[int, int], tuple[float, float]] = {}
        for layer in sorted({neighbor.bank_layer for best in found for neighbor in best}):
            sample = self._sample(layer)
            if len(sample) < FEWEST:
                continue
            asked = [i for i, best in enumerate(found) if any(neighbor.bank_layer == layer for neighbor in best)]
            for i, level in zip(asked, chance_levels(states[asked], sample, self._device), strict=True):
                levels[i, layer] = level
        return [
            tuple(with_baseline(neighbor, levels.get((i, neighbor.bank_layer))) for neighbor in best)
            for i, best in enumerate(found)
        ]

    def _sample(self, layer: int) -> Floats:
        if layer not in self._samples:
            bank, product = self._banks[layer]
            most = sample_size(bank.record.identity.dim)
            self._samples[layer] = _first_rows(bank, most) if product is None else product.first(most)
        return self._samples[layer]


def _first_rows(bank: Bank, most: int) -> Floats:
    """``[n, dim]`` unit vectors, by id."""
    rows: list[Floats] = []
    offset: str | None = None
    while len(rows) < most:
        page, offset = bank.scroll(min(_PAGE, most - len(rows)), offset, with_vectors=True)
        rows += [vector for _, vector, _ in page if vector is not None]
        if offset is None:
            break
    return np.stack(rows).astype(np.float32) if rows else np.empty((0, bank.record.identity.dim), np.float32)


def sample_size(dim: int) -> int:
    """Rows of a sample, for a width."""
    return max(FEWEST, min(ROWS, BYTES // (4 * dim)))


def chance_levels(states: Floats, sample: Floats, device: torch.device | None = None) -> list[tuple[float, float]]:
    """The median of each state's cosines with a sample, and what one row in a hundred reaches.

    Args:
        states: ``[n, dim]``, any norm but zero.
        sample: ``[m, dim]`` unit vectors, one or more.
        device: where to compute; the processor by default.

    Returns:
        ``n`` pairs, six decimals: in float64, so that neither batches nor threads change them.
    """
    device = torch.device("cpu") if device is None else device
    kind = torch.float32 if device.type == "mps" else torch.float64  # which has no other
    rows = torch.from_numpy(np.ascontiguousarray(sample)).to(device, kind)
    hundredth = math.ceil(len(sample) / 100)
    levels: list[tuple[float, float]] = []
    step = max(1, _COSINES_AT_ONCE // len(sample))
    for start in range(0, len(states), step):
        part = torch.from_numpy(np.ascontiguousarray(states[start : start + step])).to(device, kind)
        cosines = (part / part.norm(dim=1, keepdim=True)) @ rows.T
        typical, reach = cosines.median(dim=1).values, cosines.topk(hundredth, dim=1).values[:, -1]
        levels += [
            (round(low, _DIGITS), round(high, _DIGITS)) for low, high in torch.stack([typical, reach], 1).tolist()
        ]
    return levels


def with_baseline(found: Found, level: tuple[float, float] | None) -> Found:
    """What was found, with what chance reaches; as it is where that is not known."""
    if level is None:
        return found
    typical, reach = level
    return replace(found, typical=typical, reach=reach, gap=round(found.score - reach, _DIGITS))
