"""The commands that look after the banks of a store."""

from __future__ import annotations

import json
from typing import Any

import click

from ..schemas.errors import UsageError
from .options import load, model_options, open_target, shared_options
from .terminal import TerminalProgress, reported

form_option = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group(name="banks")
def banks() -> None:
    """List, show, check and delete the banks of a store.

    \b
    Example:
      lensbank banks list --store my-store
      lensbank banks verify --store my-store
    """  # noqa: D301 - click needs the \b character


@banks.command(name="list")
@form_option
@shared_options
def list_banks(form: str, **options: Any) -> None:
    """One line per bank: layer, rows, size, whether it is complete, its index, its corpora.

    \b
    Example:
      lensbank banks list --store my-store
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..banks.overview import overview, table

        with open_target(options, progress.note) as store:
            found = overview(store)
        if form == "json":
            click.echo(json.dumps(found))
        elif found:
            click.echo(table(found))
        else:
            click.echo(f"The store {options['store_target']} holds no banks. Make some with: lensbank ingest")


@banks.command()
@click.argument("names", nargs=-1, metavar="[BANK]...")
@form_option
@shared_options
def show(names: tuple[str, ...], form: str, **options: Any) -> None:
    """Everything on record about banks: model, layer, precision, selection, corpora. Default: all.

    \b
    Example:
      lensbank banks show demo-model-L08-b378e0 --store my-store
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..banks.overview import details, overview

        with open_target(options, progress.note) as store:
            found = {bank["name"]: bank for bank in overview(store)}
            for name in names:
                if name not in found:
                    store.open(name)  # says which there are
        chosen = [found[name] for name in names or found]
        click.echo(json.dumps(chosen) if form == "json" else "\n\n".join(details(bank) for bank in chosen))


@banks.command()
@click.argument("names", nargs=-1, required=True, metavar="BANK...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
def drop(names: tuple[str, ...], yes: bool, **options: Any) -> None:
    """Delete banks with all their rows, after asking.

    \b
    Example:
      lensbank banks drop demo-model-L08-b378e0 --store my-store
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..banks.journal import Journal, journal_folder
        from ..schemas.units import show_bytes

        with open_target(options, progress.note) as store:
            found = {info.name: info for info in store.list()}
            for name in names:
                if name not in found:
                    store.open(name)  # says which there are
            rows = sum(found[name].rows for name in names)
            sizes = [found[name].disk_bytes for name in names]
            size = None if None in sizes else sum(s for s in sizes if s is not None)
            what = f"{', '.join(names)} ({rows:,} rows, {show_bytes(size)}) from {store.address}"
            if not yes:
                try:
                    sure = click.confirm(f"Delete {what}?", err=True)
                except click.Abort:
                    raise UsageError("Nobody answered; nothing was deleted.", "Pass --yes to delete.") from None
                if not sure:
                    click.echo("Nothing was deleted.")
                    return
            for name in dict.fromkeys(names):
                store.drop(name)
                Journal(journal_folder(store)).remove([name])
        click.echo(f"Deleted {what}.")


@banks.command()
@click.argument("names", nargs=-1, metavar="[BANK]...")
@click.option("--sample", type=click.IntRange(1), default=100, show_default=True, help="Rows to check in each bank.")
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
@model_options(required=False)
@shared_options
def verify(names: tuple[str, ...], sample: int, seed: int, **options: Any) -> None:
    """Encode a random sample of rows again and compare: ids, positions, norms and directions.

    Without names, all complete banks of the model. Exit code 1 if a row is not what the model says.

    \b
    Example:
      lensbank banks verify --store my-store --sample 500
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..banks.of_model import choose_banks, model_source
        from ..banks.verify import verify as check
        from ..models.large import reloading
        from ..schemas.collection import UNKNOWN_DTYPE
        from ..schemas.errors import StoreError

        with open_target(options, progress.note) as store:
            source = options["model"] or model_source(store)
            precisions = {info.record.identity.compute_dtype for info in store.list()} - {UNKNOWN_DTYPE}
            if options["dtype"] == "auto" and len(precisions) == 1:
                load_in, options["dtype"] = reloading(precisions.pop())  # the same rounding as then
                options["load_in"] = options["load_in"] or load_in
            loaded = load(source, options)
            chosen = names or [info.name for info in choose_banks(store, loaded, centred=None)]
            progress.start("Checking", len(chosen), "banks")
            reports = []
            for name in chosen:
                with store.open(name) as bank:
                    reports.append(check(loaded, bank, sample, seed))
                progress.advance(1)
        progress.finish()
        for report in reports:
            click.echo("\n".join(report.lines()))
        failed = [report.bank for report in reports if not report.passed]
        if failed:
            raise StoreError(
                f"{len(failed)} of {len(chosen)} banks are not what the model says: {', '.join(failed)}.",
                "Drop them (lensbank banks drop) and ingest again.",
            )
