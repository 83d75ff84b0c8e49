"""What the lenses found in a query's states, put together as its reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..schemas.results import LayerReading, Reading, TokenReading
from ..schemas.searches import SearchSettings
from ..schemas.version import tool_version
from .asking import Asked
from .lenses import Words


def assembled(
    asked: Asked,
    found: Mapping[int, Mapping[str, Sequence[tuple[Words, ...]]]],
    model: Mapping[str, Any],
    banks: tuple[Mapping[str, Any], ...],
    search: SearchSettings,
    notes: Sequence[str],
) -> Reading:
    """A reading.

    Args:
        asked: the image or text, with its states.
        found: layer → lens → for each token, what the lens found.
        model: provenance.
        banks: facts about every bank searched.
        search: how it was searched.
        notes: on banks and filters; those on the image come before them.
    """
    return Reading(
        kind=asked.kind,
        source=asked.source,
        sha256=asked.sha256,
        width=asked.width,
        height=asked.height,
        prompt=asked.prompt,
        model=model,
        banks=banks,
        search=search,
        views=asked.views,
        layers=tuple(_layer(asked, layer, rows) for layer, rows in found.items()),
        tool=tool_version(),
        notes=(*asked.notes, *notes),
        picture=asked.picture,
    )


def _layer(asked: Asked, layer: int, found: Mapping[str, Sequence[tuple[Words, ...]]]) -> LayerReading:
    """What the lenses found at one layer, token by token."""
    import numpy as np

    norms = np.linalg.norm(asked.states[layer].astype(np.float64), axis=1)
    tokens = []
    for i, (t, norm) in enumerate(zip(asked.tokens, norms, strict=True)):
        words: dict[str, Any] = {name: rows[i] for name, rows in found.items()}
        neighbors = words.pop("latent", ())
        place = (t.index, t.label, t.view, t.row, t.col, t.box)
        tokens.append(TokenReading(*place, float(norm), neighbors, words, t.char_start, t.char_end))
    return LayerReading(layer, tuple(tokens))
