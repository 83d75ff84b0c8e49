"""What a store says of its banks before any model is loaded: which there are, and whether they can be asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from ..models.files.hub import fetched_commit
from ..models.files.sources import check_source, last_change
from ..schemas.collection import BankIdentity, BankRecord
from ..schemas.errors import BankNotFoundError, LayerError, StoreError, UsageError
from ..schemas.layers import LayerChoice, asked_layers, layers_among
from ..store.damage import DamagedBank
from ..store.found import BankInfo
from ..store.store import Store
from ..store.unfinished import require_complete


def readable(store: Store) -> list[BankInfo]:
    """The text banks of a store whose record can be read.

    Raises:
        BankNotFoundError: it holds none.
        StoreError: it holds only damaged ones.
    """
    every = store.list()
    infos = [info for info in every if info.record.identity.kind == "text"]
    if every and not infos:
        for bank in store.damaged():
            raise StoreError(f"The store holds no text bank that can be read. {bank.message}", bank.hint)
        raise BankNotFoundError("The store holds only image banks.", "Make text banks with `lensbank ingest`.")
    if not infos:
        for bank in store.damaged():
            raise StoreError(bank.message, bank.hint)
        raise BankNotFoundError("The store holds no banks.", "Make banks with `lensbank ingest`.")
    return infos


def model_source(store: Store) -> str:
    """The model to query a store with, where none is named: the one that made its banks.

    Raises:
        BankNotFoundError: the store holds no banks.
        BankIncompleteError: none of them is complete.
        UsageError: several models made them.
    """
    infos = readable(store)
    complete = [info for info in infos if info.record.state == "complete"]
    if not complete:
        require_complete(infos[0].name, infos[0].record, "the store")
    sources = sorted({info.record.source for info in complete})
    if len(sources) > 1:
        raise UsageError(
            f"The store holds banks of {len(sources)} models: {', '.join(sources)}.", "Name one by --model."
        )
    return sources[0]


def made_by(store: Store, source: str, revision: str | None) -> list[BankIdentity]:
    """The text banks that a model made for certain, which is asked before its weights are read and compared.

    That is so where its directory was not touched since, or its commit on the hub is the same.

    Args:
        store: where to look.
        source: the model directory or hub id.
        revision: branch, tag or commit on the hub.

    Raises:
        StoreError: the store cannot be read.
    """
    directory = check_source(source)
    commit = fetched_commit(source, revision) if directory is None else None
    changed = math.inf if directory is None else last_change(directory)

    def same(record: BankRecord) -> bool:
        if directory is None:
            return record.source == source and commit is not None and record.identity.revision == commit
        return record.source == str(directory) and int(changed) <= _seconds(record.created)

    return [info.record.identity for info in store.list() if info.record.identity.kind == "text" and same(info.record)]


def _seconds(created: str) -> float:
    """A record's time, since the epoch; that of nothing where it cannot be read."""
    try:
        return datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError, OSError):
        return -math.inf


def require_banks(
    store: Store, layers: LayerChoice | Literal["all"] | None, bank_layers: LayerChoice | None, centred: bool
) -> list[BankInfo]:
    """Refuse a question that no bank of the store can answer, whatever the model.

    Which banks are the model's is known when it is loaded (:func:`banks.of_model.choose_banks`).

    Args:
        store: that will be searched.
        layers: query layers.
        bank_layers: to search; ``None`` for all.
        centred: whether centred banks are asked, or raw ones.

    Returns:
        The banks that may be asked.

    Raises:
        BankNotFoundError: the store holds no banks, or none of that kind.
        LayerError: it has no such bank layer, or no model of its banks has such a layer.
    """
    infos = of_kind(readable(store), centred)
    if bank_layers is not None:
        infos = at_layers(infos, bank_layers, store.damaged())
    if layers is not None:
        asked_layers(layers, max(info.record.identity.n_layers for info in infos))
    return infos


def at_layers(infos: Sequence[BankInfo], asked: LayerChoice, damaged: Sequence[DamagedBank]) -> list[BankInfo]:
    """The banks of some layers.

    Raises:
        LayerError: there is none of one of them.
    """
    there = sorted({info.record.identity.layer for info in infos})
    layers = layers_among(asked, there, "For this model, the store has banks of layers", "bank layer")
    missing = [layer for layer in layers if layer not in there]
    if missing or not layers:
        said = (
            f"has no bank of layer {', '.join(map(str, missing))}"
            if missing
            else "cannot be searched: the list of bank layers is empty"
        )
        raise LayerError(
            f"The store {said} for this model.",
            f"The store has layers {', '.join(map(str, there))}. --bank-layer chooses among them; `lensbank ingest` "
            "adds others."
            + " To see the nearest input embeddings, use --lens embedding." * (0 in missing)
            + "".join(f" The layer of another bank cannot be read: {bank.message}" for bank in damaged),
        )
    return [info for info in infos if info.record.identity.layer in layers]


def of_kind(infos: Sequence[BankInfo], centred: bool) -> list[BankInfo]:
    """Centred banks, or raw ones: cosines of one kind of state with the other mean nothing.

    Raises:
        BankNotFoundError: there is none.
    """
    kept = [info for info in infos if info.record.identity.centred == centred]
    if kept:
        return kept
    if centred:
        raise BankNotFoundError(
            "The store holds only raw banks for this model, but a centred query needs centred banks.",
            "Make centred banks with `lensbank ingest --centre`, or leave out --centre.",
        )
    raise BankNotFoundError(
        "The store holds only centred banks for this model, but a raw query needs raw banks.",
        "Add --centre to the query, or make raw banks with `lensbank ingest` without --centre.",
    )
