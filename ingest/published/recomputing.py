"""Whether imported states are those of a model: some are computed again, at their layer and the ones beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...models.encoding import Encoder, Rows
from ...models.tokens import BulkTokenizer
from ...schemas.errors import BankMismatchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...models.loading import LoadedModel

#: States that are computed again, and the median cosine with the imported ones that makes them the model's. Half
#: precision, float8 and cut-off values cost up to some hundredths; another model gives far less.
CHECKED = 32
ALIKE = 0.9
#: How much better another layer must fit to be the one that is meant: neighbouring layers are much alike.
NEARER = 1e-3


def require_own(
    loaded: LoadedModel,
    tokenizer: BulkTokenizer,
    layer: int,
    entries: Sequence[Mapping[str, Any]],
    states: NDArray[np.float32],
    file: str,
) -> float:
    """Compute states again and compare.

    Args:
        loaded: the model that is said to have made them.
        tokenizer: its own.
        layer: of the states.
        entries: their ``caption`` and ``position``, special tokens counted.
        states: ``[n, dim]``, finite and not zero.
        file: where they came from, for the message.

    Returns:
        Median cosine.

    Raises:
        BankMismatchError: they are another model's, or of another layer.
    """
    medians = _medians(loaded, tokenizer, layer, entries, states)
    cosine, best = medians[layer], max(medians, key=lambda at: medians[at])
    said = f"{len(entries)} states of {file}, computed again by {loaded.name}, have a median cosine"
    if cosine < ALIKE:
        raise BankMismatchError(
            f"{said} of {cosine:.3f} with those in the file; expected {ALIKE} or more.",
            "Give the model that made the bank.",
        )
    if medians[best] > cosine + NEARER:
        raise BankMismatchError(
            f"{said} of {cosine:.4f} with those in the file, but of {medians[best]:.4f} at layer {best}: the bank "
            "numbers its layers differently.",
            "Rename its folders: layer_N must hold index N of hidden_states.",
        )
    return cosine


def _medians(
    loaded: LoadedModel,
    tokenizer: BulkTokenizer,
    layer: int,
    entries: Sequence[Mapping[str, Any]],
    states: NDArray[np.float32],
) -> dict[int, float]:
    """Median cosine of states with the model's own, at their layer and the ones beside it."""
    layers = [at for at in (layer - 1, layer, layer + 1) if 0 <= at <= loaded.lm.n_layers]
    encoder = Encoder(loaded, layers, "float32")
    units = states / np.linalg.norm(states.astype(np.float64), axis=1)[:, None]
    cosines: dict[int, list[float]] = {at: [] for at in layers}
    for entry, unit in zip(entries, units, strict=True):
        [encoding] = tokenizer.with_offsets([entry["caption"]])
        index = entry["position"]
        pending = encoder.encode([encoding.ids[: index + 1]], Rows(np.array([0]), np.array([index])))
        made, _ = pending.fetch(lambda _: "an imported row")
        for at in layers:
            cosines[at].append(float(made[at][0] @ unit))
    return {at: float(np.median(values)) for at, values in cosines.items()}
