"""Banks that wait for the rest of their rows: what they hold, and what finishes them, in words."""

from __future__ import annotations

from ..schemas.collection import UNKNOWN_DTYPE, BankIdentity, BankRecord
from ..schemas.errors import BankIncompleteError
from ..schemas.plans import PlanRecord

_COPY_AGAIN = "Run the same push or pull again (from {}): it continues where it stopped."


def require_complete(name: str, record: BankRecord, where: str) -> None:
    """Refuse to search what an ingest has not finished.

    Raises:
        BankIncompleteError: the record says ``building``.
    """
    if record.state != "complete":
        if record.copying is not None:
            raise BankIncompleteError(
                f"Bank {name} in {where} is not complete: its rows are still being copied from {record.copying}.",
                _COPY_AGAIN.format(record.copying),
            )
        what = f" ({record.plan.in_words()}: {record.plan.progress_in_words()})" if record.plan is not None else ""
        kind = record.plan.kind if record.plan is not None else "ingest"
        command = {"index": "index", "words": "index --again-words"}.get(kind, "ingest")
        raise BankIncompleteError(
            f"Bank {name} in {where} is not complete: its {command} was interrupted or is still running{what}.",
            "Run the same import-bank command again."
            if record.identity.compute_dtype == UNKNOWN_DTYPE
            else f"Run the same {command} command again (--model {record.source}): it continues where it stopped.",
        )


def refusal(name: str, record: BankRecord, plan: PlanRecord | None) -> tuple[str, str]:
    """What a bank holds that is not finished, and how to finish it or give it up: message and hint.

    Args:
        name: of the bank.
        record: as it is.
        plan: what was about to be written, if that is known.
    """
    held, drop = record.plan, f"lensbank banks drop {name}"
    if held is None:
        lacking = ", ".join(corpus.name for corpus in record.corpora)
        return (
            f"Bank {name} holds a part of an unfinished ingest (--model {record.source}), and its record does not say "
            "of which corpus: an older version or another program began it.",
            f"Drop the bank and ingest again: {drop}."
            + (
                f" Or ingest {lacking} again, which the bank held before: that restores missing rows."
                if lacking
                else ""
            ),
        )
    if held.kind == "copy":
        message = f"Bank {name} holds a part of the rows of the bank in {held.source}; the copy is not finished."
        return message, f"{_COPY_AGAIN.format(held.source)} Or drop the bank: {drop}."
    now = f" This command would add {plan.in_words()}." if plan is not None else ""
    if held.kind == "import":
        if plan is not None and plan.source == held.source:
            now = " The same file was given, but under another name, or this version makes other rows from it."
        return (
            f"Bank {name} holds a part of the rows of {held.source}, whose import has not finished.{now}",
            f"Run that import again to finish it, or drop the bank ({drop}), or use another --store.",
        )
    if held.kind == "words":
        again = "Run lensbank index --again-words, which finishes it"
        return (
            f"Bank {name} holds a part of {held.in_words()}: {held.progress_in_words()}.{now}",
            f"{again}, or {drop}.",
        )
    if plan is not None and dict(plan.corpora) == dict(held.corpora) and plan.kind == held.kind:
        now = f" The same corpus was given, but {_changed(held, plan)}."
    return (
        f"Bank {name} holds a part of {held.in_words()} (--model {record.source}, {_selection(record.identity)}): "
        f"{held.progress_in_words()}.{now}",
        f"Finish the ingest of that corpus first, or drop the bank ({drop}), or use another --store.",
    )


def _selection(identity: BankIdentity) -> str:
    contexts = "all contexts" if identity.max_contexts is None else f"{identity.max_contexts} contexts a token"
    return f"{contexts}, seed {identity.seed}"


def _changed(held: PlanRecord, plan: PlanRecord) -> str:
    """Why a plan for the same corpora is another one."""
    rules = [
        f"{name} rules {held.rules.get(name, 0)} there, {plan.rules.get(name, 0)} now"
        for name in sorted({*held.rules, *plan.rules})
        if held.rules.get(name, 0) != plan.rules.get(name, 0)
    ]
    return "this version makes other rows from it: " + "; ".join(rules) if rules else "other rows are chosen from it"
