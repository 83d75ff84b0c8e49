"""``banks repair``: what follows from a bank's rows, and today's words for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..schemas.errors import UsageError
from . import completion
from .options import open_target, shared_options
from .progress import TerminalProgress
from .terminal import echo, reported

if TYPE_CHECKING:
    from ..models.tokens import BulkTokenizer
    from ..schemas.collection import BankRecord
    from ..store.store import Store


@click.command()
@click.argument("names", nargs=-1, metavar="[BANK]...", shell_complete=completion.bank_names)
@click.option(
    "--words",
    is_flag=True,
    help="Instead, apply the current word rules to banks that were made with other rules. Default: all banks.",
)
@click.option(
    "--model",
    metavar="ID|FOLDER",
    shell_complete=completion.models,
    help="With --words: the model whose tokenizer is used.  [default: the model that made the bank]",
)
@click.option("--revision", help="With --words: branch, tag or commit on the hub.")
@click.option("--trust-remote-code", is_flag=True, help="With --words: run code that comes with the model.")
@shared_options
def repair(names: tuple[str, ...], words: bool, **options: Any) -> None:
    """Rebuild what can be derived from a bank's rows: payload indexes, quantised copies, graph, list of files.

    Vectors, payload and ids cannot be rebuilt: if one of their files is damaged, it is named and nothing is changed. A
    bank that was finished before lists of files existed gets one. Free space of about four times the bank is needed.

    With --words, the fields word and is_word are derived again from the stored sentences by the current rules; nothing
    is encoded. A bank in a folder is replaced in one step when the new one is complete. Rerun the same command after an
    interruption.

    \b
    Example:
      lensbank banks repair demo-model-L08-b378e0 --store my-store
      lensbank banks repair --words --store my-store
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        if not names and not words:
            raise UsageError(
                "No bank is named.",
                "Give the name of a bank, or add --words to update all banks with older word rules.",
            )
        if not words and (options["model"] or options["revision"] or options["trust_remote_code"]):
            raise UsageError(
                "--model, --revision and --trust-remote-code can only be used with --words.", "Add it, or leave them."
            )
        with open_target(options, progress.note) as store:
            if words:
                chosen = list(dict.fromkeys(names)) or _with_old_words(store, progress)
                for name in chosen:
                    _retell(store, name, options, progress)
                if not chosen:
                    echo("All complete banks already have the words of the current rules.")
                return
            for name in dict.fromkeys(names):
                for line in store.repair(name) or ("nothing is damaged",):
                    echo(f"{name}: {line}")


def _with_old_words(store: Store, progress: TerminalProgress) -> list[str]:
    """Complete banks with words of other rules; of others it is said."""
    from ..banks.retelling import has_old_words

    old = [info for info in store.list() if has_old_words(info.record)]
    for info in old:
        if info.record.state != "complete":
            progress.note(
                f"Bank {info.name} is not complete; the ingest that finishes it applies the current word rules."
            )
    return [info.name for info in old if info.record.state == "complete"]


def _retell(store: Store, name: str, options: dict[str, Any], progress: TerminalProgress) -> None:
    from ..banks.retelling import retell

    def tokenizer_of(record: BankRecord) -> tuple[BulkTokenizer, str]:
        from ..models.tokenizers import load_tokenizer

        source = options["model"] or record.source
        revision = options["revision"] or (None if options["model"] else record.identity.revision)
        return load_tokenizer(source, revision=revision, trust_remote_code=options["trust_remote_code"])

    echo(f"{name}: {retell(store, name, tokenizer_of, progress)}.")
