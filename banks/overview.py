"""A store's banks for people: one line each, or everything about one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..schemas.corpora import CorpusRecord
from ..schemas.units import show_bytes
from ..schemas.words import RULES
from ..store.balance import Balance
from ..store.found import BankInfo
from ..store.store import Store

_COLUMNS = ("bank", "layer", "rows", "on disk", "state", "index", "computed in", "corpora")
_RIGHT = {"layer", "rows", "on disk"}


def bank_state(info: BankInfo, balance: Balance) -> str:
    """``complete``, with what differs from the record, or how far the ingest has come and that it can go on."""
    if info.record.state == "complete":
        return f"complete, {balance.in_words()}" if balance else "complete"
    if info.record.copying is not None:
        return "being copied"
    plan = info.record.plan
    if plan is None or plan.kind != "ingest" or not plan.total:
        return "unfinished"
    return f"resumable, {100 * plan.done // plan.total} %"


def overview(store: Store) -> list[dict[str, Any]]:
    """Every bank of a store, by model and layer; JSON types only.

    Raises:
        StoreError: the store or a record cannot be read.
    """
    infos = sorted(store.list(), key=lambda i: (i.record.identity.model, i.record.identity.layer, i.name))
    return [_facts(info, store.disk_bytes(info), store.take_stock(info)) for info in infos]


def differing(banks: Sequence[dict[str, Any]]) -> str:
    """What to do about banks of :func:`overview` that do not hold what is on record; empty where there are none."""
    names = [bank["name"] for bank in banks if bank["rows_missing"] or bank["rows_extra"] or bank["damage"]]
    if not names:
        return ""
    return (
        f"{len(names)} of {len(banks)} banks do not hold the rows on record: {', '.join(names)}. lensbank banks "
        "verify names missing and foreign rows; ingest the same corpus again to restore missing rows."
    )


def word_notes(corpora: Iterable[CorpusRecord]) -> list[str]:
    """One sentence on corpora whose words follow other rules than today's, and what to do; or none."""
    old = list(dict.fromkeys(corpus.name for corpus in corpora if corpus.has_old_words))
    if not old:
        return []
    shown = ", ".join(old[:3]) + (f" and {len(old) - 3} more" if len(old) > 3 else "")
    return [
        f"The words of {shown} follow older or unrecorded word rules (now version {RULES}): some may be split "
        "differently, and is_word may differ. States and neighbours are the same; lensbank banks repair --words "
        "updates the words without encoding again."
    ]


def _facts(info: BankInfo, disk_bytes: int | None, balance: Balance) -> dict[str, Any]:
    record = info.record.to_dict()
    return {
        "name": info.name,
        "rows": info.rows,
        "disk_bytes": disk_bytes,
        "index": info.index,
        "progress": bank_state(info, balance),
        "rows_missing": balance.missing,
        "rows_extra": balance.extra,
        "damage": balance.damage,
        **{key: record[key] for key in ("state", "source", "created", "tool", "corpora")},
        "identity": info.record.identity.facts(),
    }


def table(banks: Sequence[dict[str, Any]]) -> str:
    """One line per bank, in columns."""
    rows = lines_of(banks)
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for cell, width, name in zip(row, widths, _COLUMNS, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def lines_of(banks: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of that table, its head first."""
    return [_COLUMNS, *(_line(bank) for bank in banks)]


def _line(bank: dict[str, Any]) -> tuple[str, ...]:
    corpora = ", ".join(corpus["name"] for corpus in bank["corpora"]) or "-"
    identity = bank["identity"]
    return (
        bank["name"],
        str(identity["layer"]),
        f"{bank['rows']:,}",
        show_bytes(bank["disk_bytes"]),
        bank["progress"],
        bank["index"] or "-",
        identity["compute_dtype"] + (", centred" if identity["centred"] else ""),
        corpora if len(corpora) <= 40 else corpora[:39] + "…",
    )


def _imported(facts: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Where imported rows came from, and how many of which kind."""
    if facts is None:
        return []
    counts = ("read", "located", "relocated", "unlocated", "special", "repeated", "broken")
    norms = "with" if facts["raw_norms"] else "without"
    return [
        ("imported from", f"{facts['folder']}, {facts['file']}, sha256 {facts['sha256'][:12]}"),
        ("  states", f"{facts['stored_dtype']}, {norms} their norms, {facts['clipped']:,} values cut off"),
        ("  again", f"{facts['checked']} states computed, median cosine {facts['cosine']:.4f}"),
        ("  rows", ", ".join(f"{facts[name]:,} {name}" for name in counts)),
        ("  its metadata", facts["declared"]),
    ]


def _indexed(corpus: dict[str, Any]) -> list[tuple[str, str]]:
    """A set of images: how many, from where, and how they were read."""
    facts = corpus["indexed"]
    where = f", where {' and '.join(facts['where'])}" if facts["where"] else ""
    banks = ", ".join(bank["name"] for bank in facts["banks"]) or "no text bank"
    return [
        ("images", f"{corpus['name']}: {corpus['sentences']:,} images, {corpus['rows']:,} visual tokens"),
        ("  from", f"{facts['folder']}, sha256 {corpus['fingerprint'][:12]}"),
        ("  read by", f"{', '.join(facts['lenses'])}, {facts['top_k']} words each{where}, with {banks}"),
        ("  prompt", repr(facts["prompt"])),
    ]


def _word_rules(corpus: dict[str, Any]) -> str:
    made = corpus.get("words")
    if made == RULES:
        return f"word rules {RULES}"
    return f"word rules {'not on record' if made is None else made} (current: {RULES}; banks repair --words)"


def details(bank: dict[str, Any]) -> str:
    """Everything about one bank, a line each."""
    identity = bank["identity"]
    every = "all" if identity["max_contexts"] is None else str(identity["max_contexts"])
    facts = {
        "model": identity["model"] + (f" at {identity['revision']}" if identity["revision"] else ""),
        "made from": bank["source"],
        "layer": f"{identity['layer']} of {identity['n_layers']} ({identity['convention']})",
        "vectors": f"{identity['dim']} x {identity['vector_dtype']}, {identity['normalisation']}",
        "computed in": identity["compute_dtype"],
        "centred": f"on the text mean {(identity['mean'] or 'unknown')[:12]}" if identity["centred"] else "no",
        **(
            {"images": f"read with {(identity['visual'] or '')[:12]} (vision tower, connector, processor, prompt)"}
            if identity["kind"] == "image"
            else {"contexts": f"{every} per vocabulary token, seed {identity['seed']}"}
        ),
        "weights": identity["weights"],
        "tokenizer": identity["tokenizer"],
        "rows": f"{bank['rows']:,}",
        "on disk": show_bytes(bank["disk_bytes"]),
        "state": bank["progress"],
        "index": bank["index"] or "unknown",
        "created": f"{bank['created']} by {bank['tool']}",
    }
    lines = [bank["name"], *(f"  {name:<15} {value}" for name, value in facts.items())]
    for corpus in bank["corpora"]:
        if corpus.get("indexed"):
            lines += [f"  {name:<15} {value}" for name, value in _indexed(corpus)]
            continue
        lines.append(
            f"  {'corpus':<15} {corpus['name']}: {corpus['sentences']:,} sentences, {corpus['tokens']:,} tokens, "
            f"{corpus['rows']:,} rows, sha256 {corpus['fingerprint'][:12]}, {_word_rules(corpus)}"
        )
        lines += [f"  {name:<15} {value}" for name, value in _imported(corpus.get("imported"))]
    return "\n".join(lines)
