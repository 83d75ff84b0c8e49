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
    from ..store.base import Store


@click.command()
@click.argument("names", nargs=-1, metavar="[BANK]...", shell_complete=completion.bank_names)
@click.option(
    "--words",
    is_flag=True,
    help="Instead, tell the words of rows again by today's rules, where others told them. Without names: of all banks.",
)
@click.option(
    "--model",
    metavar="ID|FOLDER",
    shell_complete=completion.models,
    help="With --words: where the tokenizer is.  [default: the model that made the bank]",
)
@click.option("--revision", help="With --words: branch, tag or commit on the hub.")
@click.option("--trust-remote-code", is_flag=True, help="With --words: run code that comes with the model.")
@shared_options
def repair(names: tuple[str, ...], words: bool, **options: Any) -> None:
    """Make again what follows from a bank's rows: payload indexes, quantised copies, graph, and the list of its files.

    Vectors, payload and ids cannot be made again; where those are damaged, the files are named and nothing changes.
    A bank that was finished before there were lists of files gets one.
    Free space of about four times the bank is needed.

    With --words, rows get the word and is_word of today's rules, from the sentence that they hold; nothing is encoded.
    A folder's bank changes at once when all is written. After an interruption, run the same command again.

    \b
    Example:
      lensbank banks repair demo-model-L08-b378e0 --store my-store
      lensbank banks repair --words --store my-store
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        if not names and not words:
            raise UsageError("No bank is named.", "Name one, or add --words for all whose words other rules told.")
        if not words and (options["model"] or options["revision"] or options["trust_remote_code"]):
            raise UsageError("--model, --revision and --trust-remote-code belong to --words.", "Add it, or leave them.")
        with open_target(options, progress.note) as store:
            if words:
                chosen = list(dict.fromkeys(names)) or _with_old_words(store, progress)
                for name in chosen:
                    _retell(store, name, options, progress)
                if not chosen:
                    echo("The words of all complete banks are those of today's rules.")
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
            progress.note(f"Bank {info.name} is not complete; its words are told by the ingest that finishes it.")
    return [info.name for info in old if info.record.state == "complete"]


def _retell(store: Store, name: str, options: dict[str, Any], progress: TerminalProgress) -> None:
    from ..banks.retelling import retell

    def tokenizer_of(record: BankRecord) -> tuple[BulkTokenizer, str]:
        from ..models.tokenizers import load_tokenizer

        source = options["model"] or record.source
        revision = options["revision"] or (None if options["model"] else record.identity.revision)
        return load_tokenizer(source, revision=revision, trust_remote_code=options["trust_remote_code"])

    echo(f"{name}: {retell(store, name, tokenizer_of, progress)}.")
