"""How neighbours were found, on record in a reading (docs/results.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """A server's bank, copied to be searched on this machine.

    Attributes:
        of: the server's URL.
        made: when the rows were copied, or last brought up to date: UTC, ISO 8601.
    """

    of: str
    made: str


@dataclass(frozen=True, slots=True)
class BankSearch:
    """How one bank was searched.

    Attributes:
        name: of its collection.
        layer: of the bank.
        rows: rows that meet the filters; all of them where there are none.
        exact: whether each of these was compared, because that was asked for or they are few.
        recall: of the exact neighbours of the sample that are in this bank, the share that an
            approximate search found; ``None`` where that was not measured, or none is in it.
        way: what compared: ``product`` (a matrix product over the bank's vectors), or ``engine`` (the database);
            ``None`` in readings from before there were two.
        local_copy: the copy that was searched instead of the server's bank; ``None`` where there was none.
    """

    name: str
    layer: int
    rows: int
    exact: bool
    recall: float | None = None
    way: str | None = None
    local_copy: LocalCopy | None = None


@dataclass(frozen=True, slots=True)
class Centring:
    """The mean that was subtracted from the states that LatentLens compared.

    Attributes:
        source: ``images``: of the images asked about together; ``folder``: of other images;
            ``text``: of the bank's text states.
        images: how many images; ``None`` for text.
        tokens: how many visual tokens of theirs; ``None`` for text.
        fingerprint: SHA-256 of the means of all layers.
    """

    source: str
    images: int | None
    tokens: int | None
    fingerprint: str

    def in_words(self) -> str:
        """For people: ``minus the mean of 3 images``."""
        if self.source == "text":
            return "minus the bank's text mean"
        number = f"{self.images} {'other ' if self.source == 'folder' else ''}image{'s' if self.images != 1 else ''}"
        return f"minus the mean of {number}"


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How the neighbours were found.

    Attributes:
        top_k: neighbours per token.
        exact: whether it was asked for that every row is compared; ``banks`` says where it was.
        where: the filters as typed.
        distinct: ``word`` where each neighbour's word must differ, else ``None``.
        bank_layers: layers searched.
        recall: share of the exact top-k that an approximate search found on a sample; ``None``
            for exact search, and where it was not measured.
        patches: ``(row, col)`` asked for; empty where all were read.
        lenses: ``latent``, ``logit``, ``embedding``: those that were asked for, in that order.
        recall_states: states of the sample; ``None`` where ``recall`` is.
        banks: how each bank was searched, by layer.
        centring: what was subtracted before LatentLens compared; ``None`` where raw states were compared.
    """

    top_k: int
    exact: bool
    where: tuple[str, ...]
    distinct: str | None
    bank_layers: tuple[int, ...]
    recall: float | None
    patches: tuple[tuple[int, int], ...] = ()
    lenses: tuple[str, ...] = ("latent",)
    recall_states: int | None = None
    banks: tuple[BankSearch, ...] = ()
    centring: Centring | None = None

    @property
    def ways(self) -> tuple[str, ...]:
        """What compared every row, over all banks; see :func:`ways_of`."""
        return ways_of(self.banks)


def ways_of(banks: Iterable[BankSearch]) -> tuple[str, ...]:
    """What compared every row: ``product``, ``engine``, both, or neither is on record.

    Of local copies it says so, with the oldest of each server: ``product over a local copy of http://host:6333 made
    at 2026-11-29 05:10:00 UTC``.
    """
    oldest: dict[tuple[str, str], str] = {}
    for bank in banks:
        if bank.exact and bank.way:
            of, made = ("", "") if bank.local_copy is None else (bank.local_copy.of, bank.local_copy.made)
            oldest[bank.way, of] = min(oldest.get((bank.way, of), made), made)
    return tuple(way if not of else f"{way} {_over(of, oldest[way, of])}" for way, of in sorted(oldest))


def _over(of: str, made: str) -> str:
    return f"over a local copy of {of} made at {made.replace('T', ' ').replace('+00:00', ' UTC')}"
