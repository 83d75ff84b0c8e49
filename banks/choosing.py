"""Which banks of a store are meant: by name, model and layer."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..schemas.errors import BankNotFoundError, LayerError, StoreError, UsageError
from ..schemas.layers import LayerChoice, layers_among
from ..store.found import BankInfo
from ..store.store import Store


def choose(
    store: Store, names: Sequence[str] = (), model: str | None = None, layers: LayerChoice | None = None
) -> list[BankInfo]:
    """The banks of a store that are meant.

    Args:
        store: where to look.
        names: of banks; none for all.
        model: its id, the last part of it, what ``ingest`` was given as ``--model``, or a folder of that name or place.
        layers: to keep, numbers or ranges; ``None`` for all.

    Raises:
        BankNotFoundError: no such bank, or none at all.
        UsageError: no bank of that model.
        LayerError: no bank of a layer.
        StoreError: a bank named is damaged.
    """
    infos = sorted(store.list(), key=lambda info: (info.record.identity.model, info.record.identity.layer, info.name))
    if not infos:
        raise BankNotFoundError(f"The store {store.address} holds no banks.", "Make banks with `lensbank ingest`.")
    found = {info.name: info for info in infos}
    for bank in store.damaged():
        if bank.name in names:
            raise StoreError(bank.message, bank.hint)
    for name in names:
        if name not in found:
            raise BankNotFoundError(
                f"The store {store.address} has no bank {name!r}.", f"The store has {', '.join(found)}."
            )
    chosen = [info for info in infos if not names or info.name in names]
    if model is not None:
        named = _spellings(model)
        of_model = [info for info in chosen if named & _model_names(info)]
        if not of_model:
            models = ", ".join(sorted({info.record.identity.model for info in chosen}))
            raise UsageError(
                f"The store {store.address} has no bank of the model {model!r}.", f"It has banks of {models}."
            )
        chosen = of_model
    if layers is not None:
        there = sorted({info.record.identity.layer for info in chosen})
        kept = layers_among(layers, there, f"The store {store.address} has banks of layers")
        missing = [str(layer) for layer in kept if layer not in there]
        if missing:
            raise LayerError(
                f"The store {store.address} has no such bank of layer {', '.join(missing)}.",
                f"The store has layers {', '.join(map(str, there))}."
                + "".join(f" The layer of another bank cannot be read: {bank.message}" for bank in store.damaged()),
            )
        chosen = [info for info in chosen if info.record.identity.layer in kept]
    return chosen


def _model_names(info: BankInfo) -> set[str]:
    model = info.record.identity.model
    return {model, model.rsplit("/", 1)[-1], info.record.source}


def _spellings(model: str) -> set[str]:
    """What may be on record of a model that is named so: of a folder, its place from the root, and its last part."""
    folder = os.path.expanduser(model)
    if not os.path.isdir(folder):
        return {model}
    return {model, os.path.abspath(folder), os.path.realpath(folder), os.path.basename(os.path.abspath(folder))}
