"""A word that very many patches have: its best images, without a look at each of these patches.

The database counts the rows of every image, and rows are read from the highest scores down until the images that lead
cannot be overtaken: a row's score of a word is at most the highest of its scores, which is the first.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..schemas.filters import Condition
from ..store.bank import Bank
from .grouping import PATCHES_EACH, Light, OpenImages
from .present import of_set

Image = tuple[str, str]
Rows = Callable[[Bank, Sequence[Condition]], Iterable[Light]]
#: Rows that are read one by one in any case.
FEW = 5_000
#: Rows that are read at first, of the highest scores.
FIRST = 1_000
# How much more is read where what was read does not decide; halvings of a range of scores.
_GROWTH, _HALVINGS = 4, 16


def leading(
    images: OpenImages, where: Sequence[Condition], top_k: int, rows: Rows, scored: bool
) -> tuple[list[Light], Mapping[Image, int]] | None:
    """The rows of the images that lead, and how many rows every image has.

    Args:
        images: open banks.
        where: conditions that rows meet.
        top_k: images that are wanted.
        rows: reads those of a bank that meet conditions.
        scored: whether images are ranked by a score of their rows, at most the highest in the field ``score``; else by
            their number of rows.

    Returns:
        ``None`` where it is better to read every row: there are few, most of them are needed, or a bank cannot count.

    Raises:
        StoreError: the database failed, or a row is damaged.
    """
    total = sum(bank.count(where) for bank in images.banks)
    counts = _counted(images, where, total) if total > FEW else None
    if counts is None or len(counts) <= top_k:
        return None
    best = _best(images, where, top_k, rows, total) if scored else dict.fromkeys(counts, 0.0)
    if best is None:
        return None
    winners = heapq.nsmallest(top_k, best, key=lambda image: (-best[image], -counts[image], image))
    named: dict[str, list[str]] = {}
    for corpus, image in winners:
        named.setdefault(corpus, []).append(image)
    found = [
        one
        for bank in images.banks
        for corpus, mine in named.items()
        for one in rows(bank, (*where, of_set(corpus), Condition("image", "=", tuple(mine))))
    ]
    return found, counts


def _counted(images: OpenImages, where: Sequence[Condition], total: int) -> Counter[Image] | None:
    """Rows of each image; ``None`` where a bank does not count, or has rows of no image and set that are known."""
    counts: Counter[Image] = Counter()
    for bank in images.banks:
        for corpus in bank.record.corpora:
            by_image = bank.counted_by("image", (*where, of_set(corpus.name)))
            if by_image is None:
                return None
            counts.update({(corpus.name, image): count for image, count in by_image.items()})
    return counts if counts.total() == total else None


def _best(
    images: OpenImages, where: Sequence[Condition], top_k: int, rows: Rows, total: int
) -> dict[Image, float] | None:
    """The best score of images, of all that may be among the first; ``None`` where that takes most rows."""
    wanted = max(FIRST, top_k * PATCHES_EACH)
    while 2 * wanted < total:
        level = _level(images, where, wanted)
        above = (*where, Condition("score", ">", (level,)))
        best: dict[Image, float] = {}
        for bank in images.banks:
            for one in rows(bank, above):
                if one.score is not None and one.score > best.get(one.image, level):
                    best[one.image] = one.score
        if len(best) >= top_k:  # no row that was not read has a score above the level
            return best
        wanted *= _GROWTH
    return None


def _level(images: OpenImages, where: Sequence[Condition], wanted: int) -> float:
    """A score that about so many rows exceed, at least so many where there are."""
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        count = sum(bank.count((*where, Condition("score", ">", (middle,)))) for bank in images.banks)
        low, high = (middle, high) if count >= wanted else (low, middle)
        if wanted <= count <= 2 * wanted:
            break
    return low
