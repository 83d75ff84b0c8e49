"""The banks that a session searches: chosen, opened, each with its way of being searched."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..banks.of_model import (
    bank_facts,
    bank_layers,
    bank_notes,
    choose_banks,
    require_model,
    stock_notes,
    unfinished_layers,
)
from ..schemas.errors import DamagedBankError, UsageError
from ..schemas.searches import ways_of
from ..store.vectors import NoVectors
from .bank_product import BankProduct, product_of
from .filtering import filter_notes, plan_searches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    import torch

    from ..models.loading import LoadedModel
    from ..schemas.searches import BankSearch
    from ..store.bank import Bank
    from ..store.found import BankInfo
    from ..store.store import Store
    from .options import QueryOptions


@dataclass(frozen=True, slots=True)
class OpenBanks:
    """Open banks, in the order of their layers; none where LatentLens is not asked.

    Attributes:
        banks: they themselves.
        products: for each its product (:mod:`query.bank_product`) where it is searched by one, else ``None``.
        searches: how each is searched, for the record.
        notes: what a reader should know about them and the filters, one sentence each.
        warnings: those of the notes that whoever reads the results alone must hear of, too.
        facts: of each what a reader needs to know, as in :attr:`schemas.results.Reading.banks`.
    """

    banks: tuple[Bank, ...] = ()
    products: tuple[BankProduct | None, ...] = ()
    searches: tuple[BankSearch, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: tuple[Mapping[str, Any], ...] = ()
    _opened: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)

    @classmethod
    def of(cls, store: Store | None, loaded: LoadedModel, options: QueryOptions) -> Self:
        """Open the banks that a query of a model asks for.

        Raises:
            LensbankError: as :class:`query.pipeline.QuerySession` says.
        """
        if store is None:
            raise UsageError("LatentLens needs a store with banks; none was given.")
        with ExitStack() as opened:
            infos = choose_banks(store, loaded, options.bank_layers, options.centre)
            banks, damaged = _opened_whole(store, infos, opened, by_name=options.bank_layers is not None)
            for bank in banks:
                require_model(bank.record.identity, loaded)  # another may have taken its place since
            left_out = unfinished_layers(store, loaded, options.centre) if options.bank_layers is None else ()
            products = _products(banks, options.search, loaded.device)
            searches = plan_searches(banks, options.where, options.exact, [one is not None for one in products])
            damaged += tuple(f"Left out: {bank.message} {bank.hint}" for bank in store.damaged())
            notes = (
                *filter_notes(banks, options.where, searches, options.exact),
                *bank_notes(banks, loaded, options.exact, left_out),
                *damaged,
            )
            warnings = (*stock_notes(banks), *damaged)
            return cls(banks, products, searches, notes, warnings, tuple(map(bank_facts, banks)), opened.pop_all())

    @property
    def layers(self) -> tuple[int, ...]:
        """Their layers, ascending."""
        return bank_layers(self.banks)

    @property
    def ways(self) -> tuple[str, ...]:
        """What compares every row, over all banks; as :attr:`schemas.results.SearchSettings.ways`."""
        return ways_of(self.searches)

    def close(self) -> None:
        """Let go of them; harmless when repeated."""
        self._opened.close()


def layer_zero_notes(layers: Sequence[int], bank_layers: Sequence[int]) -> list[str]:
    """What it means to ask about layer 0 where no bank of it is searched: a sentence, or none.

    Args:
        layers: query layers, as asked for.
        bank_layers: that are searched.
    """
    if 0 not in layers or 0 in bank_layers or not bank_layers:
        return []
    return [
        "No bank of layer 0 is searched. States of layer 0 (the input of the first block; for an image, the "
        f"connector's output) are compared with the corpus at layer {', '.join(map(str, bank_layers))}. The layers "
        "need not be the same. To see the nearest input embeddings, use --lens embedding."
    ]


def _opened_whole(
    store: Store, infos: Sequence[BankInfo], opened: ExitStack, *, by_name: bool
) -> tuple[tuple[Bank, ...], tuple[str, ...]]:
    """Open banks; those with damaged files are left out, unless they were asked for or none is left.

    Returns:
        Those that are open, and a sentence for each that is left out.

    Raises:
        DamagedBankError: as above.
        StoreError: as :meth:`store.store.Store.open`.
    """
    banks: list[Bank] = []
    damaged: list[DamagedBankError] = []
    for info in infos:
        try:
            banks.append(opened.enter_context(store.open(info.name)))
        except DamagedBankError as error:
            if by_name:
                raise
            damaged.append(error)
    if damaged and not banks:
        raise damaged[0]
    return tuple(banks), tuple(f"Left out: {error}" for error in damaged)


def _products(banks: Sequence[Bank], search: str | None, device: torch.device) -> tuple[BankProduct | None, ...]:
    """The product of each bank for which one is wanted and possible.

    Raises:
        UsageError: it is asked for, and cannot be had.
    """
    if search == "engine":
        return (None,) * len(banks)
    found = [product_of(bank, device) for bank in banks]
    missing = [(bank, one.reason) for bank, one in zip(banks, found, strict=True) if isinstance(one, NoVectors)]
    if missing and search == "product":
        bank, reason = missing[0]
        raise UsageError(
            f"Bank {bank.name} cannot be searched with --search product: {reason}.",
            "Use --search engine, or leave out --search.",
        )
    return tuple(None if isinstance(one, NoVectors) else one for one in found)
