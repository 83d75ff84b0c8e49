"""Votes of the neighbours of an image bank's patches for labels, image by image.

A neighbour that is one of a label's words, or whose sentence is one of its sentences, is one vote for that label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from ..schemas.filters import Condition
from ..store.bank import Bank
from .finding import rows_of
from .labels import Entry, matched, spoken_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LENSES = {"latent": "word", "logit": "logit", "embedding": "embedding"}


@dataclass(frozen=True, slots=True)
class Votes:
    """Of one bank and lens.

    Attributes:
        votes: ``[images, entries]``.
        neighbours: ``[images]``, words that could vote.
        images: of each, its set and name.
        things: what is annotated on each.
    """

    votes: Floats
    neighbours: Floats
    images: tuple[tuple[str, str], ...]
    things: tuple[frozenset[str], ...]

    def shares(self, members: Floats) -> Floats:
        """``[images, labels]`` votes over neighbours; 0 where an image has none.

        Args:
            members: see :func:`members_of`.
        """
        totals = np.where(self.neighbours > 0, self.neighbours, 1)[:, None]
        shares: Floats = (self.votes @ members) / totals
        return shares


def count_votes(bank: Bank, entries: Sequence[Entry], where: Sequence[Condition]) -> dict[str, Votes]:
    """Lens → the votes of its words; lenses that were not indexed are left out.

    Args:
        bank: an image bank.
        entries: of the labels.
        where: conditions on the rows.

    Raises:
        StoreError: the database failed, or a row is damaged.
    """
    words, sentences = matched(entries)
    places: dict[tuple[str, str], int] = {}
    things: list[set[str]] = []
    votes: dict[str, list[NDArray[np.float64]]] = {}
    neighbours: dict[str, list[float]] = {}
    fields = ("corpus", "image", "thing", "sentence", *LENSES.values())
    for _, payload in rows_of(bank, where, fields if sentences else [f for f in fields if f != "sentence"]):
        key = (str(payload["corpus"][0]), str(payload["image"]))
        at = places.setdefault(key, len(places))
        if at == len(things):
            things.append(set())
        things[at].update(payload.get("thing", ()))
        for lens, field in LENSES.items():
            said = payload.get(field, ())
            if not said:
                continue
            rows, totals = votes.setdefault(lens, []), neighbours.setdefault(lens, [])
            while len(rows) <= at:
                rows.append(np.zeros(len(entries)))
                totals.append(0.0)
            totals[at] += len(said)
            behind = payload.get("sentence", ()) if lens == "latent" else ()
            for word, sentence in zip_longest(said, behind, fillvalue=""):
                rows[at][_speaking([*spoken_for(word, words), *sentences.get(sentence, ())], entries)] += 1
    return {
        lens: Votes(
            np.array(rows + [np.zeros(len(entries))] * (len(places) - len(rows))),
            np.array(neighbours[lens] + [0.0] * (len(places) - len(rows))),
            tuple(places),
            tuple(map(frozenset, things)),
        )
        for lens, rows in votes.items()
    }


def _speaking(numbers: Sequence[int], entries: Sequence[Entry]) -> list[int]:
    """Of the entries that a neighbour speaks for, one of each label: it has one vote."""
    return list({entries[number].label: number for number in reversed(numbers)}.values())


def members_of(entries: Sequence[Entry], names: Sequence[str]) -> Floats:
    """``[entries, labels]``: 1 where an entry speaks for a label."""
    members = np.zeros((len(entries), len(names)))
    for number, entry in enumerate(entries):
        members[number, names.index(entry.label)] = 1
    return members
