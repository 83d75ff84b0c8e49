"""The command that draws readings that were saved as JSON: pages, figures and tables without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..schemas.errors import UsageError
from .command_line import command_line
from .forms import FIGURES, chosen_form, format_option
from .options import OutFile, silent_option
from .progress import TerminalProgress, say_written
from .terminal import reported, table_width, terminal_ink, write_result

FORMS = ("table", "json", "csv", "html", *FIGURES)


@click.command()
@click.argument("readings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="READINGS...")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="An image of the readings; repeatable. JSON files hold no images; without it, patches are drawn on white.",
)
@format_option(FORMS, "As in query. A figure needs every image.", "html")
@click.option("--out", type=OutFile(), help="Output file. Default: stdout (-).")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@silent_option
def show(readings: tuple[Path, ...], images: tuple[str, ...], **options: Any) -> None:
    """Draw readings that were saved as JSON, from one or more files. Needs neither model nor bank.

    READINGS are JSON files that `lensbank query` wrote; - is standard input. A page of several readings can
    show any two of them side by side under one cursor: models, prompts, lenses.

    \b
    Example:
      lensbank query photo.jpg --prompt "What is this?" --out a.json
      lensbank query photo.jpg --prompt "Who made this?" --out b.json
      lensbank show a.json b.json --image photo.jpg --out compare.html
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        out = options["out"]
        form = chosen_form(options["form"], out, FORMS, "html", inputs=[*map(str, readings), *images])
        from ..query.images import open_image
        from ..query.pixels import reduced
        from ..show.outputs import render
        from ..show.saved import read_saved

        found = [one for path in readings for one in read_saved(path)]
        opened = [open_image(path) for path in images]
        known = {image.sha256: reduced(image.image) for image in opened}
        pictures = [[known.get(each.sha256) for each in one.images] for one in found]
        shas = {each.sha256 for one in found for each in one.images}
        for path, image in zip(images, opened, strict=True):
            if image.sha256 not in shas:
                raise UsageError(
                    f"The image {path} does not belong to any of the readings (its digest differs).", "Leave it out."
                )
        missing = sorted({each.source for one in found for each in one.images if each.sha256 not in known})
        if form in FIGURES and (missing or any(one.kind == "text" for one in found)):
            what = f"the image {missing[0]} was not given" if missing else "a text has no image"
            raise UsageError(f"--format {form} draws on an image, but {what}.", "Add --image, or use --format html.")
        for source in missing if form == "html" else ():
            progress.note(f"{source} is drawn without its image; add it with --image FILE.")
        command = command_line(click.get_current_context())
        shown, notes = render(found, pictures, form, table_width(), terminal_ink(out), command)
        write_result(shown, out, [*readings, *(Path(image) for image in images)])
        say_written(out, progress)
        for note in notes:
            progress.note(note)
