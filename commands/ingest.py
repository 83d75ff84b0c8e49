"""The command that makes banks: options, progress, error to exit code. No logic."""

from __future__ import annotations

from typing import Any

import click

from .help_groups import GroupedCommand
from .options import load, model_options, open_target, shared_options
from .progress import TerminalProgress
from .terminal import echo, parse_contexts, parse_layers, reported


@click.command(
    cls=GroupedCommand,
    groups={
        "What to read": ("text_field", "split", "language", "name"),
        "What to keep": ("layers", "max_contexts", "seed", "vector_dtype", "centre"),
        "How to run": ("batch_tokens",),
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
@click.option("--text-field", help="Column (csv) or key (jsonl) that holds the text; a.b is key b in what a holds.")
@click.option("--split/--no-split", default=False, help="Split free text into sentences.  [default: no-split]")
@click.option("--language", default="en", show_default=True, help="For --split, as an ISO 639-1 code.")
@click.option("--name", help="Name of the corpus in the payload. Default: each file's own.")
@click.option(
    "--max-contexts",
    default="20",
    show_default=True,
    help="Contexts kept per vocabulary token (the paper: 20), or all.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed for the choice of contexts.")
@click.option(
    "--vector-dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Precision of stored vectors. float16 halves the disk space.",
)
@click.option(
    "--centre",
    is_flag=True,
    help="Subtract the mean state of the corpus (of a sample, per layer) before comparing: banks of their own, for "
    "query --centre.  [default: raw states, as in the paper]",
)
@click.option("--batch-tokens", type=click.IntRange(1), help="Tokens per forward pass. Default: by device.")
@shared_options
def ingest(corpora: tuple[str, ...], **options: Any) -> None:
    """Write the hidden states of a corpus into banks: one Qdrant collection per layer.

    The corpus is one sentence per line (txt), or rows of csv or jsonl, each also compressed; - is
    standard input. It is read twice: first to choose at most --max-contexts sentences for every
    vocabulary token, then to run only those through the language model. Rerun the
    same command after an interruption.

    \b
    Example:
      lensbank ingest --model HuggingFaceTB/SmolLM2-135M --layer 4,8,16 captions.txt.gz
      lensbank ingest --model ./my-vlm --layer all --text-field phrase phrases.jsonl
      zcat book.txt.gz | lensbank ingest --model ./my-vlm --layer 8 --split -
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..ingest.corpus import read_corpora
        from ..ingest.options import IngestOptions

        chosen = parse_layers(options["layers"])
        contexts = parse_contexts(options["max_contexts"])
        reading = {key: options[key] for key in ("text_field", "split", "language", "name")}
        with read_corpora(corpora, **reading) as corpus, open_target(options, progress.note, create=True) as store:
            from ..ingest.pipeline import default_layers, run  # torch: after everything that can be refused without
            from ..models.layers import asked_layers

            loaded = load(options["model"], options, store=store, adding=True)
            depth = loaded.lm.n_layers
            settings = IngestOptions(
                layers=default_layers(depth) if chosen is None else asked_layers(chosen, depth),
                max_contexts=contexts,
                seed=options["seed"],
                vector_dtype=options["vector_dtype"],
                batch_tokens=options["batch_tokens"],
                centre=options["centre"],
            )
            summary = run(loaded, corpus, store, settings, progress)
        for line in summary.lines():
            echo(line)
        what = "IMAGE" if loaded.is_vlm else '--text "..."'
        centre = " --centre" if settings.centre else ""
        echo(f"Next: lensbank query {what}{centre} --store {options['store_target']}")
