"""Which conditions bind which lens; and what a user should hear of filters that leave nothing to find."""

from __future__ import annotations

from collections.abc import Sequence

from query.vocabulary import VOCABULARY_FIELDS
from schemas.errors import FilterError
from schemas.filters import Condition
from store.base import Bank


def split_conditions(where: Sequence[Condition], lenses: Sequence[str]) -> tuple[list[Condition], list[str]]:
    """The conditions that a vocabulary entry can meet, and notes on those that bind LatentLens alone.

    Args:
        where: conditions, all of which must hold.
        lenses: names of the lenses asked for.

    Raises:
        FilterError: LatentLens is not asked for, and a condition is about corpus tokens.
    """
    on_words = [condition for condition in where if condition.field in VOCABULARY_FIELDS]
    others = [condition for condition in where if condition.field not in VOCABULARY_FIELDS]
    if not others or all(lens == "latent" for lens in lenses):
        return on_words, []
    if "latent" not in lenses:
        raise FilterError(
            f"The filter {others[0]} is about corpus tokens; a vocabulary entry has no {others[0].field}.",
            f"LogitLens and EmbeddingLens can be filtered by {', '.join(VOCABULARY_FIELDS)}.",
        )
    return on_words, [f"The filter {_joined(others)} binds LatentLens alone: vocabulary entries have no such field."]


def filter_notes(banks: Sequence[Bank], where: Sequence[Condition]) -> list[str]:
    """What the conditions leave of the banks, where that is nothing.

    Args:
        banks: open banks.
        where: conditions, all of which must hold.

    Returns:
        Sentences: that no row meets the conditions, and which of them alone none meets; or which
        bank layers drop out.

    Raises:
        FilterError: a condition the database cannot express.
        StoreError: the database failed.
    """
    if not where:
        return []
    empty = [bank for bank in banks if bank.count(where) == 0]
    if not empty:
        return []
    if len(empty) < len(banks):
        layers = ", ".join(str(layer) for layer in sorted({bank.record.identity.layer for bank in empty}))
        return [f"No row of bank layer {layers} meets the filter {_joined(where)}."]
    note = f"No row of the banks meets the filter {_joined(where)}."
    if len(where) > 1:
        alone = [condition for condition in where if not any(bank.count([condition]) for bank in banks)]
        none = f"None meets {' or '.join(map(str, alone))} alone." if alone else "Each condition alone is met by some."
        note = f"{note} {none}"
    if any(condition.field == "token" and condition.op == "=" for condition in where):
        note += " A token is the tokenizer's own string, often with a mark for the space before it (Ġdog, ▁dog)."
    return [note]


def _joined(where: Sequence[Condition]) -> str:
    return " and ".join(str(condition) for condition in where)
