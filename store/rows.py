"""Rows before they are stored, and query vectors before they are compared: checked and made unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..schemas.collection import BankIdentity
from ..schemas.errors import StateError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_OVERFLOW_HINT = "The usual cause is an overflow in half precision: load the model with --dtype float32."
_SURROGATES = re.compile("[\ud800-\udfff]")
# Squares of float32 numbers outside of this range overflow or lose digits; then float64 is used.
_SAFE_NORM = (1e-15, 1e15)
# What rounding makes of the norm of a unit row; the engine, too, leaves such rows alone.
_UNIT_WITHIN = 2e-6


def unit_rows(vectors: Floats, describe: Callable[[int], str]) -> NDArray[np.float32]:
    """Rows divided by their norms, in float32.

    The engine accepts NaN and zero vectors without a word, and turns huge ones to zero. Rows that
    are unit already stay as they are, bit for bit: a stored row can be stored elsewhere.

    Args:
        vectors: ``[n, dim]``.
        describe: names row ``i`` in an error.

    Raises:
        StateError: a row is NaN, infinite or zero.
    """
    import numpy as np

    rows = np.asarray(vectors, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if np.all((norms > _SAFE_NORM[0]) & (norms < _SAFE_NORM[1])):
        scale = np.where(np.abs(norms - 1) < _UNIT_WITHIN, np.float32(1), 1 / norms)
        unit: NDArray[np.float32] = rows * scale[:, None]
        return unit
    wide = rows.astype(np.float64)
    wide_norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    for i in np.flatnonzero(~(np.isfinite(wide_norms) & (wide_norms > 0))):
        what = "zero" if wide_norms[i] == 0 else "NaN" if np.isnan(rows[i]).any() else "infinite"
        raise StateError(
            f"{describe(int(i))} is {what}, so it has no direction and cannot be compared.", _OVERFLOW_HINT
        )
    return np.asarray(wide / wide_norms[:, None], dtype=np.float32)


def clean_text(text: str) -> str:
    """The text with lone surrogates, which are no characters, as U+FFFD; offsets stay the same."""
    return _SURROGATES.sub("\ufffd", text)


def clean_payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload that can be stored: its texts through :func:`clean_text`."""
    return {k: _clean(v) for k, v in payload.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else clean_text(value)
    return [_clean(one) for one in value] if isinstance(value, list | tuple) else value


class Names(tuple[str, ...]):
    """Names of a row's corpora: rows can be grouped by them, and they equal the list that is stored."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        """Also with a list."""
        return super().__eq__(tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        """Likewise."""
        return not self == other

    __hash__ = tuple.__hash__


def payload_as_read(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """A stored payload for who reads it: ``corpus`` as :class:`Names`."""
    found = dict(payload or {})
    if isinstance(names := found.get("corpus"), list):
        found["corpus"] = Names(names)
    return found


def check_rows(
    ids: Sequence[str],
    payloads: Sequence[Mapping[str, Any]],
    vectors: Mapping[int, Floats],
    norms: Mapping[int, Floats],
    layers: Collection[int],
    dim: int,
) -> None:
    """Whether the arguments of a ``put`` fit together.

    Raises:
        ValueError: lengths, layers or shapes do not fit.
        StateError: a norm is NaN, infinite or zero.
    """
    import numpy as np

    count = len(ids)
    if len(payloads) != count:
        raise ValueError(f"{count} ids, but {len(payloads)} payloads")
    for name, given in (("vectors", vectors), ("norms", norms)):
        if set(given) != set(layers):
            raise ValueError(f"{name} of layers {sorted(given)}, expected {sorted(layers)}")
    for layer in layers:
        if vectors[layer].shape != (count, dim) or norms[layer].shape != (count,):
            raise ValueError(
                f"layer {layer}: vectors {list(vectors[layer].shape)} and norms {list(norms[layer].shape)}, "
                f"expected [{count}, {dim}] and [{count}]"
            )
        bad = np.flatnonzero(~(np.isfinite(norms[layer]) & (norms[layer] > 0)))
        if len(bad):
            row = int(bad[0])
            raise StateError(
                f"The state of {describe_row(payloads[row])} at layer {layer} has norm {norms[layer][row]}.",
                _OVERFLOW_HINT,
            )


def checked_rows(
    ids: Sequence[str],
    payloads: Sequence[Mapping[str, Any]],
    vectors: Mapping[int, Floats],
    norms: Mapping[int, Floats],
    layers: Collection[int],
    dim: int,
) -> tuple[list[dict[str, Any]], dict[int, NDArray[np.float32]]]:
    """The arguments of a ``put`` as they are stored: payloads any database takes, and per layer ``[n, dim]`` unit rows.

    Raises:
        ValueError: lengths, layers or shapes do not fit.
        StateError: a vector or norm is NaN, infinite or zero.
    """
    check_rows(ids, payloads, vectors, norms, layers, dim)

    def unit(layer: int) -> NDArray[np.float32]:
        return unit_rows(vectors[layer], lambda row: f"The state of {describe_row(payloads[row])} at layer {layer}")

    return [clean_payload(payload) for payload in payloads], {layer: unit(layer) for layer in vectors}


def describe_row(payload: Mapping[str, Any]) -> str:
    """A token and where it stands, for errors."""
    return f"token {payload.get('token')!r} in {payload.get('sentence')!r} ({payload.get('document')})"


def engine_id(point_id: str) -> str | int:
    """An id as the databases take it: a number that another program gave a point is none of ours, but can be read."""
    return int(point_id) if point_id.isascii() and point_id.isdigit() else point_id


def unit_queries(vectors: Floats, dim: int, k: int) -> NDArray[np.float32]:
    """Query vectors, checked and normalised.

    Raises:
        ValueError: the shape is not ``[n, dim]``, or ``k`` is negative.
        StateError: a vector is NaN, infinite or zero.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ValueError(f"query vectors have shape {list(vectors.shape)}, expected [n, {dim}]")
    if k < 0:
        raise ValueError(f"k is {k}, expected 0 or more")
    return unit_rows(vectors, lambda i: f"Query vector {i} of {len(vectors)}")


def one_width(identities: Sequence[BankIdentity]) -> int:
    """The width that all banks of one writer share.

    Raises:
        ValueError: no identities, two of one layer, or of different widths.
    """
    if not identities:
        raise ValueError("a writer needs at least one bank")
    widths = {identity.dim for identity in identities}
    if len(widths) != 1 or len({identity.layer for identity in identities}) != len(identities):
        raise ValueError("a writer's banks must be of different layers of one model")
    return widths.pop()
