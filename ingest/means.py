"""The mean state of a corpus at each layer, from a sample: what a centred bank subtracts.

Hidden states of a language model lie in a narrow cone (anisotropy: Ethayarajh 2019, arXiv 1909.00512): a common
vector makes up much of each, and cosines then compare that vector with itself. A bank may
subtract it; visual states are compared after subtracting a mean of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.encoding import Encoder
from ..schemas.collection import BankIdentity
from ..store.found import BankInfo
from .options import IngestOptions
from .planning import Selection
from .rows import BatchRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models.loading import LoadedModel
    from .work import Model

    Floats = NDArray[np.floating[Any]]

#: Rows of the sample: the mean's error is then a hundredth of the states' own spread.
SAMPLE_ROWS = 10_000
# Sentences of similar length that are drawn, and encoded, together.
_BLOCK = 16


def bank_identities(model: Model, options: IngestOptions, existing: Mapping[str, BankInfo]) -> list[BankIdentity]:
    """What an ingest will write, one bank a layer.

    Of a centred bank that exists, the mean is the one that its rows were centred on: rows that are
    added must have lost the same. Of a new one, it is not known yet.

    Args:
        model: the model.
        options: layers, selection, precision, and whether to centre.
        existing: the store's banks by name.
    """
    identities = []
    for layer in sorted(set(options.layers)):
        one = model.identity(
            layer, vector_dtype=options.vector_dtype, max_contexts=options.max_contexts, seed=options.seed
        )
        identities.append(replace(one, centred=options.centre))
    if not options.centre:
        return identities
    return [
        replace(one, mean=existing[one.name()].record.identity.mean) if one.name() in existing else one
        for one in identities
    ]


def with_means(
    identities: Sequence[BankIdentity], compute: Callable[[Sequence[int]], Mapping[int, Floats]]
) -> list[BankIdentity]:
    """The same banks; of centred ones, the means that are still missing are computed.

    Args:
        identities: of the banks.
        compute: gives layers their mean, see :func:`mean_states`.
    """
    lacking = [identity.layer for identity in identities if identity.centred and identity.mean is None]
    means = compute(lacking) if lacking else {}
    return [one.with_mean(means[one.layer]) if one.layer in means else one for one in identities]


def mean_states(
    loaded: LoadedModel, layers: Sequence[int], batches: Iterable[BatchRows], advance: Callable[[int], None]
) -> dict[int, Floats]:
    """The mean raw state of a sample of the chosen tokens.

    Args:
        loaded: the model.
        layers: of the means.
        batches: the sample, :func:`drawn_blocks`.
        advance: told of rows as they are done.

    Returns:
        Layer → ``[dim]`` float32.

    Raises:
        StateError: a state is NaN, infinite or zero.
    """
    encoder = Encoder(loaded, layers, "float32")
    sums = {layer: np.zeros(loaded.dim, np.float64) for layer in layers}
    count = 0
    for rows in batches:
        if not len(rows):
            continue
        units, norms = encoder.encode(rows.ids, rows.wanted()).fetch(rows.describe)
        for layer, unit in units.items():
            sums[layer] += norms[layer].astype(np.float64) @ unit.astype(np.float64)
        count += len(rows)
        advance(len(rows))
    return {layer: (total / max(1, count)).astype(np.float32) for layer, total in sums.items()}


def drawn_blocks(selection: Selection, seed: int) -> list[tuple[int, int]]:
    """The sample: blocks of sentences of similar length, drawn by the seed; all of a small corpus.

    Args:
        selection: what was chosen.
        seed: of the sample.

    Returns:
        Blocks of consecutive sentences that hold at least :data:`SAMPLE_ROWS` rows together, or all; in order.
    """
    total = len(selection.hashes)
    blocks = [(first, min(first + _BLOCK, total)) for first in range(0, total, _BLOCK)]
    drawn, rows = [], 0
    for number in np.random.default_rng(seed).permutation(len(blocks)).tolist():
        if rows >= SAMPLE_ROWS:
            break
        first, end = blocks[number]
        rows += int(selection.first[end] - selection.first[first])
        drawn.append((first, end))
    return sorted(drawn)
