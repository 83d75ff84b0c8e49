"""How much a set of images speaks of each label: votes of the neighbours of their patches, layer by layer.

A patch's neighbours vote: each that is one of a label's words, or whose sentence is one of its sentences, is one vote.
Shares are votes over neighbours. Two controls stand beside them: *shuffled* deals the same words and sentences to the
labels at random, so that what remains is what any such labels get; and where things are annotated, average precision
stands beside the share of images that show the thing, which is what a random order gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..evaluate.statistics import ClusteredShares, Estimate
from ..schemas.errors import UsageError
from ..schemas.filters import Condition
from .grouping import OpenImages
from .labels import Entry, label_names
from .precision import Precision, mean_precision, precisions_of
from .voting import Votes, count_votes, members_of

#: Deals of the labels for the control.
SHUFFLES = 50
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
    names = label_names(entries)
    found, means, by_image = list[LabelScore](), list[MeanPrecision](), list[Mapping[str, Any]]()
    count = 0
    for bank in images.banks:
        layer = bank.record.identity.layer
        for lens, votes in count_votes(bank, entries, where).items():
            rng, shares = np.random.default_rng(seed), votes.shares(members_of(entries, names))
            scored = _label_scores(layer, lens, votes, entries, names, rng)
            precisions = precisions_of(votes, names, shares)
            found += [_with(one, precisions.get(one.label)) for one in scored]
            if precisions:
                estimate = mean_precision(votes, names, shares, precisions, rng)
                chance = float(np.mean([one.chance for one in precisions.values()]))
                other = float(np.mean([one.other for one in precisions.values()]))
                means.append(MeanPrecision(layer, lens, len(precisions), estimate, chance, other))
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


def _label_scores(
    layer: int, lens: str, votes: Votes, entries: Sequence[Entry], names: Sequence[str], rng: np.random.Generator
) -> list[LabelScore]:
    members, clustered = members_of(entries, names), ClusteredShares(len(votes.images))
    by_label, total = votes.votes @ members, float(votes.neighbours.sum())
    sums = votes.votes.sum(axis=0)
    deals = np.array([sums[rng.permutation(len(entries))] @ members for _ in range(SHUFFLES)]) / total
    scores = []
    for number, name in enumerate(names):
        share = clustered.ratio(by_label[:, number], votes.neighbours)
        assert share is not None  # a lens that votes has neighbours
        low, high = np.quantile(deals[:, number], [0.025, 0.975])
        mean = float(deals[:, number].mean())
        scores.append(LabelScore(layer, lens, name, share, mean, float(low), float(high)))
    return scores


def _with(one: LabelScore, of: Precision | None) -> LabelScore:
    return one if of is None else replace(one, precision=of.precision, chance=of.chance, other=of.other)
