"""The command that makes image banks: options, progress, error to exit code. No logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..schemas.errors import UsageError
from ..schemas.layers import parse_layers
from .asking import query_settings
from .command_line import typed
from .early import require_query
from .help_groups import GroupedCommand
from .loading import load
from .on_cluster import RAY_OPTIONS, loading_there, ray_options, require_ray, workers_of
from .options import (
    COPIES_FOLDER,
    bank_layers_option,
    layers_option,
    local_copy_option,
    model_options,
    open_searched,
    search_option,
    shared_options,
    vector_dtype_option,
)
from .progress import TerminalProgress
from .terminal import echo, reported

if TYPE_CHECKING:
    from ..images.options import IndexOptions, IndexSummary
    from ..images.sets import ImageSet
    from ..query.options import QueryOptions

#: Options that say how words are told anew.
_OF_WORDS = {"again_words", "name", "model", "layers", "bank_layers", "top_k", "where", "search"}
_OF_WORDS |= {"local_copy", COPIES_FOLDER}
_SHARED = {"store_target", "server_options", "silent", "debug"}


@click.command(
    cls=GroupedCommand,
    groups={
        "Which images": ("name", "annotations", "group_by", "again", "again_words", "prune"),
        "What to read": ("layers", "prompt"),
        "What to compare with": ("lenses", "bank_layers", "top_k", "where", "search", "local_copy"),
        "How to store it": ("vector_dtype",),
        "On a cluster": RAY_OPTIONS,
    },
)
@click.argument("photos", nargs=-1, metavar="PHOTOS...")
@layers_option
@click.option("--name", help="Name of the set of images. Default: the folder's name.")
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    help="COCO-style JSON: boxes and names of things on the images (docs/evaluation.md).",
)
@click.option(
    "--group-by",
    type=click.Choice(["folder", "annotations", "none"]),
    help="Source of each image's group.  [default: the annotations if they have groups, else the folder]",
)
@click.option(
    "--lens",
    "lenses",
    multiple=True,
    metavar="NAME,...",
    help="Lenses that describe the visual tokens: latent, logit, embedding.  [default: latent]",
)
@bank_layers_option
@model_options(required=False)
@click.option("--top-k", type=click.IntRange(1, 100), default=5, show_default=True, help="Words per visual token.")
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Keep only corpus tokens that meet this condition; repeatable (and).",
)
@click.option("--prompt", help="The question that goes with each image. Default: a neutral one.")
@search_option
@local_copy_option
@vector_dtype_option
@click.option("--again", is_flag=True, help="Read every image again, even if it is already indexed.")
@click.option(
    "--again-words",
    is_flag=True,
    help="Without PHOTOS: look up the words of indexed images again in the current text banks, from the stored vectors "
    "and without the model. --top-k and --where are as on record unless given.",
)
@click.option("--prune", is_flag=True, help="Delete the rows of images that are in the set but were not given.")
@ray_options("read the images, each with the model and the lenses")
@shared_options
def index(photos: tuple[str, ...], annotations: Path | None, **options: Any) -> None:
    """Write the visual tokens of images and their words into image banks, one bank per layer.

    Each image goes through the model once. LatentLens (and other lenses) describe its visual tokens with the store's
    text banks; state, place, words and annotated things are stored. `lensbank find` then searches all images at once.
    Images that are already indexed are skipped, and changed images are replaced; rerun the same command after an
    interruption. The exit code is 1 if an image could not be read.

    After another corpus was ingested, --again-words gives indexed images the words that all text banks say now.

    \b
    Example:
      lensbank index photos/ --layer 8,16
      lensbank index val2017/ --annotations instances_val2017.json --lens latent,logit --store http://localhost:6333
      lensbank index --again-words --name photos
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        if options["again_words"]:
            _look_words_up_again(photos, options, progress)
            return
        if not photos:
            raise UsageError("No image was given.", "Give files or folders.")
        on_cluster = require_ray(options)
        from ..images.options import IndexOptions
        from ..images.sets import gather

        fixed = {"distinct": "word", "exact": True, "recall_check": False, "centre": False}
        settings = query_settings({**options, **fixed})
        how = IndexOptions(options["vector_dtype"], options["again"], options["prune"])
        images = gather(photos, options["name"], annotations, options["group_by"])
        for note in images.notes:
            progress.note(note)
        summary = (_index_on_cluster if on_cluster else _index_here)(images, settings, how, options, progress)
        for line in summary.lines():
            echo(line)
        for line in summary.complaints():
            progress.note(line)
        if summary.rows:
            echo(f"Next: lensbank find WORD --store {typed(options['store_target'])}")
        if summary.odd:
            sys.exit(1)


def _index_here(
    images: ImageSet, settings: QueryOptions, how: IndexOptions, options: dict[str, Any], progress: TerminalProgress
) -> IndexSummary:
    """The index by this process."""
    with open_searched(options, progress) as store:
        source = require_query(store, settings, options)
        from ..images.index import run
        from ..query.pipeline import QuerySession

        loaded = load(source, options, need_vision=True, store=store, kind="image")
        with QuerySession(store, loaded, settings) as session:
            for note in session.notes:
                progress.note(note)
            return run(session, images, store, how, progress)


def _index_on_cluster(
    images: ImageSet, settings: QueryOptions, how: IndexOptions, options: dict[str, Any], progress: TerminalProgress
) -> IndexSummary:
    """The same index, its work done by the workers of a Ray cluster."""
    with open_searched(options, progress) as store:
        source = require_query(store, settings, options)
        with workers_of(options, progress) as (workers, _):
            from ..cluster.indexing import IndexOnCluster
            from ..images.index import run

            loading = loading_there(source, options, store, need_vision=True, kind="image")
            work = IndexOnCluster.of(loading, store, settings, how.vector_dtype, workers, progress.note)
            for note in work.facts.notes:
                progress.note(note)
            return run(work, images, store, how, progress)


def _look_words_up_again(photos: tuple[str, ...], options: dict[str, Any], progress: TerminalProgress) -> None:
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if photos or (without := sorted(given - _OF_WORDS - _SHARED - {"photos"})):
        what = "images" if photos else ", ".join(f"--{name.replace('_', '-')}" for name in without)
        raise UsageError(
            f"--again-words reads no image and loads no model, but {what} were given.",
            "Leave that out; --name names a set of indexed images.",
        )
    layers, bank_layers = parse_layers(options["layers"]), parse_layers(options["bank_layers"], "--bank-layer")
    from ..images.words_again import WordsAgainOptions, look_words_up_again

    asked = WordsAgainOptions(
        name=options["name"],
        model=options["model"],
        layers=None if layers == "all" else layers,
        bank_layers=None if bank_layers == "all" else bank_layers,
        top_k=options["top_k"] if "top_k" in given else None,
        where=options["where"] if "where" in given else None,
        search=options["search"],
    )
    with open_searched(options, progress) as store:
        for line in look_words_up_again(store, asked, progress):
            echo(line)
