"""The command that reads images and texts: options, progress, error to exit code. No logic."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import click

from ..schemas.errors import UsageError
from . import collecting, completion
from .asking import query_settings
from .command_line import command_line
from .early import require_query
from .forms import FIGURES, chosen_form, format_option
from .help_groups import GroupedCommand
from .loading import load
from .options import (
    COMPARISON,
    OutFile,
    bank_layers_option,
    centre_images,
    centre_options,
    layers_option,
    local_copy_option,
    model_options,
    open_searched,
    search_option,
    shared_options,
)
from .progress import TerminalProgress, say_written
from .terminal import reported, table_width, terminal_ink, write_result

FORMS = ("table", "json", "csv", "html", *FIGURES)


@click.command(
    cls=GroupedCommand,
    groups={
        "What to read": (
            *("texts", "layers", "patches", "prompt", "together"),
            *("read", "answer_tokens", "answer"),
        ),
        "What to compare with": COMPARISON,
        "How to show it": ("form", "out"),
    },
)
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("--text", "texts", multiple=True, help="Read the tokens of a text instead of an image; repeatable.")
@layers_option
@bank_layers_option
@model_options(required=False)
@click.option("--top-k", type=click.IntRange(1, 1000), default=5, show_default=True, help="Neighbours per token.")
@click.option(
    "--where",
    multiple=True,
    shell_complete=completion.fields,
    metavar="FIELD=VALUE",
    help="Keep only neighbours that meet this condition; repeatable (and). word=dog,cat  word!=the  position>=3  "
    "is_word=true  word~pine  'sentence~fire truck'  corpus=a,b",
)
@click.option("--distinct", type=click.Choice(["word"]), help="Show each word at most once per token.")
@click.option(
    "--lens",
    "lenses",
    multiple=True,
    metavar="NAME,...",
    shell_complete=completion.lens_names,
    help="latent (nearest corpus tokens), logit (final norm and unembedding), embedding (nearest rows of the input "
    "embedding); combine them as in latent,logit. A bank is needed only for latent.  [default: latent]",
)
@centre_options
@click.option("--patch", "patches", multiple=True, metavar="ROW,COL", help="Read only this patch; repeatable.")
@click.option("--prompt", help="The question that goes with the image. Default: a neutral one.")
@click.option("--together", is_flag=True, help="Give all images to the model in one prompt, for one reading.")
@click.option(
    "--read",
    multiple=True,
    metavar="KIND,...",
    shell_complete=completion.read_kinds,
    help="image (patches), prompt (the tokens of the text around the images), answer (tokens of the model's answer), "
    "special (special tokens, and tokens between patches); combine them as in image,prompt,answer.  "
    "[default: image]",
)
@click.option(
    "--answer-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --read answer: maximum number of tokens, chosen greedily.  [default: 32]",
)
@click.option("--answer", metavar="TEXT", help="With --read answer: use this text as the model's answer.")
@click.option(
    "--exact/--approximate",
    default=True,
    help="Compare with every row, or use the index and report the recall.  [default: exact]",
)
@search_option
@local_copy_option
@click.option(
    "--recall-check/--no-recall-check",
    default=True,
    help="With --approximate: compare up to 32 results with exact ones.  [default: recall-check]",
)
@format_option(FORMS, "html: one file for the browser, which needs no network. png, svg, pdf: a figure for a paper.")
@click.option("--out", type=OutFile(), help="Output file. Default: stdout (-).")
@shared_options
def query(images: tuple[str, ...], texts: tuple[str, ...], **options: Any) -> None:
    """Read an image's visual tokens, or a text's tokens, by their nearest corpus tokens.

    The model processes the image once. The hidden states of its visual tokens at each --layer
    are compared with the states in the banks of every --bank-layer. The nearest neighbours
    across all bank layers are shown with word, sentence, cosine and bank layer. --read also
    reads the tokens of the prompt and of the model's answer.

    \b
    Example:
      lensbank query photo.jpg --layer 8,16
      lensbank query photo.jpg --layer 8,16 --lens latent,logit,embedding
      lensbank query photo.jpg --layer 8 --patch 2,3 --where is_word=true --distinct word
      lensbank query photo.jpg --out report.html
      lensbank query photo.jpg --layer 16 --patch 2,3 --patch 5,1 --out figure.pdf
      lensbank query *.jpg --out readings.json
      lensbank query --text "a dog on a red sofa" --layer 8
      lensbank query a.jpg b.jpg --together --prompt "What differs?" --read image,prompt,answer
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        if bool(images) == bool(texts):
            raise UsageError("Give either images or --text.")
        form = chosen_form(options["form"], options["out"], FORMS, texts=texts, inputs=images)
        from ..query.images import check_images

        settings = query_settings(options)
        others = centre_images(options)
        if others and texts:
            raise UsageError(
                "--centre-images can only be used with images; from a --text, the bank's text mean is subtracted."
            )
        opened = check_images(images, settings.max_pixels)  # before anything heavy is loaded
        if texts:
            settings.require_text()
            if options["together"]:
                raise UsageError(
                    "--together can only be used with images, but --text was given.", "Leave out --together."
                )
            if not all(texts):
                raise UsageError("A --text is empty.", "Give words, as in --text 'a dog'.")
        needs_store = "latent" in settings.lenses or options["model"] is None
        with open_searched(options, progress) if needs_store else nullcontext() as store:
            if store is not None and collecting.is_one_command():
                store.leave_open()
            source = require_query(store, settings, options)
            from ..query.pipeline import QuerySession
            from ..query.readings import read_all
            from ..show.outputs import render

            loaded = load(source, options, need_vision=bool(images), store=store)
            with QuerySession(store, loaded, settings, progress) as session:
                readings = read_all(session, opened, texts, settings.max_pixels, others, options["together"])
        command = command_line(click.get_current_context())
        pictures = [reading.picture for reading in readings]
        ink = terminal_ink(options["out"])
        shown, notes = render(readings, pictures, form, table_width(), ink, command)
        write_result(shown, options["out"], [image for image in images if image != "-"])
        say_written(options["out"], progress)
        for note in notes:
            progress.note(note)
