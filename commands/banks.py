"""The commands that look after the banks of a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..schemas.errors import StoreError, UsageError
from ..store.damage import FilesReport
from . import completion
from .early import require_model
from .loading import load
from .options import model_options, open_target, shared_options
from .progress import TerminalProgress
from .streams import confirmed, require_stdout
from .terminal import echo, reported

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from ..store.store import Store

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
    """List banks, one per line: layer, rows, size, state, index, corpora.

    Banks with a damaged record are named on stderr. They do not affect other banks; `banks drop` deletes them.

    \b
    Example:
      lensbank banks list --store my-store
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        require_stdout()
        from ..banks.overview import differing, overview, table, word_notes

        with open_target(options, progress.note) as store:
            found, damaged = overview(store), store.damaged()
            old = word_notes(corpus for info in store.list() for corpus in info.record.corpora)
        if said := differing(found):
            progress.note(said)
        for note in old:
            progress.note(note)
        for bank in damaged:
            progress.note(f"{bank.message} {bank.hint}")
        if form == "json":
            echo(json.dumps(found))
        elif found:
            echo(table(found))
        else:
            echo(f"The store {options['store_target']} holds no banks. Make some with: lensbank ingest")


@banks.command()
@click.argument("names", nargs=-1, metavar="[BANK]...", shell_complete=completion.bank_names)
@form_option
@shared_options
def show(names: tuple[str, ...], form: str, **options: Any) -> None:
    """Show the records of banks: model, layer, precision, selection, corpora. Default: all banks.

    \b
    Example:
      lensbank banks show demo-model-L08-b378e0 --store my-store
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        require_stdout()
        from ..banks.overview import details, overview

        with open_target(options, progress.note) as store:
            found = {bank["name"]: bank for bank in overview(store)}
            for name in names:
                if name not in found:
                    store.open(name)  # says which there are
        chosen = [found[name] for name in names or found]
        echo(json.dumps(chosen) if form == "json" else "\n\n".join(details(bank) for bank in chosen))


@banks.command()
@click.argument("names", nargs=-1, required=True, metavar="BANK...", shell_complete=completion.bank_names)
@click.option("--yes", is_flag=True, help="Delete without asking.")
@shared_options
def drop(names: tuple[str, ...], yes: bool, **options: Any) -> None:
    """Delete banks and all of their rows. Asks first.

    \b
    Example:
      lensbank banks drop demo-model-L08-b378e0 --store my-store
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..schemas.units import show_bytes

        with open_target(options, progress.note) as store:
            found = {info.name: info for info in store.list()}
            damaged = {bank.name for bank in store.damaged()}
            for name in names:
                if name not in found and name not in damaged:
                    store.open(name)  # says which there are
            known = [found[name] for name in dict.fromkeys(names) if name in found]
            sizes = [store.disk_bytes(info) for info in known]
            size = None if None in sizes else sum(s for s in sizes if s is not None)
            how_much = f"{sum(info.rows for info in known):,} rows, {show_bytes(size)}"
            if damaged.intersection(names):
                how_much += f", and {', '.join(n for n in names if n in damaged)}, whose record is damaged"
            what = f"{', '.join(names)} ({how_much}) from {store.address}"
            if not yes:
                try:
                    sure = confirmed(f"Delete {what}?")
                except click.Abort:
                    raise UsageError(
                        "The question was not answered, so nothing was deleted.", "Pass --yes to delete."
                    ) from None
                if not sure:
                    echo("Nothing was deleted.")
                    return
            _drop(store, list(dict.fromkeys(names)), progress.note)
        echo(f"Deleted {what}.")


def _drop(store: Store, names: Sequence[str], notify: Callable[[str], None]) -> None:
    for done, name in enumerate(names):
        try:
            store.drop(name)
        except StoreError:
            if done:
                notify(f"Deleted before that: {', '.join(names[:done])}.")
            raise


