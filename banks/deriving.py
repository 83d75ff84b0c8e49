"""Whether rows are what their ids were derived from: the tokens of their sentences, up to their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..models.tokens import BulkTokenizer, span_of
from ..schemas.payload import prefix_ids, row_fault
from ..schemas.words import word_of
from .row_check import BareRow, Finding, Findings, pages

if TYPE_CHECKING:
    from ..store.bank import Bank

_REPLACED = "\ufffd"
#: What is derived from nothing else in a bank, so that a change by hand cannot be known.
BELIEVED = "document and corpus"


def can_be_read_again(payload: Mapping[str, Any]) -> bool:
    """Whether a row holds all that its state has seen, as the model saw it."""
    whole = not payload.get("sentence_start", 0)
    return whole and _REPLACED not in payload["sentence"] and payload["position"] >= 0


def locate(point_id: str, payload: Mapping[str, Any], encoding: Any) -> tuple[int | None, str]:
    """The row's token in its sentence as the tokenizer sees it now, or what does not fit."""
    content = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
    if payload["position"] >= len(content):
        return None, f"position {payload['position']} in a sentence of {len(content)} tokens"
    index = content[payload["position"]]
    if encoding.ids[index] != payload["token_id"]:
        return None, f"token id {payload['token_id']} stored, {encoding.ids[index]} now"
    if prefix_ids(encoding.ids[: index + 1])[-1] != point_id:
        return None, f"the id {point_id} does not match its prefix"
    span = span_of(payload["sentence"], encoding.offsets, encoding.special_tokens_mask, index)[:2]
    raw = tuple(encoding.offsets[index])
    # Banks of the first word rules have the tokenizer's own end, short of the marks that it composed.
    if (payload["char_start"], payload["char_end"]) not in (span, (span[0], raw[1])):
        return None, f"characters {payload['char_start']} to {payload['char_end']} stored, {span[0]} to {span[1]} now"
    return index, ""


def derive(
    bank: Bank, tokenizer: BulkTokenizer, advance: Callable[[int], None] = lambda count: None
) -> tuple[tuple[Finding, ...], int, int]:
    """Tokenise every row's sentence again and compare ids, tokens, places and words.

    Args:
        bank: open.
        tokenizer: of the model that made it.
        advance: called with the number of rows of each page.

    Returns:
        What does not fit; how many rows hold what is needed to tell; and how many of them have another word, or
        another ``is_word``, than this version's rules give, as in a bank of an older version.

    Raises:
        StoreError: the bank cannot be read.
    """
    findings, derived, other_rules = Findings(), 0, 0
    with_tokens = all(corpus.imported is None for corpus in bank.record.corpora)  # others spell them as they like
    for page in pages(bank):
        rows = [row for row in page if row_fault(*row) is None]
        good = [row for row in rows if can_be_read_again(row[1])]
        derived += len(good)
        for row, encoding in zip(good, _encoded(good, tokenizer), strict=True):
            fault, other = _compare(row, encoding, with_tokens)
            if fault:
                findings.add("whose payload does not match their id", f"{row[0]} ({fault})")
            other_rules += other
        advance(len(page))
    return findings.found(), derived, other_rules


def _encoded(rows: Sequence[BareRow], tokenizer: BulkTokenizer) -> list[Any]:
    sentences = list(dict.fromkeys(payload["sentence"] for _, payload in rows))
    found = dict(zip(sentences, tokenizer.with_offsets(sentences), strict=True))
    return [found[payload["sentence"]] for _, payload in rows]


def _compare(row: BareRow, encoding: Any, with_tokens: bool) -> tuple[str, bool]:
    """What does not fit, and whether the word is another than this version's rules give."""
    name, payload = row
    index, fault = locate(name, payload, encoding)
    if index is None:
        return fault, False
    if with_tokens and payload["token"] != encoding.tokens[index]:
        return f"token {payload['token']!r} stored, {encoding.tokens[index]!r} now", False
    sentence, word = payload["sentence"], payload["word"]
    start, end, following = span_of(sentence, encoding.offsets, encoding.special_tokens_mask, index)
    # By any rules, a word is cut out of the sentence where its token stands.
    if not word or not 0 <= sentence.find(word, max(0, start - len(word) + 1)) < max(end, start + 1):
        return f"word {word!r} stored, which is not at that place in the sentence", False
    ruled = word_of(sentence, start, end, following)
    return "", (word, payload["is_word"]) != (sentence[ruled.start : ruled.end], ruled.is_complete)
