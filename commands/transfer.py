"""The commands that move banks between stores: options, progress, error to exit code. No logic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..schemas.layers import parse_layers
from . import completion
from .options import open_address, shared_options
from .progress import TerminalProgress
from .terminal import echo, reported

Command = TypeVar("Command", bound=Callable[..., Any])


def choice_options(command: Command) -> Command:
    """The options that say which banks are meant."""
    for option in (
        click.option(
            "--layer",
            "layers",
            multiple=True,
            metavar="LAYERS",
            help="Copy only banks of these layers, e.g. 1,2,8-16; repeatable.",
        ),
        click.option("--model", help="Copy only banks of this model: its id, or the --model that made them."),
        click.option(
            "--bank",
            "names",
            multiple=True,
            metavar="NAME",
            shell_complete=completion.bank_names,
            help="Copy only this bank; repeatable.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--to", "other", required=True, metavar="URL|FOLDER", help="Target server or folder.")
@choice_options
@shared_options
def push(other: str, **options: Any) -> None:
    """Copy banks from the store to a Qdrant server (or another folder). Default: all banks.

    Rows that are already in the target are not sent again: rerun the same command after an interruption. A copied bank
    becomes complete only after all of its rows have been read back and compared.

    \b
    Example:
      lensbank push --store my-store --to http://localhost:6333
      lensbank push --store my-store --to https://qdrant.example.org:6333 --layer 8,16
    """  # noqa: D301 - click needs the \b character
    _transfer(options, other, into_other=True)


@click.command()
@click.option("--from", "other", required=True, metavar="URL|FOLDER", help="Source server or folder.")
@choice_options
@shared_options
def pull(other: str, **options: Any) -> None:
    """Copy banks from a Qdrant server (or another folder) to the store. Default: all banks.

    Continues after an interruption and compares all rows, like push.

    \b
    Example:
      lensbank pull --from http://localhost:6333 --store my-store
      lensbank pull --from http://localhost:6333 --store my-store --bank smollm2-135m-L08-3fa2c1
    """  # noqa: D301 - click needs the \b character
    _transfer(options, other, into_other=False)


def _transfer(options: dict[str, Any], other: str, into_other: bool) -> None:
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..banks.choosing import choose
        from ..banks.interrupts import Interruption
        from ..banks.transfer import Transfer
        from ..schemas.errors import UsageError

        layers = parse_layers(options["layers"])
        mine, theirs = options["store_target"], other
        source_address, target_address = (mine, theirs) if into_other else (theirs, mine)
        with Interruption() as interruption, open_address(source_address, options, progress.note) as source:
            chosen = choose(source, options["names"], options["model"], None if layers == "all" else layers)
            for bank in source.damaged():
                progress.note(f"Left out: {bank.message} {bank.hint}")
            with open_address(target_address, options, progress.note, create=True) as target:
                if source.address == target.address:
                    raise UsageError(f"{source.address} cannot be copied into itself.", "Name another store.")
                moved = Transfer(source, target, progress, interruption).run(chosen)
        for done in moved:
            echo(done.line())
