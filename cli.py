"""The command line: options, progress, error to exit code. No logic.

Heavy libraries are loaded inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from cli_banks import banks
from cli_evaluate import evaluate
from cli_models import inspect
from cli_options import command_line, load, model_options, open_target, shared_options
from cli_terminal import (
    TerminalProgress,
    parse_contexts,
    parse_layers,
    parse_lenses,
    parse_patches,
    reported,
    require_file,
    table_width,
    terminal_ink,
    write_result,
)
from schemas import filters
from schemas.errors import UsageError


@click.group(name="lensbank", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lensbank", prog_name="lensbank")
def main_group() -> None:
    """What do the visual tokens of a vision-language model mean to its language model?

    LatentLens on Qdrant: keep the hidden state of every token of a text corpus (ingest), then
    read an image's visual tokens by their nearest neighbours among them (query).

    \b
    Example:
      lensbank ingest --model llava-hf/llava-1.5-7b-hf --layer 2,8,16 captions.txt
      lensbank query photo.jpg --layer 8,16
    """  # noqa: D301 - click needs the \b character
    logging.getLogger("transformers").setLevel(logging.ERROR)


@main_group.command()
@click.argument("corpora", nargs=-1, required=True, metavar="CORPUS...")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    help="Layers to keep, e.g. 1,2,4 or all; repeatable. 0 is the input embedding, k the output of block k "
    "(before the final norm). Default: the paper's 1, 2, 4, 8, 16, 24, N-2, N-1.",
)
@model_options(required=True)
@click.option("--text-field", help="Column (csv) or key (jsonl) that holds the text.")
@click.option("--split/--no-split", default=False, help="Split free text into sentences.  [default: no-split]")
@click.option("--language", default="en", show_default=True, help="For --split, as an ISO 639-1 code.")
@click.option("--name", help="Name of the corpus in the payload. Default: each file's own.")
@click.option(
    "--max-contexts",
    default="20",
    show_default=True,
    help="Contexts kept per vocabulary token (the paper: 20), or all.",
)
@click.option("--seed", default=0, show_default=True, help="Of the choice of contexts.")
@click.option(
    "--vector-dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="As stored. float16 halves the disk.",
)
@click.option("--batch-tokens", type=click.IntRange(1), help="Tokens per forward pass. Default: by device.")
@shared_options
def ingest(corpora: tuple[str, ...], **options: Any) -> None:
    """Write the hidden state of each chosen corpus token into one collection per layer.

    The corpus is one sentence per line (txt), or rows of csv or jsonl, each also compressed; - is
    standard input. It is read twice: first to choose at most --max-contexts sentences for every
    vocabulary token, then to run only those through the language model. An interrupted run goes
    on where it stopped when the same command is given again.

    \b
    Example:
      lensbank ingest --model HuggingFaceTB/SmolLM2-135M --layer 4,8,16 captions.txt.gz
      lensbank ingest --model ./my-vlm --layer all --text-field phrase phrases.jsonl
      zcat book.txt.gz | lensbank ingest --model ./my-vlm --layer 8 --split -
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ingest.corpus import read_corpora
        from ingest.pipeline import default_layers, run
        from ingest.progress import IngestOptions
        from models.layers import check_layers

        chosen = parse_layers(options["layers"])
        contexts = parse_contexts(options["max_contexts"])
        reading = {key: options[key] for key in ("text_field", "split", "language", "name")}
        with read_corpora(corpora, **reading) as corpus, open_target(options, progress.note, create=True) as store:
            loaded = load(options["model"], options)
            depth = loaded.lm.n_layers
            layers = default_layers(depth) if chosen is None else range(1, depth + 1) if chosen == "all" else chosen
            settings = IngestOptions(
                layers=check_layers(layers, depth),
                max_contexts=contexts,
                seed=options["seed"],
                vector_dtype=options["vector_dtype"],
                batch_tokens=options["batch_tokens"],
            )
            summary = run(loaded, corpus, store, settings, progress)
        for line in summary.lines():
            click.echo(line)
        what = "IMAGE" if loaded.is_vlm else '--text "..."'
        click.echo(f"Next: lensbank query {what} --store {options['store_target']}")


