"""What a model makes of one fixed text, kept with a bank: other code reads the same weights otherwise.

Weights and configuration say what is computed, but for what is written in code: a norm of 1 + w in place of w, rotary
pairs of neighbours in place of halves, a version of a library that computes attention in another way. States of one
text show it.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: How :mod:`models.probing` makes one; those made in another way are not compared.
KIND = "signs of shake-256, 64"
#: Numbers that stand for the states at one layer.
NUMBERS = 64

# Lowest cosine of two probes that passes; the laxer one of two precisions holds. Measured on a model of 30 layers,
# 1 - cosine with float32: another attention kernel 2e-13, weights rounded to bfloat16 4e-6, float16 5e-6, bfloat16
# 2e-4, int8 4e-3, nf4 4e-2; of other code a norm of 1 + w 0.8, unscaled embeddings 0.4, rotary pairs of neighbours
# 0.08, GELU for SiLU 0.08.
_LOWEST = {"float32": 0.999, "float16": 0.99, "bfloat16": 0.98}
_LOWEST_INT8, _LOWEST_NARROW = 0.9, 0.8
# Of float32 with the very same weights: only the order of sums differs.
_LOWEST_SAME = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Probe:
    """States of one fixed text.

    Attributes:
        ids: the text's token ids, as an ingest reads it.
        states: layer (as text) → the states at that layer, all but the first token's, as :data:`NUMBERS` signed sums
            of their values: float32, little-endian, in base64.
        values: fingerprint of the weights to their last bit, where it computes in float32; else ``None``. Those on
            record beside it are rounded.
        dtype: what they were computed in, as ``compute_dtype``.
        code: what computed them, for messages.
        kind: how they were made.
    """

    ids: tuple[int, ...]
    states: Mapping[str, str]
    dtype: str
    code: str
    values: str | None = None
    kind: str = KIND

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Probe | None:
        """Read a stored probe; ``None`` for one of another kind, which cannot be compared.

        Raises:
            KeyError, ValueError, TypeError: it is none.
        """
        if data["kind"] != KIND:
            return None
        for numbers in data["states"].values():
            _unpacked(numbers)
        return cls(tuple(data["ids"]), dict(data["states"]), data["dtype"], data["code"], data.get("values"))

    def difference(self, other: Probe) -> str | None:
        """In which way another probe shows that something else is computed; ``None`` where it does not."""
        if self.kind != other.kind:
            return None
        if self.ids != other.ids:
            length = min(len(self.ids), len(other.ids))  # of a model that takes fewer tokens
            if self.ids[:length] == other.ids[:length]:
                return None
            return f"the fixed text has token ids {list(self.ids)} in the bank, {list(other.ids)} now"
        same = self.values is not None and self.values == other.values
        limit = _LOWEST_SAME if same else min(lowest_cosine(self.dtype), lowest_cosine(other.dtype))
        cosines = {
            layer: _cosine(self.states[layer], other.states[layer]) for layer in self.states.keys() & other.states
        }
        if not cosines or (lowest := min(cosines.values())) >= limit:
            return None
        layer = min((int(layer) for layer, cosine in cosines.items() if cosine < limit))
        return (
            f"its states for a fixed text of {len(self.ids)} tokens have a cosine of {lowest:.7g} with the current "
            f"ones (first difference at layer {layer}), expected {limit:.7g} or more ({self.dtype} in the bank, "
            f"{other.dtype} now)"
        )


def lowest_cosine(dtype: str) -> float:
    """The lowest cosine with a probe in float32 that rounding explains.

    Args:
        dtype: as ``compute_dtype``.
    """
    quantised, _, dtype = dtype.rpartition("-")
    narrow = {"": 1.0, "int8": _LOWEST_INT8}.get(quantised, _LOWEST_NARROW)
    return min(narrow, _LOWEST.get(dtype, _LOWEST["bfloat16"]))


def packed(numbers: Iterable[float]) -> str:
    """Numbers as a probe holds them.

    Raises:
        ValueError: there are not :data:`NUMBERS`.
    """
    values = list(numbers)
    if len(values) != NUMBERS:
        raise ValueError(f"{len(values)} numbers; expected {NUMBERS}")
    return base64.b64encode(struct.pack(f"<{NUMBERS}f", *values)).decode("ascii")


def _unpacked(text: str) -> tuple[float, ...]:
    data = base64.b64decode(text, validate=True)
    if len(data) != 4 * NUMBERS:
        raise ValueError(f"a probe of {len(data)} bytes a layer; expected {4 * NUMBERS}")
    numbers = struct.unpack(f"<{NUMBERS}f", data)
    if not 0 < math.hypot(*numbers) < math.inf:
        raise ValueError("a probe that has no direction")
    return numbers


def _cosine(here: str, there: str) -> float:
    one, other = _unpacked(here), _unpacked(there)
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
