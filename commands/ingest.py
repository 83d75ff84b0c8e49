"""The command that makes banks: options, progress, error to exit code. No logic."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ..schemas.errors import UsageError
from ..schemas.layers import parse_layers
from .command_line import typed
from .early import require_at_hand, require_model, require_settings
from .help_groups import GroupedCommand
from .loading import load
from .on_cluster import RAY_OPTIONS, loading_there, ray_options, require_ray, workers_of
from .options import model_options, open_target, shared_options, vector_dtype_option
from .progress import TerminalProgress
from .terminal import echo, parse_contexts, reported

if TYPE_CHECKING:
    from ..ingest.corpus import Corpus
    from ..ingest.options import IngestOptions, IngestSummary
    from ..schemas.layers import LayerChoice


@click.command(
    cls=GroupedCommand,
    groups={
        "What to read": ("text_field", "split", "language", "name"),
        "What to keep": ("layers", "max_contexts", "seed", "vector_dtype", "centre"),
        "How to run": ("batch_tokens", "plan", "no_measure", "form"),
        "On a cluster": RAY_OPTIONS,
    },
)
@click.argument("corpora", nargs=-1, required=True, metavar="CORPUS...")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="LAYERS",
    help="Layers to keep: numbers, ranges and lists such as 1,2,8-16, or all; repeatable. 0 is the input embedding, "
    "k the output of block k (before the final norm). Default: the paper's 1, 2, 4, 8, 16, 24, N-2, N-1.",
)
@model_options(required=True)
@click.option("--text-field", help="Column (csv) or key (jsonl) that holds the text; a.b is the key b inside of a.")
@click.option("--split/--no-split", default=False, help="Split free text into sentences.  [default: no-split]")
@click.option(
    "--language", default="en", show_default=True, help="With --split: language of the text, as an ISO 639-1 code."
)
@click.option("--name", help="Name of the corpus in the payload. Default: the name of each file.")
@click.option(
    "--max-contexts",
    default="20",
    show_default=True,
    help="Contexts kept per vocabulary token (the paper: 20), or all.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed for the choice of contexts.")
@vector_dtype_option
@click.option(
    "--centre",
    is_flag=True,
    help="Subtract the mean state of a sample of the corpus from each state, per layer. This makes separate banks for "
    "`query --centre`.  [default: raw states, as in the paper]",
)
@click.option("--batch-tokens", type=click.IntRange(1), help="Tokens per forward pass. Default: depends on the device.")
@ray_options("read, choose and encode")
@click.option(
    "--plan",
    is_flag=True,
    help="Store nothing; estimate rows, disk space, memory and time, measured on a sample of the corpus.",
)
@click.option(
    "--no-measure",
    is_flag=True,
    help="With --plan: estimate only rows and disk space, from the model's configuration and tokenizer.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format of --plan.",
)
@shared_options
def ingest(corpora: tuple[str, ...], **options: Any) -> None:
    """Write the hidden states of a text corpus into banks, one Qdrant collection per layer.

    The corpus is a text file with one sentence per line, or a csv or jsonl file; each may be compressed. - is standard
    input. The corpus is read twice: first to choose at most --max-contexts contexts for each vocabulary token, then to
    run only the sentences of these through the language model. Rerun the same command after an interruption.

    \b
    Example:
      lensbank ingest --model HuggingFaceTB/SmolLM2-135M --layer 4,8,16 captions.txt.gz
      lensbank ingest --model ./my-vlm --layer all --text-field phrase phrases.jsonl
      lensbank ingest --model ./my-vlm --layer 8,16 captions.txt.gz --plan
      zcat book.txt.gz | lensbank ingest --model ./my-vlm --layer 8 --split -
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..ingest.corpus import read_corpora

        chosen = parse_layers(options["layers"])
        contexts = parse_contexts(options["max_contexts"])
        _require_plan(options)
        on_cluster = require_ray(options)
        reading = {key: options[key] for key in ("text_field", "split", "language", "name")}
        with read_corpora(corpora, **reading) as corpus:
            require_model(options["model"], options, chosen)
            settings = _settings(contexts, options)
            corpus.look()
            if options["plan"]:
                require_at_hand(options["model"], options)
                _say_plan(corpus, chosen, settings, options, progress)
                return
            if on_cluster:
                _ingest_on_cluster(corpus, chosen, settings, options, progress)
                return
            with open_target(options, progress.note, create=True) as store:
                require_at_hand(options["model"], options)
                require_settings(store, options["model"], options, chosen, settings)
                from ..ingest.pipeline import run  # torch: after everything that can be refused without

                loaded = load(options["model"], options, store=store, adding=True)
                summary = run(loaded, corpus, store, _at(settings, chosen, loaded.lm.n_layers), progress)
        _say(summary, loaded.is_vlm, options)


