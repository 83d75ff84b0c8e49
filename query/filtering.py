"""Which conditions bind which lens; and what a user should hear of filters that leave nothing to find."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from ..schemas.errors import FilterError
from ..schemas.filters import Condition
from ..schemas.payload import FIELD_KINDS
from ..schemas.searches import BankSearch
from ..schemas.words import is_unspaced
from ..store.bank import Bank
from .vocabulary import VOCABULARY_FIELDS


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
            f"The filter {others[0]} applies to corpus tokens only; a vocabulary entry has no {others[0].field}.",
            f"LogitLens and EmbeddingLens can be filtered by {', '.join(VOCABULARY_FIELDS)}.",
        )
    return on_words, [
        f"The filter {_joined(others)} applies to LatentLens only: vocabulary entries have no such field."
    ]


def plan_searches(
    banks: Sequence[Bank], where: Sequence[Condition], exact: bool, multiplied: Sequence[bool] = ()
) -> tuple[BankSearch, ...]:
    """How each bank will be searched.

    Args:
        banks: open banks.
        where: conditions, all of which must hold.
        exact: whether it is asked for that every row is compared.
        multiplied: for each bank whether a product of its own compares every row; none where the databases do.

    Raises:
        FilterError: a condition the database cannot express.
        StoreError: the database failed.
    """
    searches = []
    for number, bank in enumerate(banks):
        every = exact or bank.compares_all(where)
        way = "product" if every and number < len(multiplied) and multiplied[number] else "engine"
        layer, rows = bank.record.identity.layer, bank.count(where)
        searches.append(BankSearch(bank.name, layer, rows, every, way=way, local_copy=bank.local_copy))
    return tuple(searches)


def filter_notes(
    banks: Sequence[Bank], where: Sequence[Condition], searches: Sequence[BankSearch], exact: bool
) -> list[str]:
    """What a reader should know of what the conditions leave of the banks.

    Args:
        banks: open banks.
        where: conditions, all of which must hold.
        searches: how each of these banks will be searched.
        exact: whether it is asked for that every row is compared.

    Returns:
        Sentences: that no row meets the conditions, and which of them alone none meets; or which
        bank layers drop out, or are searched exactly although that was not asked for; fields
        that rows lack.

    Raises:
        FilterError: a condition the database cannot express.
        StoreError: the database failed.
    """
    if not where:
        return []
    notes = [*_lacking_notes(banks, where), *_unspaced_notes(where)]
    empty = [bank for bank, search in zip(banks, searches, strict=True) if not search.rows]
    if len(empty) == len(banks):
        return [*notes, _nothing_note(banks, where)]
    if empty:
        notes.append(
            f"No row of {_layers(bank.record.identity.layer for bank in empty)} meets the filter {_joined(where)}."
        )
    few = [s for b, s in zip(banks, searches, strict=True) if s.exact and s.rows and not exact and b.is_indexed()]
    if few:
        least, most = min(search.rows for search in few), max(search.rows for search in few)
        rows = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        notes.append(
            f"Searched exactly: {_layers(search.layer for search in few)}, because the filter leaves only {rows} "
            f"row{'s' if most > 1 else ''}."
        )
    return notes


def _lacking_notes(banks: Sequence[Bank], where: Sequence[Condition]) -> list[str]:
    """Conditions on fields that rows lack, as rows that another program wrote may."""
    notes = []
    for field in dict.fromkeys(condition.field for condition in where):
        lacking = [bank for bank in banks if _lacks(bank, field)]
        if lacking:
            layers = _layers(bank.record.identity.layer for bank in lacking)
            notes.append(
                f"Rows of {layers} have no {field}. Such rows meet {field}!=... and no other filter on this field."
            )
    return notes


def _unspaced_notes(where: Sequence[Condition]) -> list[str]:
    """Full text is cut at spaces and punctuation: in scripts without spaces a whole run is one word to it."""
    asked = [str(one) for one in where if FIELD_KINDS[one.field] == "text" and any(map(_needs_whole_run, one.values))]
    if not asked:
        return []
    return [
        f"The filter {' and '.join(asked)} matches whole runs between spaces or punctuation. It does not find a word "
        "inside of a run, in scripts without spaces or in Korean with particles. Filter with word= instead."
    ]


def _needs_whole_run(value: object) -> bool:
    return any(is_unspaced(char) or "\uac00" <= char <= "\ud7a3" for char in str(value))


def _lacks(bank: Bank, field: str) -> bool:
    rows, _ = bank.scroll(1)
    return bool(rows) and field not in rows[0][2]


def _nothing_note(banks: Sequence[Bank], where: Sequence[Condition]) -> str:
    note = f"No row of the banks meets the filter {_joined(where)}."
    if len(where) > 1:
        alone = [condition for condition in where if not any(bank.count([condition]) for bank in banks)]
        none = (
            f"No row meets {' or '.join(map(str, alone))} alone."
            if alone
            else "Rows meet each condition alone, but not all of them together."
        )
        note = f"{note} {none}"
    if any(condition.field == "token" and condition.op == "=" for condition in where):
        note += " A token is the tokenizer's own string, often with a mark for the space before it (Ġdog, ▁dog)."
    return note + _other_form(banks, where)


def _other_form(banks: Sequence[Bank], where: Sequence[Condition]) -> str:
    """That a word is there in other characters: accents may be composed with their letters, or follow them."""
    for condition in where:
        if condition.field != "word" or condition.op != "=":
            continue
        for value in map(str, condition.values):
            for form, what in (("NFC", "composed"), ("NFD", "decomposed")):
                other = unicodedata.normalize(form, value)  # type: ignore[arg-type]
                if other != value and any(bank.count([Condition("word", "=", (other,))]) for bank in banks):
                    return f" The banks hold {value!r} in {what} characters (Unicode {form}): write it so."
    return ""


def _layers(numbers: Iterable[int]) -> str:
    return f"bank layer {', '.join(map(str, sorted(set(numbers))))}"


def _joined(where: Sequence[Condition]) -> str:
    return " and ".join(str(condition) for condition in where)
