"""The command that lets indexed images vote for labels: options, error to exit code. No logic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..schemas import filters
from ..schemas.errors import UsageError
from ..schemas.layers import parse_layers
from .help_groups import GroupedCommand
from .options import OutFile, open_target, shared_options
from .progress import TerminalProgress, say_written
from .terminal import reported, require_file, write_result


@click.command(
    cls=GroupedCommand,
    groups={
        "Labels": ("labels", "labels_file", "things", "seed"),
        "Where to look": ("layers", "banks", "model", "where"),
        "How to show it": ("means", "form", "out"),
    },
)
@click.argument("sets", nargs=-1, metavar="[SET]...")
@click.option("--labels", help="Words, each a label: indoor,outdoor.")
@click.option("--labels-file", type=click.Path(path_type=Path), help="CSV with the columns label and word or sentence.")
@click.option("--things", is_flag=True, help="Each annotated thing is a label.")
@click.option("--seed", default=0, show_default=True, help="Of the shuffled labels and of the intervals.")
@click.option("--layer", "layers", multiple=True, metavar="LAYERS", help="Of the image banks. Default: all there are.")
@click.option("--bank", "banks", multiple=True, help="Image banks by name. Default: all.")
@click.option("--model", help="Whose image banks, where the store holds those of several.")
@click.option("--where", multiple=True, metavar="FIELD=VALUE", help="Only patches that meet this; repeatable (and).")
@click.option("--means", is_flag=True, help="Only the mean average precision over the labels that are things.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--out", type=OutFile(), help="Write there instead of to stdout (-).")
@shared_options
def score(sets: tuple[str, ...], labels: str | None, labels_file: Path | None, things: bool, **options: Any) -> None:
    """Let the neighbours of all visual tokens of indexed images vote for labels.

    A label is a word, or a group of words or of sentences of the text bank. Each neighbour that is one of them is a
    vote; the share of votes is shown by layer, lens and label, beside what labels with shuffled words get. Where the
    images are annotated with things of that name, average precision says how well the votes order the images.
    Without the model: the words that `lensbank index` stored vote. SET names sets of images. Default: all.

    \b
    Example:
      lensbank score --labels indoor,outdoor
      lensbank score photos --labels-file risks.csv --format csv --out risks-by-layer.csv
      lensbank score --things --layer 16
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        if (labels is not None) + (labels_file is not None) + things != 1:
            raise UsageError(
                "Give one of --labels, --labels-file and --things.", "Example: lensbank score --labels indoor,outdoor"
            )
        require_file("table", options["out"], ())
        from ..images.finding import open_images
        from ..images.labels import read_labels, things_as_labels, words_as_labels
        from ..images.scoring import score as let_vote
        from ..schemas.filters import Condition
        from ..schemas.frames import to_csv
        from ..schemas.kinds import fields_of
        from ..show.scores_table import scores_table

        layers = parse_layers(options["layers"])
        where = filters.parse(options["where"], fields_of("image"))
        if sets:
            where = (*where, Condition("corpus", "=", sets))
        entries = read_labels(labels_file) if labels_file is not None else None
        if labels is not None:
            entries = words_as_labels(labels.split(","))
        with (
            open_target(options, progress.note) as store,
            open_images(store, options["banks"], options["model"], None if layers == "all" else layers) as images,
        ):
            scores = let_vote(
                images, entries or words_as_labels(things_as_labels(images, where)), where, options["seed"]
            )
        shown = {
            "json": lambda: json.dumps(scores.to_dict(), allow_nan=False),
            "csv": lambda: to_csv(scores.rows()).rstrip("\n"),
            "table": lambda: scores_table(scores.to_dict(), options["means"]),
        }[options["form"]]()
        write_result(shown, options["out"], [labels_file] if labels_file is not None else [])
        say_written(options["out"], progress)