@banks.command()
@click.argument("names", nargs=-1, metavar="[BANK]...", shell_complete=completion.bank_names)
@click.option("--sample", type=click.IntRange(1), default=100, show_default=True, help="Rows to check in each bank.")
@click.option("--seed", default=0, show_default=True, help="Random seed for the sample.")
@click.option("--files-only", is_flag=True, help="Compare files with their list; load no model.")
@model_options(required=False)
@shared_options
def verify(names: tuple[str, ...], sample: int, seed: int, files_only: bool, **options: Any) -> None:
    """Check the files and rows of banks, and encode a random sample of rows again.

    In a folder, every byte of a bank's files is compared with the list that was written when the bank was finished, and
    missing or changed files are named. Rows are counted and compared with the record. With the model, ids, tokens,
    positions and words are derived again from the stored sentences, and norms and directions of the sample are
    compared. Of image banks, whole images are shown to the model again where their files still are. Default: all banks
    of the store, or with --model all complete banks of that model. The exit code is 1 if anything differs.

    \b
    Example:
      lensbank banks verify --store my-store --sample 500
      lensbank banks verify --store my-store --files-only
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        if not files_only:
            require_model(options["model"], options)
        with open_target(options, progress.note) as store:
            broken = _verify_files(store, names, progress)
            whole = [name for name in names if name not in broken]
            others, checked, failed = list[str](), 0, list[str]()
            if not files_only and (whole or not names):
                others = _go_over(store, whole, broken, progress)  # needs no model
                checked, failed = _verify_rows(store, whole, broken, sample, seed, options, progress)
        if broken:
            raise StoreError(
                f"{len(broken)} banks have damaged files: {', '.join(broken)}.",
                "`lensbank banks repair` rebuilds derived files, and names the files that cannot be rebuilt.",
            )
        if others:
            raise StoreError(
                f"{len(others)} banks do not hold the rows on record: {', '.join(others)}.",
                "Delete foreign and changed rows, then ingest the same corpus again to restore missing rows. Or drop "
                "the bank (lensbank banks drop) and ingest again.",
            )
        if failed:
            raise StoreError(
                f"{len(failed)} of {checked} banks differ from the states of the model: {', '.join(failed)}.",
                "Drop these banks (lensbank banks drop) and ingest again.",
            )


def _verify_files(store: Store, names: Sequence[str], progress: TerminalProgress) -> list[str]:
    """Compare files and say what was found; returns the banks that are damaged."""
    damaged = {bank.name: bank for bank in store.damaged()}
    chosen = list(dict.fromkeys(names)) or sorted({info.name for info in store.list()} | set(damaged))
    reports = []
    progress.start("Comparing files", len(chosen), "banks")
    for name in chosen:
        if name in damaged:
            reports.append(FilesReport(name, damages=(damaged[name].message,)))
        else:
            reports.append(store.check_files(name))
        progress.advance(1)
    progress.finish()
    for report in reports:
        echo("\n".join(report.lines()))
    return [report.bank for report in reports if not report.passed]


def _go_over(store: Store, names: Sequence[str], broken: Sequence[str], progress: TerminalProgress) -> list[str]:
    """Read every row's id and payload and say what was found; returns the banks that hold others than on record."""
    from ..banks.row_check import go_over

    infos = {info.name: info for info in store.list()}
    complete = [name for name, info in infos.items() if info.record.state == "complete" and name not in broken]
    chosen = list(dict.fromkeys(names)) or complete
    progress.start("Going over rows", sum(infos[name].rows for name in chosen if name in infos), "rows")
    reports = []
    for name in chosen:
        with store.open(name, allow_incomplete=True) as bank:
            reports.append(go_over(bank, progress.advance))
    progress.finish()
    for report in reports:
        echo("\n".join(report.lines()))
    return [report.bank for report in reports if not report.passed]


def _verify_rows(
    store: Store,
    names: Sequence[str],
    broken: Sequence[str],
    sample: int,
    seed: int,
    options: dict[str, Any],
    progress: TerminalProgress,
) -> tuple[int, list[str]]:
    """Compare a sample with the model and say what was found; how many banks, and which are not as it says."""
    from ..banks.of_model import choose_banks, model_source
    from ..banks.verify import verify as check
    from ..images.verify import is_made_by, verify_images
    from ..schemas.collection import UNKNOWN_DTYPE

    infos = [info for info in store.list() if info.record.state == "complete" and info.name not in broken]
    images = {info.name: info for info in infos if info.record.identity.kind == "image"}
    only = set(names or [info.name for info in infos]) <= set(images)
    source = options["model"] or (next(iter(images.values())).record.source if images and only else model_source(store))
    made = {info.name: info.record.identity.compute_dtype for info in infos}
    kept = [made[name] for name in names or made if made.get(name, UNKNOWN_DTYPE) != UNKNOWN_DTYPE]
    asked, most = options["dtype"], max(kept, key=kept.count, default=None)
    need_vision = bool(images.keys() & set(names)) or only
    loaded = _loaded_as(most if asked == "auto" else None, source, options, need_vision)
    ours = [] if only else [i.name for i in choose_banks(store, loaded, centred=None) if i.name not in broken]
    seen = [name for name, info in images.items() if loaded.is_vlm and is_made_by(loaded, info.record)]
    chosen = list(dict.fromkeys(names or (*ours, *seen)))
    rows = {info.name: info.rows for info in store.list()}
    progress.start("Checking", sum(rows.get(name, 0) for name in chosen), "rows")
    reports, last = {}, most
    for name in sorted(chosen, key=lambda name: made.get(name, most) not in (most, UNKNOWN_DTYPE)):
        precision = made.get(name, UNKNOWN_DTYPE)
        if asked == "auto" and precision not in (last, UNKNOWN_DTYPE):
            last, loaded = precision, _loaded_as(precision, source, options, need_vision)
        with store.open(name) as bank:
            compare = verify_images if name in images else check
            reports[name] = compare(loaded, bank, sample, seed, progress.advance)
    progress.finish()
    for name in chosen:
        echo("\n".join(reports[name].lines()))
    return len(chosen), [name for name in chosen if not reports[name].passed]


def _loaded_as(precision: str | None, source: str, options: dict[str, Any], need_vision: bool) -> LoadedModel:
    """The model that rounds as it did when it made a bank; ``None``: as the options say."""
    if precision is None:
        return load(source, options, need_vision)
    from ..models.machine.large import reloading

    load_in, dtype = reloading(precision)
    return load(source, {**options, "dtype": dtype, "load_in": options["load_in"] or load_in}, need_vision)
