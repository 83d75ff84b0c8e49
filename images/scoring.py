"""How much a set of images speaks of each label: votes of the neighbours of their patches, layer by layer.

A patch's neighbours vote: each that is one of a label's words, or whose sentence is one of its sentences, is one vote.
Shares are votes over neighbours. Two controls stand beside them: *shuffled* deals the same words and sentences to the
labels at random, so that what remains is what any such labels get; and where things are annotated, average precision
stands beside the share of images that show the thing, which is what a random order gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from ..evaluate.statistics import ClusteredShares, Estimate
from ..schemas.errors import UsageError
from ..schemas.filters import Condition
from ..store.bank import Bank
from .finding import rows_of
from .grouping import OpenImages
from .labels import Entry, label_names, matched, spoken_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LENSES = {"latent": "word", "logit": "logit", "embedding": "embedding"}
#: Deals of the labels for the control, and draws of images for the interval of a mean average precision.
SHUFFLES, DRAWS = 50, 500
SCORES_VERSION = 1


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label at one layer by one lens.

    Attributes:
        layer: of the image bank.
        lens: whose words voted.
        label: its name.
        share: votes over neighbours, of all images together, with a 95 % interval over images.
        shuffled: the same where words are dealt to labels at random: the mean of :data:`SHUFFLES` deals.
        shuffled_low: 2.5 % quantile of these.
        shuffled_high: 97.5 % quantile.
        precision: average precision of the order of images by their share, where the label is an annotated thing.
        chance: average precision of the same images in random order, on average.
        other: mean average precision of that order by the other labels' shares, for the same thing.
    """

    layer: int
    lens: str
    label: str
    share: Estimate
    shuffled: float
    shuffled_low: float
    shuffled_high: float
    precision: float | None = None
    chance: float | None = None
    other: float | None = None


@dataclass(frozen=True, slots=True)
class MeanPrecision:
    """The mean of the labels' average precisions at one layer by one lens, with a 95 % interval over images."""

    layer: int
    lens: str
    labels: int
    precision: Estimate
    chance: float
    other: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What :func:`score` returns.

    Attributes:
        labels: their names.
        images: how many were scored.
        scores: by layer, lens and label.
        means: by layer and lens, where things are annotated.
        by_image: one record an image, layer and lens: share of every label.
        notes: what a reader should know of the store's banks, one sentence each.
    """

    labels: tuple[str, ...]
    images: int
    scores: tuple[LabelScore, ...]
    means: tuple[MeanPrecision, ...]
    by_image: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()

    def unheard(self) -> tuple[str, ...]:
        """Labels without a vote, at any layer and of any lens."""
        heard = {one.label for one in self.scores if one.share.value > 0}
        return tuple(label for label in self.labels if label not in heard)

    def to_dict(self) -> dict[str, Any]:
        """JSON types only, with ``version`` first."""
        return {"version": SCORES_VERSION, **asdict(self)}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat record a layer, lens and label."""
        for one in self.scores:
            plain = asdict(one)
            share = plain.pop("share")
            yield {**plain, "share": share["value"], "share_low": share["low"], "share_high": share["high"]}


@dataclass(frozen=True, slots=True)
class _Votes:
    """Of one bank and lens: votes per image and entry, neighbours per image, things per image."""

    votes: Floats
    neighbours: Floats
    images: tuple[tuple[str, str], ...]
    things: tuple[frozenset[str], ...]


def score(images: OpenImages, entries: Sequence[Entry], where: Sequence[Condition] = (), seed: int = 0) -> Scores:
    """Let the neighbours of every visual token vote for labels.

    Args:
        images: open image banks; the lenses that were indexed vote.
        entries: of the labels.
        where: conditions on the rows.
        seed: of the deals and draws.

    Raises:
        UsageError: no row meets the conditions, or none has a word.
        StoreError: the database failed.
    """
    names, found, means = label_names(entries), list[LabelScore](), list[MeanPrecision]()
    by_image: list[Mapping[str, Any]] = []
    count = 0
    for bank in images.banks:
        for lens, votes in _votes(bank, entries, where).items():
            layer, rng = bank.record.identity.layer, np.random.default_rng(seed)
            shares = _shares(votes, _members(entries, names))
            scored = _label_scores(votes, entries, names, rng)
            precisions = _precisions(votes, names, shares)
            found += [
                LabelScore(layer, lens, name, *scored[number], *precisions.get(name, ()))
                for number, name in enumerate(names)
            ]
            if precisions:
                means.append(_mean(layer, lens, votes, names, shares, precisions, rng))
            by_image += [
                {"corpus": corpus, "image": image, "layer": layer, "lens": lens, **dict(zip(names, row, strict=True))}
                for (corpus, image), row in zip(votes.images, shares.tolist(), strict=True)
            ]
            count = max(count, len(votes.images))
    if not found:
        raise UsageError(
            "No patch that has words meets the conditions.", "Index with --lens latent, or use fewer conditions."
        )
    return Scores(names, count, tuple(found), tuple(means), tuple(by_image), images.notes)


