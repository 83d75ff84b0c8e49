"""Rows that answer a search, gathered by image: only what is shown is read whole."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..schemas.errors import StoreError
from ..schemas.filters import Condition
from ..schemas.finds import Find, FoundImage, FoundPatch
from ..schemas.kinds import fault_of
from ..schemas.patches import PatchPayload, fields_fault
from ..schemas.version import tool_version
from ..store.bank import Bank

#: Patches that are shown of one image, best first.
PATCHES_EACH = 12


@dataclass(frozen=True, slots=True)
class OpenImages:
    """Open image banks of one model, by layer.

    Attributes:
        banks: each of another layer.
        notes: what a reader should know of others in the store, one sentence each.
    """

    banks: tuple[Bank, ...]
    notes: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[int, ...]:
        """Their layers, ascending."""
        return tuple(bank.record.identity.layer for bank in self.banks)


class Light(NamedTuple):
    """A row that answers, before it is read whole: its image is the set's name and the path."""

    bank: Bank
    name: str
    image: tuple[str, str]
    score: float | None


class _Group:
    """The rows of an image that answer: how many, and the best of them.

    Others are let go of as they come: of a frequent word there are a hundred thousand, and memory that is held costs
    Python more time than the comparisons do.
    """

    __slots__ = ("_held", "_worst", "count")

    def __init__(self) -> None:
        self.count, self._held, self._worst = 0, list[Light](), math.inf

    def add(self, one: Light) -> None:
        """Take a row; it is kept where it may be among the best."""
        self.count += 1
        if (0.0 if one.score is None else -one.score) > self._worst:
            return
        self._held.append(one)
        if len(self._held) >= 2 * PATCHES_EACH:
            self._held = self.best()
            self._worst = _rank(self._held[-1])[0]

    def best(self) -> list[Light]:
        """At most :data:`PATCHES_EACH`, best first."""
        return sorted(self._held, key=_rank)[:PATCHES_EACH]


def image_of(bank: Bank, name: str, payload: Mapping[str, Any]) -> tuple[str, str]:
    """The set's name and the path below its folder.

    Raises:
        StoreError: the row is damaged.
    """
    require_sound(bank, name, fields_fault(payload, ("corpus", "image")))
    return (payload["corpus"][0], payload["image"])


def require_sound(bank: Bank, name: str, fault: tuple[str, str] | None) -> None:
    """Refuse a row of which something is known to be wrong.

    Raises:
        StoreError: the row is damaged.
    """
    if fault is not None:
        raise StoreError(
            f"Row {name} of bank {bank.name} was not written by lensbank, or was changed: its {fault[0]} {fault[1]}.",
            "lensbank banks verify names all such rows; index the images again to replace them.",
        )


def _patches(found: Sequence[Light]) -> dict[tuple[str, str], FoundPatch]:
    """Bank and id → everything that is stored with a row."""
    whole: dict[tuple[str, str], FoundPatch] = {}
    for bank in dict.fromkeys(one.bank for one in found):
        mine = [one for one in found if one.bank is bank]
        payloads = bank.payloads([one.name for one in mine])
        for one in mine:
            whole[bank.name, one.name] = checked_patch(bank, one.name, payloads.get(one.name, {}), one.score)
    return whole


def checked_patch(bank: Bank, name: str, payload: Mapping[str, Any], score: float | None) -> FoundPatch:
    """A row with everything that is stored with it.

    Raises:
        StoreError: the row is damaged.
    """
    require_sound(bank, name, fault_of("image", name, payload))
    held = PatchPayload.from_dict(payload)
    return FoundPatch(layer=bank.record.identity.layer, score=score, point_id=name, patch=held)


def grouped(
    images: OpenImages,
    kind: str,
    query: str,
    where: Sequence[Condition],
    found: Iterable[Light],
    top_k: int,
    counts: Mapping[tuple[str, str], int] | None = None,
) -> Find:
    """Patches by image, best image first; ties by name. Only what is shown is read whole.

    Args:
        images: open banks.
        kind: see :class:`schemas.finds.Find`.
        query: likewise.
        where: likewise.
        found: rows that answer; where ``counts`` is given, all of those of the images that come first.
        top_k: images.
        counts: rows of every image with an answer; ``None`` where all of them are in ``found``.

    Raises:
        StoreError: the database failed, or a row is damaged.
    """
    groups: dict[tuple[str, str], _Group] = {}
    for one in found:
        groups.setdefault(one.image, _Group()).add(one)
    ranked = heapq.nsmallest(top_k, groups.items(), key=_group_rank)
    counts = {image: group.count for image, group in groups.items()} if counts is None else counts
    shown = [(image, counts[image], group.best()) for image, group in ranked]
    whole = _patches([one for _, _, patches in shown for one in patches])
    folders = {c.name: c.indexed.folder for b in images.banks for c in b.record.corpora if c.indexed is not None}
    return Find(
        kind=kind,
        query=query,
        where=tuple(str(condition) for condition in where),
        layers=images.layers,
        banks=tuple(bank.name for bank in images.banks),
        total_images=len(counts),
        total_patches=sum(counts.values()),
        images=tuple(
            FoundImage(
                corpus=corpus,
                image=image,
                folder=folders.get(corpus, ""),
                count=count,
                patches=tuple(whole[one.bank.name, one.name] for one in patches),
            )
            for (corpus, image), count, patches in shown
        ),
        tool=tool_version(),
        notes=images.notes,
    )


def _rank(one: Light) -> tuple[float, int, str]:
    """Sorts best first; ties by layer, then id."""
    return (0.0 if one.score is None else -one.score, one.bank.record.identity.layer, one.name)


def _group_rank(group: tuple[tuple[str, str], _Group]) -> tuple[float, int, tuple[str, str]]:
    """By the best patch; where there are no scores by the number of patches; then by name."""
    image, held = group
    return (_rank(held.best()[0])[0], -held.count, image)
