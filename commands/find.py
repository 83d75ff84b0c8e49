"""The command that searches image banks: options, progress, error to exit code. No logic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..schemas import filters
from ..schemas.errors import UsageError
from ..schemas.frames import to_csv
from ..schemas.layers import parse_layers
from .command_line import command_line
from .early import require_at_hand, require_model
from .forms import chosen_form, format_option
from .help_groups import GroupedCommand
from .loading import load
from .options import OutFile, model_options, open_target, shared_options
from .progress import TerminalProgress, say_written
from .terminal import (
    echo,
    parse_patches,
    reported,
    table_width,
    write_result,
)

if TYPE_CHECKING:
    from ..images.grouping import OpenImages
    from ..query.given import GivenImage
    from ..schemas.filters import Condition
    from ..schemas.finds import Find
    from ..store.store import Store

_FORMS = ("table", "json", "csv", "html")
_FACETS = ("best", "word", "thing", "group", "image", "logit", "embedding")


@click.command(
    cls=GroupedCommand,
    groups={
        "What to find": ("text", "like", "patches", "facet", "sample", "seed", "prompt"),
        "Where to look": ("layers", "banks", "lens", "where", "top_k"),
        "How to show it": ("form", "out"),
    },
)
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--text", help="Find patches near the last word of a phrase, in its context (needs the model).")
@click.option("--like", help="Find patches near one --patch of this image (needs the model).")
@click.option("--patch", "patches", multiple=True, metavar="ROW,COL", help="With --like: the patch.")
@click.option("--facet", type=click.Choice(_FACETS), help="Show the most frequent values of a field instead of images.")
@click.option("--sample", type=click.IntRange(1, 10_000), help="Show this many random patches instead.")
@click.option("--seed", default=0, show_default=True, help="Random seed for --sample.")
@click.option(
    "--layer", "layers", multiple=True, metavar="LAYERS", help="Layers of the image banks to search. Default: all."
)
@click.option("--bank", "banks", multiple=True, help="Image bank to search, by name; repeatable. Default: all.")
@click.option(
    "--lens",
    type=click.Choice(["latent", "logit", "embedding"]),
    default="latent",
    show_default=True,
    help="Lens whose words are searched.",
)
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Keep only patches that meet this condition; repeatable (and). thing=clock  group=indoor  score>0.5  "
    "norm<200  image=a/b.jpg",
)
@click.option(
    "--top-k",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Number of images (or values) to show.",
)
@model_options(required=False)
@click.option("--prompt", help="With --like: the question that goes with the image.")
@format_option(_FORMS, "html: a contact sheet, one file that needs no network.")
@click.option("--out", type=OutFile(), help="Output file. Default: stdout (-).")
@shared_options
def find(words: tuple[str, ...], **options: Any) -> None:
    """Search indexed images by a word of their patches, by a phrase, or by a patch of another image.

    A word is looked up among the words that are stored with each visual token; this needs no model. A phrase (--text)
    or a patch (--like) goes through the model, and at each layer the visual tokens nearest to its state are found.

    \b
    Example:
      lensbank find clock
      lensbank find clock watch --layer 16 --where group=kitchen --out clocks.html
      lensbank find --text "a clock on a tower" --layer 16
      lensbank find --like photo.jpg --patch 3,4
      lensbank find --facet best --where thing=dog
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        asked = [bool(words), *(options[name] is not None for name in ("text", "like", "sample", "facet"))]
        if sum(asked) != 1:
            raise UsageError("Give one of: WORD, --text, --like, --sample, --facet.", "Example: lensbank find clock")
        patches = parse_patches(options["patches"])
        if (options["like"] is not None) != (len(patches) == 1):
            raise UsageError(
                "--like needs one --patch, and --patch can only be used with --like.", "Example: --patch 3,4"
            )
        files = [] if options["like"] is None else [options["like"]]
        options["form"] = chosen_form(options["form"], options["out"], _FORMS, inputs=files)
        _require_sense(words, options)
        from ..schemas.kinds import fields_of

        layers = parse_layers(options["layers"])
        from ..query.images import check_images

        like = check_images(files)
        where = filters.parse(options["where"], fields_of("image"))
        from ..images.finding import facets, open_images

        with (
            open_target(options, progress.note) as store,
            open_images(store, options["banks"], options["model"], None if layers == "all" else layers) as images,
        ):
            for note in images.notes:
                progress.note(note)
            if options["facet"]:
                _show_facet(options, facets(images, options["facet"], where, options["top_k"]))
                say_written(options["out"], progress)
                return
            found = _found(store, images, words, where, (like, patches), options)
            shown = _rendered(found, options)
        write_result(shown, options["out"], [] if options["like"] in (None, "-") else [options["like"]])
        say_written(options["out"], progress)


def _require_sense(words: tuple[str, ...], options: dict[str, Any]) -> None:
    """Refuse, before anything is opened, what no image bank can answer."""
    if options["facet"] and options["form"] == "html":
        raise UsageError("--facet prints a list of values, which has no html form.", "Use --format table, json or csv.")
    if options["text"] is not None and not options["text"].strip():
        raise UsageError("The phrase of --text is empty.", "Give words, as in --text 'a clock'.")
    if not all(word.strip() for word in words):
        raise UsageError("A word to find is empty.", "Example: lensbank find clock")


def _found(
    store: Store,
    images: OpenImages,
    words: tuple[str, ...],
    where: tuple[Condition, ...],
    near: tuple[Sequence[GivenImage], tuple[tuple[int, int], ...]],
    options: dict[str, Any],
) -> Find:
    from ..images.finding import find_near, find_words, sample_images

    if words:
        return find_words(images, words, where, options["top_k"], options["lens"])
    if options["sample"]:
        return sample_images(images, where, options["sample"], options["seed"])
    like, patches = near
    source = options["model"] or images.banks[0].record.source
    require_model(source, options, patches=patches)
    require_at_hand(source, options)
    from ..images.asking import patch_states, phrase_states

    loaded = load(source, options, need_vision=bool(patches), store=store, kind="image")
    if options["text"] is not None:
        states, said = phrase_states(loaded, images, options["text"])
        return find_near(images, states, "text", said, where, options["top_k"])
    states, said = patch_states(loaded, images, like[0], patches[0], options["prompt"])
    return find_near(images, states, "patch", said, where, options["top_k"])


def _rendered(found: Find, options: dict[str, Any]) -> str:
    from ..show.contact_sheet import find_html, find_json, find_table

    if options["form"] == "json":
        return find_json(found)
    if options["form"] == "csv":
        return to_csv(found.rows()).rstrip("\n")
    if options["form"] == "table":
        return find_table(found, table_width())
    from ..images.asking import picture_of

    return find_html(found, picture_of, command_line(click.get_current_context()))


def _show_facet(options: dict[str, Any], counts: list[tuple[str, int]]) -> None:
    import json

    from ..show.contact_sheet import facet_table

    rows = [{"value": value, "patches": count} for value, count in counts]
    text = {
        "json": lambda: json.dumps(rows),
        "csv": lambda: to_csv(rows).rstrip("\n"),
        "table": lambda: facet_table(options["facet"], counts),
    }[options["form"]]()
    if options["out"] is None:
        echo(text)
    else:
        write_result(text, options["out"])
