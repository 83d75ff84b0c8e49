"""The command that serves the explorer and its HTTP interface: options, progress, exit codes. No logic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..schemas.errors import UsageError
from . import completion
from .early import require_at_hand, require_model
from .help_groups import GroupedCommand
from .loading import load
from .options import local_copy_option, model_options, open_searched, shared_options
from .progress import TerminalProgress
from .terminal import reported, say

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from ..serve.settings import ServeSettings
    from ..store.store import Store


@click.command(
    cls=GroupedCommand,
    groups={
        "Where to listen": ("host", "port", "token", "no_token", "allow_host", "open_browser"),
        "What to allow": ("max_megabytes", "max_megapixels"),
        "What to compare with": ("model2", "local_copy"),
    },
)
@model_options(required=False)
@click.option(
    "--model2",
    metavar="ID|FOLDER",
    shell_complete=completion.models,
    help="A second model to compare with, loaded like the first.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Any address but 127.0.0.1 can be reached from other machines.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0: any free port.",
)
@click.option("--token", envvar="LENSBANK_TOKEN", help="Secret that every client must send. Default: a new one.")
@click.option("--no-token", is_flag=True, help="Accept clients without a token; on 127.0.0.1 only.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another host name of the server; repeatable.")
@click.option(
    "--browser/--no-browser", "open_browser", default=True, help="Open the page in a browser.  [default: browser]"
)
@click.option(
    "--max-megabytes",
    type=click.IntRange(1, 1024),
    default=32,
    show_default=True,
    help="Maximum size of an image file.",
)
@click.option(
    "--max-megapixels", type=click.IntRange(1, 178), default=40, show_default=True, help="Maximum size of an image."
)
@local_copy_option
@shared_options
def serve(**options: Any) -> None:
    """Open the explorer in the browser: drop an image, type a prompt, and see every layer as it is read.

    The page uses no other server. Notebooks and other programs can use the HTTP interface, too,
    which /api describes. Press Ctrl-C to stop the server.

    \b
    Example:
      lensbank serve --model llava-hf/llava-1.5-7b-hf
      lensbank serve --store lensbank-store --model model-a --model2 model-b
      lensbank serve --host 0.0.0.0 --no-browser
    """  # noqa: D301 - click needs the \b character
    with reported(options["debug"]), TerminalProgress(options["silent"]) as progress:
        _require_installed()
        settings = _settings(options)
        from ..serve.sockets import listening

        with listening(settings) as opened:  # before anything heavy is loaded
            with open_searched(options, progress) as store:
                sources = _sources(store, options)
                from ..serve.running import serve as answer
                from ..serve.service import Service

                models = _loaded(sources, store, options)
            service = Service(models, lambda: open_searched(options, progress), settings, say)
            service.engine.warm()
            answer(service, opened, say, lambda address: _ready(address, options))


def _sources(store: Store, options: dict[str, Any]) -> list[str]:
    """The models to load, each of them one that can be, as far as that is known before torch is loaded."""
    from ..banks.of_store import model_source

    first = options["model"] or model_source(store)
    sources = [first, *([options["model2"]] if options["model2"] is not None else [])]
    for source in sources:
        require_model(source, options)
        require_at_hand(source, options)
    return sources


def _loaded(sources: list[str], store: Store, options: dict[str, Any]) -> dict[str, LoadedModel]:
    """The models by the names that clients use."""
    models: dict[str, LoadedModel] = {}
    for source in sources:
        loaded = load(source, options, store=store)
        models[loaded.name if loaded.name not in models else f"{loaded.name} (2)"] = loaded
    return models


def _require_installed() -> None:
    from importlib.util import find_spec

    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise UsageError(f"serve needs {' and '.join(missing)}.", "Install it: pip install 'lensbank[serve]'.")


def _settings(options: dict[str, Any]) -> ServeSettings:
    from ..serve.settings import ServeSettings
    from ..serve.sockets import new_token

    if options["no_token"] and options["token"]:
        raise UsageError("--no-token and --token were both given.", "Leave one out.")
    token = None if options["no_token"] else options["token"] or new_token()
    return ServeSettings(
        host=options["host"],
        port=options["port"],
        token=token,
        allowed_hosts=tuple(options["allow_host"]),
        max_bytes=options["max_megabytes"] << 20,
        max_pixels=options["max_megapixels"] * 1_000_000,
    )


def _ready(address: str, options: dict[str, Any]) -> None:
    click.echo(f"The explorer: {address}   (Ctrl-C ends it)", err=True)  # say() would hide the token
    if options["open_browser"]:
        import webbrowser

        webbrowser.open(address)
