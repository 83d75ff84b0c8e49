"""The command that makes a model directory of a published connector and its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .command_line import typed
from .options import silent_option
from .progress import TerminalProgress
from .terminal import echo, reported


@click.command(name="convert-connector")
@click.argument("connector", type=click.Path(path_type=Path), metavar="CONNECTOR")
@click.option(
    "--llm", required=True, help="Directory or hub id of the language model that the connector was trained with."
)
@click.option(
    "--vision", required=True, help="Directory or hub id of the vision encoder that the connector was trained with."
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Model directory to write; must not exist yet."
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run code that comes with the language model (a tokenizer's, for example). By default it never runs.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@silent_option
def convert_connector(connector: Path, llm: str, vision: str, out: Path, **options: Any) -> None:
    """Combine one of the paper's connectors, its language model and its vision encoder into a model directory.

    CONNECTOR is a folder with connector.pt and config.yaml, as published at McGill-NLP/latentlens-connectors. Weights
    are copied (about 17 GB with a 7B model in half precision) without loading the model, and the name and shape of
    every tensor are checked. A restricted reader reads pickled files and runs no code in them; code that comes with a
    model is not run either. The result can be used as --model in all commands, with banks of the plain language model.

    \b
    Example:
      hf download McGill-NLP/latentlens-connectors --include 'qwen-vit/*' --local-dir connectors
      lensbank convert-connector connectors/qwen-vit --llm Qwen/Qwen2-7B \\
        --vision openai/clip-vit-large-patch14-336 --out qwen2-7b-clip
      lensbank inspect photo.jpg --model qwen2-7b-clip
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        trusted = options["trust_remote_code"]
        if trusted:
            progress.note(
                f"Warning: code that comes with {llm} may run with all of your permissions (--trust-remote-code)."
            )
        from ..models.connectors.found import find_checkpoint, require_new
        from ..models.files.hub import require_reachable
        from ..models.files.sources import check_source

        require_new(out)
        find_checkpoint(connector)
        for part in (llm, vision):
            if check_source(part) is None:
                require_reachable(part)
        from ..models.connectors.convert import convert
        from ..schemas.units import show_bytes

        done = convert(connector, llm, vision, out, progress.note, trust_remote_code=trusted)
    layers = " and ".join(map(str, done.vision_layers))
    echo(
        f"Wrote {done.folder}: {done.parameters:,} parameters, {show_bytes(done.bytes)}; "
        f"{done.grid} x {done.grid} patches, read from the encoder's hidden states {layers}."
    )
    for note in done.notes:
        echo(f"Note: {note}")
    echo(f"Next: lensbank inspect IMAGE --model {typed(done.folder)}")
