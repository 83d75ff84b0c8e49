"""The commands that look at models."""

from __future__ import annotations

from typing import Any

import click

from ..schemas.files import STDOUT, require_writable
from ..schemas.names import escaped
from .early import require_model
from .loading import load
from .options import OutFile, model_options
from .streams import require_stdout
from .terminal import reported, say, table_width, write_result

debug_option = click.option("--debug", is_flag=True, help="Show the traceback of an error.")


@click.command()
@click.argument("image", metavar="IMAGE")
@model_options(required=True)
@click.option("--prompt", help="The question that goes with the image. Default: a neutral one.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--picture",
    type=OutFile(),
    help="Draw the image there (a PNG) with its patch grids: row,column and position of every visual token.",
)
@debug_option
def inspect(image: str, **options: Any) -> None:
    """Show how lensbank interprets a model and an image: check it before you trust a result.

    Shows the prompt, every position of the input (text, layout, or which patch), the views, the pixels that patches
    cover, the blocks, and the layers. Reads no hidden states.

    \b
    Example:
      lensbank inspect photo.jpg --model llava-hf/llava-1.5-7b-hf --picture patches.png
      lensbank inspect photo.jpg --model ./my-vlm --format json --picture photo-patches.png
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]):
        require_stdout()
        from ..query.images import OpenedImage, check_images, open_image

        (checked,) = check_images([image])
        if options["picture"] is not None:
            require_writable(options["picture"], [image] if image != "-" else [], "--picture")
        require_model(options["model"], options)
        from ..query.inspection import inspect_image
        from ..show.inspection_picture import draw_inspection
        from ..show.inspection_text import inspection_text

        model = load(options["model"], options, need_vision=True)
        opened = checked if isinstance(checked, OpenedImage) else open_image(image)
        found = inspect_image(model, opened, options["prompt"])
        write_result(found.to_json() if options["form"] == "json" else inspection_text(found, table_width()), None)
        if options["picture"] is not None:
            write_result(draw_inspection(found, opened.image), options["picture"], [image] if image != "-" else [])
            if str(options["picture"]) != STDOUT:
                say(f"Wrote {escaped(str(options['picture']))}.")
