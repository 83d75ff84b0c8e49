"""Words by today's rules for banks that were written by other rules: derived from rows, without encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..models.tokens import BulkTokenizer, span_of
from ..schemas.collection import BankRecord
from ..schemas.errors import BankMismatchError
from ..schemas.payload import prefix_ids, row_fault
from ..schemas.progress import Progress
from ..schemas.words import RULES, word_of
from .deriving import can_be_read_again
from .row_check import BareRow, pages

if TYPE_CHECKING:
    from ..store.care import Changes
    from ..store.store import Store


def has_old_words(record: BankRecord) -> bool:
    """Whether words of a bank follow other or unknown rules."""
    return any(corpus.has_old_words for corpus in record.corpora if corpus.indexed is None)


def retell(
    store: Store, name: str, tokenizer_of: Callable[[BankRecord], tuple[BulkTokenizer, str]], progress: Progress
) -> str:
    """Give the rows of a complete bank the words that today's rules tell; rows that show nothing go.

    Args:
        store: that holds the bank.
        name: of the bank.
        tokenizer_of: the tokenizer of the model that made a bank, and its fingerprint.
        progress: told what happens.

    Returns:
        What was done, a sentence.

    Raises:
        BankMismatchError: it is another tokenizer.
        BankIncompleteError: the bank's ingest has not finished.
        StoreError: see :meth:`store.care.Care.rewrite`.
    """
    store.take_up(name)
    with store.open(name) as bank:
        record, rows = bank.record, bank.count()
        if not has_old_words(record):
            return f"its words already follow the current rules (version {RULES})"
        tokenizer, print_ = tokenizer_of(record)
        if print_ != record.identity.tokenizer:
            raise BankMismatchError(
                f"Bank {name} was made with another tokenizer: {record.identity.tokenizer} in the bank, {print_} now.",
                "Give the model that made the bank as --model.",
            )
        progress.start(f"Deriving words of {name}", rows, "rows")
        changes: dict[str, Mapping[str, Any] | None] = {}
        for page in pages(bank):
            changes |= changes_of(page, tokenizer)
            progress.advance(len(page))
        progress.finish()
    progress.start(f"Writing {name}", len(changes), "rows")
    store.rewrite(name, record, changes, progress.advance)
    progress.finish()
    gone = sum(change is None for change in changes.values())
    went = f", {gone:,} rows of invisible or special tokens removed" if gone else ""
    return (
        f"words derived by the current rules (version {RULES}): {len(changes) - gone:,} of {rows:,} rows changed{went}"
    )


def changes_of(rows: Sequence[BareRow], tokenizer: BulkTokenizer) -> Changes:
    """What today's rules say otherwise of rows; those that are damaged are left to ``banks verify``."""
    good = [row for row in rows if row_fault(*row) is None]
    sentences = list(dict.fromkeys(payload["sentence"] for _, payload in good))
    encodings = dict(zip(sentences, tokenizer.with_offsets(sentences), strict=True))
    names = {text: prefix_ids(encoding.ids) for text, encoding in encodings.items()}
    found: dict[str, Mapping[str, Any] | None] = {}
    for name, payload in good:
        text = payload["sentence"]
        now = _told(name, payload, encodings[text], names[text], tokenizer)
        if now is None:
            found[name] = None
        elif changed := {field: value for field, value in now.items() if payload[field] != value}:
            found[name] = changed
    return found


def _told(
    name: str, payload: Mapping[str, Any], encoding: Any, names: Sequence[str], tokenizer: BulkTokenizer
) -> dict[str, Any] | None:
    """Span and word of a row by today's rules; ``None`` where they make no row of it."""
    if payload["token_id"] >= tokenizer.vocabulary or not tokenizer.shows(payload["token_id"]):
        return None
    if payload["position"] < 0:  # its place is not known, and its token is its word
        return {}
    text, index = payload["sentence"], _index(name, payload, encoding, names)
    if index is None:
        start, end, following = payload["char_start"], payload["char_end"], None
    else:
        start, end, following = span_of(text, encoding.offsets, encoding.special_tokens_mask, index)
    if start >= end:
        return None
    word = word_of(text, start, end, following)
    told: dict[str, Any] = {"char_start": start, "char_end": end, "word": text[word.start : word.end]}
    if index is not None or told["word"] != payload["word"]:
        told["is_word"] = word.is_complete
    return told


def _index(name: str, payload: Mapping[str, Any], encoding: Any, names: Sequence[str]) -> int | None:
    """The row's token in its sentence; in the part of a long one that is stored, the one that stands there."""
    if can_be_read_again(payload):
        return names.index(name) if name in names else None
    places = range(len(encoding.ids))
    there = [i for i in places if encoding.ids[i] == payload["token_id"] and not encoding.special_tokens_mask[i]]
    spans = {i: span_of(payload["sentence"], encoding.offsets, encoding.special_tokens_mask, i) for i in there}
    return next((i for i, span in spans.items() if span.start == payload["char_start"]), None)
