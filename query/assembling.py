"""What the lenses found in a query's states, put together as its reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..schemas.results import LayerReading, Reading, TokenReading
from ..schemas.searches import SearchSettings
from ..schemas.version import tool_version
from .asked import Asked
from .centring import Centre
from .lenses import LensAnswer, Words
from .open_banks import OpenBanks
from .options import QueryOptions
from .recall import Recall, with_recall


def shared_out(
    asked: Sequence[Asked], answers: Mapping[str, LensAnswer]
) -> Iterator[tuple[Asked, dict[int, dict[str, Sequence[tuple[Words, ...]]]]]]:
    """What lenses found in the states of several images or texts, which they read together, for each of these.

    Args:
        asked: with states of the same layers.
        answers: lens → what it found in all of their states, one after the other.

    Yields:
        Each with layer → lens → for each of its tokens, what the lens found.
    """
    start = 0
    for one in asked:
        end = start + len(one.tokens)
        yield (
            one,
            {layer: {name: answer.found[layer][start:end] for name, answer in answers.items()} for layer in one.states},
        )
        start = end


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
        read=asked.read,
        images=asked.images,
        answer=asked.answer,
        answer_given=asked.answer_given,
        picture=asked.pictures[0] if asked.pictures else None,
        pictures=asked.pictures,
    )


def search_settings(
    options: QueryOptions, asked: Asked, opened: OpenBanks, recall: Recall | None, centre: Centre | None
) -> SearchSettings:
    """How the neighbours of a query were found, for the record."""
    return SearchSettings(
        top_k=options.top_k,
        exact=options.exact,
        where=tuple(str(condition) for condition in options.where),
        distinct=options.distinct,
        bank_layers=opened.layers,
        recall=None if recall is None else recall.share,
        patches=asked.patches,
        lenses=options.lenses,
        recall_states=recall.states if recall and recall.share is not None else None,
        banks=with_recall(opened.searches, recall),
        centring=None if centre is None else centre.record(),
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
        kinds = (t.kind, t.image, t.emitted)
        tokens.append(TokenReading(*place, float(norm), neighbors, words, t.char_start, t.char_end, *kinds))
    return LayerReading(layer, tuple(tokens))
