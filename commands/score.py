"""The command that lets indexed images vote for labels: options, error to exit code. No logic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..schemas import filters
from ..schemas.errors import UsageError
from ..schemas.layers import parse_layers
from .forms import chosen_form, format_option
from .help_groups import GroupedCommand
from .options import OutFile, open_target, shared_options
from .progress import TerminalProgress, say_written
from .terminal import reported, write_result

# Labels without votes that are named; the others are counted.
_NAMED = 20
_FORMS = ("table", "json", "csv")


@click.command(
    cls=GroupedCommand,
    groups={
        "Labels": ("labels", "labels_file", "things", "seed"),
        "Where to look": ("layers", "banks", "model", "where"),
        "How to show it": ("means", "form", "out"),
    },
)
@click.argument("sets", nargs=-1, metavar="[SET]...")
@click.option("--labels", help="Words; each word is a label: indoor,outdoor.")
@click.option(
    "--labels-file",
    type=click.Path(path_type=Path),
    help="CSV file with the columns label and word, or label and sentence.",
)
@click.option("--things", is_flag=True, help="Use the name of each annotated thing as a label.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Random seed for shuffled labels and intervals.",
)
@click.option(
    "--layer", "layers", multiple=True, metavar="LAYERS", help="Layers of the image banks to use. Default: all."
)
@click.option("--bank", "banks", multiple=True, help="Image bank to use, by name; repeatable. Default: all.")
@click.option("--model", help="Model that made the image banks, if the store holds banks of several models.")
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Keep only patches that meet this condition; repeatable (and).",
)
@click.option(
    "--means", is_flag=True, help="Show only the mean average precision over the labels that are annotated things."
)
@format_option(_FORMS)
@click.option("--out", type=OutFile(), help="Output file. Default: stdout (-).")
@shared_options
def score(sets: tuple[str, ...], labels: str | None, labels_file: Path | None, things: bool, **options: Any) -> None:
    """Score labels on indexed images by the words of the images' visual tokens.

    A label is a word, or a group of words or sentences of the text bank. Each neighbour of a visual token that belongs
    to a label is a vote for it. The table shows the share of votes by layer, lens and label, beside the share that
    labels with shuffled words get. If the images are annotated with things of the same name, average precision measures
    how well the votes rank the images. The votes are the words that `lensbank index` stored, so no model is needed. SET
    is the name of a set of images. Default: all sets.

    \b
    Example:
      lensbank score --labels indoor,outdoor
      lensbank score photos --labels-file risks.csv --out risks-by-layer.csv
      lensbank score --things --layer 16
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        if (labels is not None) + (labels_file is not None) + things != 1:
            raise UsageError(
                "Give one of --labels, --labels-file and --things.", "Example: lensbank score --labels indoor,outdoor"
            )
        form = chosen_form(options["form"], options["out"], _FORMS)
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
            for note in images.notes:
                progress.note(note)
            scores = let_vote(
                images, entries or words_as_labels(things_as_labels(images, where)), where, options["seed"]
            )
        if unheard := scores.unheard():
            more = f" and {len(unheard) - _NAMED} more" if len(unheard) > _NAMED else ""
            progress.note(f"No stored neighbour belongs to {', '.join(unheard[:_NAMED])}{more}: no votes.")
        shown = {
            "json": lambda: json.dumps(scores.to_dict(), allow_nan=False),
            "csv": lambda: to_csv(scores.rows()).rstrip("\n"),
            "table": lambda: scores_table(scores.to_dict(), options["means"]),
        }[form]()
        write_result(shown, options["out"], [labels_file] if labels_file is not None else [])
        say_written(options["out"], progress)
