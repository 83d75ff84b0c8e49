"""Rows that answer a search, gathered by image: only what is shown is read whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..schemas.errors import StoreError
from ..schemas.filters import Condition
from ..schemas.finds import Find, FoundImage, FoundPatch
from ..schemas.kinds import fault_of
from ..schemas.patches import PatchPayload, fields_fault
from ..schemas.version import tool_version
from ..store.base import Bank

#: Patches that are shown of one image, best first.
PATCHES_EACH = 12


@dataclass(frozen=True, slots=True)
class OpenImages:
    """Open image banks of one model, by layer."""

    banks: tuple[Bank, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """Their layers, ascending."""
        return tuple(bank.record.identity.layer for bank in self.banks)


@dataclass(frozen=True, slots=True)
class Light:
    """A row that answers, before it is read whole: its image is the set's name and the path."""

    bank: Bank
    name: str
    image: tuple[str, str]
    score: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """An image and the rows of it that answer, best first."""

    image: tuple[str, str]
    patches: list[Light]


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
    found: Sequence[Light],
    top_k: int,
) -> Find:
    """Patches by image, best image first; ties by name. Only what is shown is read whole."""
    groups: dict[tuple[str, str], list[Light]] = {}
    for one in found:
        groups.setdefault(one.image, []).append(one)
    ranked = sorted((Group(image, sorted(patches, key=_rank)) for image, patches in groups.items()), key=_group_rank)
    shown = ranked[:top_k]
    whole = _patches([one for group in shown for one in group.patches[:PATCHES_EACH]])
    folders = {c.name: c.indexed.folder for b in images.banks for c in b.record.corpora if c.indexed is not None}
    return Find(
        kind=kind,
        query=query,
        where=tuple(str(condition) for condition in where),
        layers=images.layers,
        banks=tuple(bank.name for bank in images.banks),
        total_images=len(ranked),
        total_patches=len(found),
        images=tuple(
            FoundImage(
                corpus=group.image[0],
                image=group.image[1],
                folder=folders.get(group.image[0], ""),
                count=len(group.patches),
                patches=tuple(whole[one.bank.name, one.name] for one in group.patches[:PATCHES_EACH]),
            )
            for group in shown
        ),
        tool=tool_version(),
    )


def _rank(one: Light) -> tuple[float, int, str]:
    """Sorts best first; ties by layer, then id."""
    return (0.0 if one.score is None else -one.score, one.bank.record.identity.layer, one.name)


def _group_rank(group: Group) -> tuple[float, int, tuple[str, str]]:
    """By the best patch; where there are no scores by the number of patches; then by name."""
    return (_rank(group.patches[0])[0], -len(group.patches), group.image)
