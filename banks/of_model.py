"""Which banks of a store belong to a model, and which model to a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..models.loading import LoadedModel
from ..models.machine.devices import DTYPES
from ..models.machine.large import reloading
from ..schemas.collection import UNKNOWN_DTYPE, BankIdentity
from ..schemas.errors import BankMismatchError, OtherCodeError
from ..schemas.layers import LayerChoice
from ..store.bank import Bank
from ..store.found import BankInfo
from ..store.store import Store
from ..store.unfinished import require_complete
from .of_store import at_layers, model_source, of_kind, readable
from .overview import word_notes

__all__ = ["choose_banks", "model_source", "readable"]


def choose_banks(
    store: Store, loaded: LoadedModel, bank_layers: LayerChoice | None = None, centred: bool | None = False
) -> tuple[BankInfo, ...]:
    """The complete banks of a model, by layer and name; none is opened.

    Args:
        store: where to look.
        loaded: the model whose states will be compared with theirs.
        bank_layers: layers to keep, numbers or ranges; ``None`` for all.
        centred: banks of centred states, or of raw ones; ``None`` for both.

    Raises:
        BankNotFoundError: the store holds no banks, or only centred ones, or none that is.
        BankMismatchError: it holds only other models' banks, or, of a layer asked for, only one that other code made
            with the same weights.
        LayerError: it lacks a bank layer asked for.
        BankIncompleteError: the ingest of a bank asked for, or of all, has not finished.
    """
    infos = readable(store)
    differences = [_difference(info, loaded) for info in infos]
    by_other_code = {
        info.name: error for info, error in zip(infos, differences, strict=True) if isinstance(error, OtherCodeError)
    }
    ours = [info for info, error in zip(infos, differences, strict=True) if error is None or info.name in by_other_code]
    if not ours:
        models = ", ".join(sorted({info.record.identity.model for info in infos}))
        raise BankMismatchError(
            differences[0].message if differences[0] else "",
            f"The store holds banks of {models}, but the model is {loaded.name}. Query with the model of the banks, "
            f"or ingest a corpus with {loaded.name}.",
        )
    if centred is not None:
        ours = of_kind(ours, centred)
    ours.sort(key=lambda info: (info.record.identity.layer, info.name))
    if bank_layers is not None:
        ours = at_layers(ours, bank_layers, store.damaged())
    same = [info for info in ours if info.name not in by_other_code]
    there = {info.record.identity.layer for info in same}
    if lacking := [info for info in ours if info.record.identity.layer not in there]:
        raise by_other_code[lacking[0].name]
    ours = same
    complete = [info for info in ours if info.record.state == "complete"]
    unfinished = [info for info in ours if info.record.state != "complete"]
    if unfinished and (bank_layers is not None or not complete):
        require_complete(unfinished[0].name, unfinished[0].record, "the store")
    return tuple(complete)


def computed_in(store: Store, source: str, load_in: str | None = None, kind: str = "text") -> str | None:
    """The dtype of the banks of a model, so that another run rounds as they were; before the model is loaded.

    Args:
        store: where to look.
        source: the model directory or hub id; banks are known by its name alone.
        load_in: how the model will be quantised.
        kind: of the banks.

    Returns:
        ``None`` where the store has no such banks, or they are of several.

    Raises:
        StoreError: the store cannot be read.
    """
    path = Path(source).expanduser()
    name = path.resolve().name if path.is_dir() else source
    identities = [info.record.identity for info in store.list() if info.record.identity.kind == kind]
    kinds = {one.compute_dtype for one in identities if one.model == name} - {UNKNOWN_DTYPE}
    narrow, dtype = reloading(kinds.pop()) if len(kinds) == 1 else (load_in, None)
    return dtype if narrow == load_in and dtype in DTYPES else None


def unfinished_layers(store: Store, loaded: LoadedModel, centred: bool = False) -> tuple[int, ...]:
    """Layers at which an ingest with this model, centred or not, has not finished."""
    ours = [info.record for info in store.list() if _difference(info, loaded) is None]
    ours = [record for record in ours if record.identity.centred == centred]
    return tuple(sorted({record.identity.layer for record in ours if record.state != "complete"}))


def _difference(info: BankInfo, loaded: LoadedModel) -> BankMismatchError | None:
    try:
        require_model(info.record.identity, loaded)
    except BankMismatchError as error:
        return error
    return None


def require_model(bank: BankIdentity, loaded: LoadedModel) -> None:
    """Refuse a bank that another model made.

    Raises:
        BankMismatchError: naming every field that differs, with both values.
    """
    now = loaded.identity(bank.layer, vector_dtype=bank.vector_dtype, max_contexts=bank.max_contexts, seed=bank.seed)
    bank.require_model(now)


def bank_layers(banks: Sequence[Bank]) -> tuple[int, ...]:
    """The layers of open banks, each once, sorted."""
    return tuple(sorted({bank.record.identity.layer for bank in banks}))


def bank_facts(bank: Bank) -> dict[str, Any]:
    """What a reader needs to know which bank this was; JSON types only."""
    record = bank.record
    corpora = [
        {key: value for key, value in asdict(c).items() if value is not None}  # ``imported`` only where it is so
        for c in record.corpora
    ]
    return {"name": bank.name, **record.identity.facts(), "rows": bank.count(), "corpora": corpora}


def bank_notes(banks: Sequence[Bank], loaded: LoadedModel, exact: bool, left_out: Sequence[int]) -> list[str]:
    """What a reader should know about the banks searched, one sentence each.

    Args:
        banks: open banks of the model.
        loaded: the model that the query runs with.
        exact: whether every row is compared.
        left_out: layers whose ingest has not finished.
    """
    notes = stock_notes(banks)
    if left_out:
        notes.append(f"Bank layer {', '.join(map(str, left_out))} is left out: its ingest has not finished.")
    if any(bank.record.identity.computation is None for bank in banks):
        notes.append(
            "The banks were made before lensbank recorded the configuration of a model: they are matched to this "
            "model by its weights alone."
        )
    made = sorted({bank.record.identity.compute_dtype for bank in banks} - {UNKNOWN_DTYPE})
    now = loaded.dtype_name
    if made and made != [now]:
        quantised = {dtype.rpartition("-")[0] for dtype in (*made, now)}
        how = "scores differ slightly" if len(quantised) == 1 else "other weights computed the banks, so scores differ"
        notes.append(f"The banks were made in {' and '.join(made)}, this query in {now}: {how}.")
    if not exact and not any(bank.is_indexed() for bank in banks):
        copied = all(bank.local_copy for bank in banks)
        why = "Local copies have no index" if copied else "The banks are too small to have an index"
        notes.append(f"{why}: the approximate search compared every row.")
    return notes + word_notes(corpus for bank in banks for corpus in bank.record.corpora) + _import_notes(banks)


def stock_notes(banks: Sequence[Bank]) -> list[str]:
    """Which of the banks searched hold other rows than their records say, a sentence each."""
    return [
        f"Bank {bank.name} does not hold the rows on record: {balance.in_words()}. Neighbours may be missing or "
        "foreign. Ingest the same corpus again to restore missing rows; lensbank banks verify names foreign ones."
        for bank in banks
        if (balance := bank.balance())
    ]


def _import_notes(banks: Sequence[Bank]) -> list[str]:
    """That rows were not computed here, and what is not known of them."""
    records = [c.imported for bank in banks for c in bank.record.corpora if c.imported is not None]
    if not records:
        return []
    folders = ", ".join(sorted({record.folder for record in records}))
    kinds = " and ".join(sorted({record.stored_dtype for record in records}))
    notes = [f"States were imported from {folders} ({kinds}); the precision in which they were computed is not known."]
    if any(record.checked == 0 for record in records):
        notes.append("For some imported banks, no state could be computed again before the import.")
    clipped, kept = sum(r.clipped > 0 for r in records), sum(r.located + r.relocated + r.unlocated for r in records)
    if clipped:
        notes.append(f"In {clipped} of these banks, values were cut off at 448 before they were imported.")
    moved, lost = sum(r.relocated for r in records), sum(r.unlocated for r in records)
    if moved or lost:
        notes.append(
            f"Of {kept:,} imported rows, {moved:,} are at another position in their sentence than their file says, "
            f"and the position of {lost:,} is not known (position -1, with the token as the word)."
        )
    return notes
