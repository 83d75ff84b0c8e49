"""The command that makes banks of those that the paper's authors published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..schemas.errors import UsageError
from ..schemas.layers import parse_layers
from .command_line import typed
from .early import require_model
from .loading import load
from .options import model_options, open_target, shared_options, vector_dtype_option
from .progress import TerminalProgress
from .terminal import echo, reported


@click.command(name="import-bank")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="LAYERS",
    help="Layers to import, e.g. 1,2,8-16; repeatable. Default: all.",
)
@model_options(required=True)
@click.option("--name", help="Name of the corpus in the payload. Default: the name of the folder.")
@vector_dtype_option
@shared_options
def import_bank(folder: Path, layers: tuple[str, ...], **options: Any) -> None:
    """Import a bank that was saved by the official library or by the paper's scripts.

    FOLDER holds layer_N/embeddings_cache.pt. N is an index into transformers' hidden_states: 1 to N-1 are layers as in
    lensbank; the last one, after the final norm, is refused. A restricted reader reads the files piece by piece and
    runs no code in them. --model must be the model that made the states: it computes some of them again, and a bank
    that differs is refused. Its tokenizer locates every token in its sentence, because the files hold neither words nor
    character positions. Tokens that cannot be located are marked and counted, and every result has a note.

    \b
    Example:
      hf download McGill-NLP/contextual_embeddings-qwen2.5-vl-7b --local-dir qwen-bank
      lensbank import-bank qwen-bank --model Qwen/Qwen2.5-VL-7B-Instruct --vector-dtype float16
      lensbank banks verify --model Qwen/Qwen2.5-VL-7B-Instruct
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        from ..ingest.published.caches import find_caches

        chosen = parse_layers(layers)
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}.", "Give a folder that holds layer_N/embeddings_cache.pt.")
        find_caches(folder)  # before a model is loaded in vain
        require_model(options["model"], options, chosen)
        with open_target(options, progress.note, create=True) as store:
            from ..ingest.published.importing import Target
            from ..ingest.published.importing import import_bank as run

            target = Target.of(load(options["model"], options), options["vector_dtype"])
            done = run(target, folder, store, None if chosen == "all" else chosen, options["name"], progress)
    for imported in done:
        echo("\n".join(imported.lines()))
    echo(f"Next: lensbank banks verify --store {typed(options['store_target'])} --model {typed(options['model'])}")