@main_group.command()
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("--text", "texts", multiple=True, help="Ask about the tokens of a text instead of an image; repeatable.")
@click.option("--layer", "layers", multiple=True, help="Layers to read, e.g. 0,8,16 or all. Default: 0 and the bank's.")
@click.option("--bank-layer", "bank_layers", multiple=True, help="Bank layers to search. Default: all there are.")
@model_options(required=False)
@click.option("--top-k", type=click.IntRange(1, 1000), default=5, show_default=True, help="Neighbours per token.")
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only neighbours that meet this; repeatable (and). word=dog,cat  word!=the  position>=3  "
    "is_word=true  'sentence~fire truck'  corpus=a,b",
)
@click.option("--distinct", type=click.Choice(["word"]), help="No word twice among a token's neighbours.")
@click.option(
    "--lens",
    "lenses",
    multiple=True,
    metavar="NAME,...",
    help="latent (nearest corpus tokens), logit (final norm and unembedding), embedding (nearest rows of the input "
    "embedding); several at once, e.g. latent,logit. Without latent no bank is needed.  [default: latent]",
)
@click.option("--patch", "patches", multiple=True, metavar="ROW,COL", help="Only this patch; repeatable.")
@click.option("--prompt", help="The question that goes with the image. Default: a neutral one.")
@click.option(
    "--exact/--approximate",
    default=True,
    help="Compare with every row, or through the index (its recall is then reported).  [default: exact]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "html", "png"]),
    default="table",
    show_default=True,
    help="html: one file to look at in a browser; it needs no network. png: a figure for a paper.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write there instead of to stdout.")
@shared_options
def query(images: tuple[str, ...], texts: tuple[str, ...], **options: Any) -> None:
    """Read an image's visual tokens, or a text's tokens, by their nearest corpus tokens.

    The model sees the image once; the hidden states of its visual tokens at each --layer are
    compared with those of the bank's tokens at every --bank-layer, and the nearest of all
    layers are shown: word, sentence, cosine and bank layer.

    \b
    Example:
      lensbank query photo.jpg --layer 8,16
      lensbank query photo.jpg --layer 8,16 --lens latent,logit,embedding
      lensbank query photo.jpg --layer 8 --patch 2,3 --where is_word=true --distinct word
      lensbank query photo.jpg --format html --out report.html
      lensbank query photo.jpg --layer 16 --patch 2,3 --patch 5,1 --format png --out figure.png
      lensbank query *.jpg --format json --out readings.json
      lensbank query --text "a dog on a red sofa" --layer 8
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        if bool(images) == bool(texts):
            raise UsageError("Give one or more images, or --text; not both and not neither.")
        require_file(options["form"], options["out"], texts)
        from query.images import check_images
        from query.outputs import ask, render
        from query.pipeline import QueryOptions, QuerySession, model_source

        layers, bank_layers = parse_layers(options["layers"]), parse_layers(options["bank_layers"])
        settings = QueryOptions(
            layers=layers,
            bank_layers=None if bank_layers == "all" else bank_layers,
            top_k=options["top_k"],
            where=filters.parse(options["where"]),
            distinct=options["distinct"],
            patches=parse_patches(options["patches"]),
            prompt=options["prompt"],
            exact=options["exact"],
            lenses=parse_lenses(options["lenses"]),
        )
        check_images(images, settings.max_pixels)  # before the model takes its time
        needs_store = "latent" in settings.lenses or options["model"] is None
        with open_target(options, progress.note) if needs_store else nullcontext() as store:
            source = options["model"] if store is None else options["model"] or model_source(store)
            loaded = load(source, options, need_vision=bool(images))
            with QuerySession(store, loaded, settings, progress) as session:
                answers = ask(session, images, texts, settings.max_pixels)
        command = command_line(click.get_current_context())
        shown, notes = render(answers, options["form"], table_width(), terminal_ink(options["out"]), command)
        write_result(shown, options["out"])
        for note in notes:
            progress.note(note)


main_group.add_command(banks)
main_group.add_command(evaluate)
main_group.add_command(inspect)


def main() -> None:
    """Entry point of the console script."""
    # OpenMP threads that wait by spinning starve the process that stores rows, and each other on a
    # busy machine: encoding beside one other busy process was five times slower. Before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main_group()


if __name__ == "__main__":
    main()
