"""The mean state of a corpus at each layer, from a sample: what a centred bank subtracts.

Hidden states of a language model lie in a narrow cone (anisotropy: Ethayarajh 2019, arXiv 1909.00512): a common
vector makes up much of each, and cosines then compare that vector with itself. A bank may
subtract it; visual states are compared after subtracting a mean of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.encoding import Encoder
from ..models.tokens import BulkTokenizer
from ..schemas.collection import BankIdentity
from ..schemas.progress import Progress
from ..store.base import BankInfo
from .options import IngestOptions
from .planning import Selection
from .rows import BatchRows
from .texts import Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models.loading import LoadedModel

    Floats = NDArray[np.floating[Any]]

#: Rows of the sample: the mean's error is then a hundredth of the states' own spread.
SAMPLE_ROWS = 10_000
# Sentences of similar length that are drawn, and encoded, together.
_BLOCK = 16


def bank_identities(
    loaded: LoadedModel, options: IngestOptions, existing: Mapping[str, BankInfo]
) -> list[BankIdentity]:
    """What an ingest will write, one bank a layer.

    Of a centred bank that exists, the mean is the one that its rows were centred on: rows that are
    added must have lost the same. Of a new one, it is not known yet.

    Args:
        loaded: the model.
        options: layers, selection, precision, and whether to centre.
        existing: the store's banks by name.
    """
    identities = []
    for layer in sorted(set(options.layers)):
        one = loaded.identity(
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
    identities: Sequence[BankIdentity],
    loaded: LoadedModel,
    selection: Selection,
    texts: Texts,
    tokenizer: BulkTokenizer,
    progress: Progress,
) -> list[BankIdentity]:
    """The same banks; of centred ones, the means that are still missing are computed, in one pass.

    Raises:
        StateError: see :func:`text_means`.
    """
    lacking = [identity for identity in identities if identity.centred and identity.mean is None]
    if not lacking:
        return list(identities)
    layers = [identity.layer for identity in lacking]
    means = text_means(loaded, layers, selection, texts, tokenizer, lacking[0].seed, progress)
    return [one.with_mean(means[one.layer]) if one.layer in means else one for one in identities]


def text_means(
    loaded: LoadedModel,
    layers: Sequence[int],
    selection: Selection,
    texts: Texts,
    tokenizer: BulkTokenizer,
    seed: int,
    progress: Progress,
) -> dict[int, Floats]:
    """The mean raw state of a sample of the chosen tokens.

    The sample is drawn by the seed in blocks of sentences of similar length; all of a small corpus.

    Args:
        loaded: the model.
        layers: of the means.
        selection: what was chosen.
        texts: its sentences.
        tokenizer: the model's.
        seed: of the sample.
        progress: counts rows.

    Returns:
        Layer → ``[dim]`` float32.

    Raises:
        StateError: a state is NaN, infinite or zero.
    """
    blocks = _drawn_blocks(selection, seed)
    encoder = Encoder(loaded, layers, "float32")
    sums = {layer: np.zeros(loaded.lm.dim, np.float64) for layer in layers}
    count = 0
    progress.start("Centring", sum(int(selection.first[end] - selection.first[first]) for first, end in blocks), "rows")
    for first, end in blocks:
        rows = BatchRows(selection, texts, tokenizer, first, end)
        if not len(rows):
            continue
        units, norms = encoder.encode(rows.ids, rows.wanted()).fetch(rows.describe)
        for layer, unit in units.items():
            sums[layer] += norms[layer].astype(np.float64) @ unit.astype(np.float64)
        count += len(rows)
        progress.advance(len(rows))
    progress.finish()
    return {layer: (total / max(1, count)).astype(np.float32) for layer, total in sums.items()}


def _drawn_blocks(selection: Selection, seed: int) -> list[tuple[int, int]]:
    """Blocks of consecutive sentences that hold at least :data:`SAMPLE_ROWS` rows, or all; in order."""
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