def _say(summary: IngestSummary, is_vlm: bool, options: dict[str, Any]) -> None:
    for line in summary.lines():
        echo(line)
    what = "IMAGE" if is_vlm else '--text "..."'
    centre = " --centre" if options["centre"] else ""
    echo(f"Next: lensbank query {what}{centre} --store {typed(options['store_target'])}")


def _ingest_on_cluster(
    corpus: Corpus,
    chosen: LayerChoice | Literal["all"] | None,
    settings: IngestOptions,
    options: dict[str, Any],
    progress: TerminalProgress,
) -> None:
    """The same ingest, its work done by the workers of a Ray cluster."""
    with open_target(options, progress.note, create=True) as store, ExitStack() as until:
        require_settings(store, options["model"], options, chosen, settings)
        workers, nodes = until.enter_context(workers_of(options, progress))
        from ..cluster.work import OnCluster
        from ..ingest.pipeline import run

        how = loading_there(options["model"], options, store, adding=True)
        work = OnCluster.of(how, workers, max(1, int(sum(node.cpus for node in nodes))), progress.note)
        for note in work.model.notes:
            progress.note(note)
        summary = run(work, corpus, store, _at(settings, chosen, work.model.n_layers), progress)
        _say(summary, work.model.is_vlm, options)


def _settings(contexts: int | None, options: dict[str, Any]) -> IngestOptions:
    """All that is asked for but the layers, of which those that are not named depend on the model."""
    from ..ingest.options import IngestOptions

    return IngestOptions(
        layers=(),
        max_contexts=contexts,
        seed=options["seed"],
        vector_dtype=options["vector_dtype"],
        batch_tokens=options["batch_tokens"],
        centre=options["centre"],
    )


def _at(settings: IngestOptions, chosen: LayerChoice | Literal["all"] | None, depth: int) -> IngestOptions:
    """The same of the layers of a model of so many blocks."""
    from ..schemas.layers import asked_layers, default_layers

    return replace(settings, layers=default_layers(depth) if chosen is None else asked_layers(chosen, depth))


def _require_plan(options: dict[str, Any]) -> None:
    if options["plan"]:
        if options["ray"] is not None:
            raise UsageError("--plan measures on this machine, not on a cluster.", "Leave out --ray, or --plan.")
        return
    for name, given in (("--no-measure", options["no_measure"]), ("--format json", options["form"] == "json")):
        if given:
            raise UsageError(f"{name} can only be used with --plan.", f"Add --plan, or leave out {name}.")


def _say_plan(
    corpus: Corpus,
    chosen: LayerChoice | Literal["all"] | None,
    settings: IngestOptions,
    options: dict[str, Any],
    progress: TerminalProgress,
) -> None:
    """See what the ingest would take, and say it."""
    target, existing = _existing(options, progress)
    from ..ingest.forecast import forecast
    from ..models.files.outline import read_outline

    if options["no_measure"]:
        outline = read_outline(options["model"], options["revision"], options["trust_remote_code"])
        found = forecast(outline, corpus, _at(settings, chosen, outline.n_layers), target, existing, progress)
    else:
        loaded = load(options["model"], options)
        found = forecast(loaded, corpus, _at(settings, chosen, loaded.lm.n_layers), target, existing, progress)
    echo(json.dumps(found.to_dict()) if options["form"] == "json" else "\n".join(found.lines()))


def _existing(options: dict[str, Any], progress: TerminalProgress) -> tuple[Path | None, tuple[str, ...]]:
    """The store's folder, unless it is a server, and the banks it has; none where there is no store yet."""
    from ..schemas.errors import BankNotFoundError

    address = options["store_target"]
    try:
        with open_target(options, progress.note) as store:
            names = tuple(info.name for info in store.list())
    except BankNotFoundError:
        names = ()
    return (None if "://" in address else Path(address).expanduser()), names
