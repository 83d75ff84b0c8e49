"""The command that draws readings that were saved as JSON: pages, figures and tables without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..schemas.errors import UsageError
from .command_line import command_line
from .options import OutFile, silent_option
from .progress import TerminalProgress, say_written
from .terminal import reported, require_file, table_width, terminal_ink, write_result


@click.command()
@click.argument("readings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="READINGS...")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="An image that was read; repeatable. JSON has none: without it, patches are drawn on blank paper.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "html", "png"]),
    default="html",
    show_default=True,
    help="As of query. png needs every image.",
)
@click.option("--out", type=OutFile(), help="Output file. Default: stdout (-).")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@silent_option
def show(readings: tuple[Path, ...], images: tuple[str, ...], **options: Any) -> None:
    """Draw readings that query has saved as JSON, of one file or several, without model or bank.

    READINGS are files of `lensbank query --format json`. In the page of several, any two can be put side by side under
    one cursor: models, prompts, lenses.

    \b
    Example:
      lensbank query photo.jpg --prompt "What is this?" --format json --out a.json
      lensbank query photo.jpg --prompt "Who made this?" --format json --out b.json
      lensbank show a.json b.json --image photo.jpg --out compare.html
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        form, out = options["form"], options["out"]
        require_file(form, out, (), [*map(str, readings), *images])
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
                raise UsageError(f"None of the readings is of {path}: its digest is another.", "Leave it out.")
        missing = sorted({each.source for one in found for each in one.images if each.sha256 not in known})
        if form == "png" and (missing or any(one.kind == "text" for one in found)):
            what = f"{missing[0]} is missing" if missing else "a text has none"
            raise UsageError(f"A figure is drawn on an image, and {what}.", "Add --image, or use --format html.")
        for source in missing if form == "html" else ():
            progress.note(f"{source} is drawn without its picture; --image FILE adds it.")
        command = command_line(click.get_current_context())
        shown, notes = render(found, pictures, form, table_width(), terminal_ink(out), command)
        write_result(shown, out, [*readings, *(Path(image) for image in images)])
        say_written(out, progress)
        for note in notes:
            progress.note(note)