def _votes(bank: Bank, entries: Sequence[Entry], where: Sequence[Condition]) -> dict[str, _Votes]:
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
        lens: _Votes(
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


def _members(entries: Sequence[Entry], names: Sequence[str]) -> Floats:
    """``[entries, labels]``: 1 where an entry speaks for a label."""
    members = np.zeros((len(entries), len(names)))
    for number, entry in enumerate(entries):
        members[number, names.index(entry.label)] = 1
    return members


def _shares(votes: _Votes, members: Floats) -> Floats:
    """``[images, labels]`` votes over neighbours; 0 where an image has none."""
    totals = np.where(votes.neighbours > 0, votes.neighbours, 1)[:, None]
    shares: Floats = (votes.votes @ members) / totals
    return shares


def _label_scores(
    votes: _Votes, entries: Sequence[Entry], names: Sequence[str], rng: np.random.Generator
) -> list[tuple[Estimate, float, float, float]]:
    members, clustered = _members(entries, names), ClusteredShares(len(votes.images))
    by_label, total = votes.votes @ members, float(votes.neighbours.sum())
    sums = votes.votes.sum(axis=0)
    deals = np.array([sums[rng.permutation(len(entries))] @ members for _ in range(SHUFFLES)]) / total
    scores = []
    for number in range(len(names)):
        share = clustered.ratio(by_label[:, number], votes.neighbours)
        assert share is not None  # a lens that votes has neighbours
        low, high = np.quantile(deals[:, number], [0.025, 0.975])
        scores.append((share, float(deals[:, number].mean()), float(low), float(high)))
    return scores


def average_precision(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Mean precision at each positive, images in order of their scores; ties share what their orders get on average.

    Args:
        scores: ``[images]``.
        positive: ``[images]``, at least one true.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], positive[order].astype(np.float64)
    total, before, seen = 0.0, 0.0, 0
    while seen < len(ranked):
        size = int(np.searchsorted(-ranked, -ranked[seen], side="right")) - seen
        inside = hits[seen : seen + size].sum()
        if inside:
            # Of a tied block each place holds a positive with the same chance, also beside another positive.
            places = np.arange(1, size + 1)
            others = (inside - 1) / (size - 1) * (places - 1) if size > 1 else np.zeros(1)
            total += float((inside / size * (before + 1 + others) / (seen + places)).sum())
        before, seen = before + inside, seen + size
    return total / float(hits.sum())


def _precisions(votes: _Votes, names: Sequence[str], shares: Floats) -> dict[str, tuple[float, float, float]]:
    """Label → average precision, chance, and mean average precision by the other labels; of annotated things."""
    found = {}
    for number, name in enumerate(names):
        positive = np.array([name in things for things in votes.things])
        if positive.any() and not positive.all():
            others = [average_precision(shares[:, o], positive) for o in range(len(names)) if o != number]
            found[name] = (
                average_precision(shares[:, number], positive),
                average_precision(np.zeros(len(positive)), positive),
                float(np.mean(others)) if others else average_precision(np.zeros(len(positive)), positive),
            )
    return found


def _mean(
    layer: int,
    lens: str,
    votes: _Votes,
    names: Sequence[str],
    shares: Floats,
    precisions: Mapping[str, tuple[float, float, float]],
    rng: np.random.Generator,
) -> MeanPrecision:
    """The mean over labels; its interval by drawing images anew (bootstrap)."""
    numbers = [names.index(name) for name in precisions]
    positive = np.array([[name in things for name in precisions] for things in votes.things])
    drawn = []
    for _ in range(DRAWS):
        rows = rng.integers(0, len(shares), len(shares))
        kept = [i for i in range(len(numbers)) if positive[rows, i].any()]
        if kept:
            drawn.append(np.mean([average_precision(shares[rows, numbers[i]], positive[rows, i]) for i in kept]))
    value = float(np.mean([one[0] for one in precisions.values()]))
    # An image drawn twice stands beside itself in the order, so draws lie above: only their spread is taken.
    low, high = value + np.quantile(drawn, [0.025, 0.975]) - np.mean(drawn) if drawn else (value, value)
    return MeanPrecision(
        layer,
        lens,
        len(precisions),
        Estimate(value, max(0.0, min(value, float(low))), min(1.0, max(value, float(high)))),
        float(np.mean([one[1] for one in precisions.values()])),
        float(np.mean([one[2] for one in precisions.values()])),
    )
