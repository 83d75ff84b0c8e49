"""Options that several commands share, and opening a store by them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..schemas.errors import UsageError
from . import completion
from .help_groups import WithValue

if TYPE_CHECKING:
    from ..schemas.progress import Progress
    from ..store.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_STORE = "lensbank-store"
#: Parameter that holds the folder of `--local-copy=FOLDER`.
COPIES_FOLDER = "local_copy_folder"
#: Of `query` and `evaluate`, what help lists under "What to compare with".
COMPARISON = (
    *("lenses", "bank_layers", "where", "distinct", "top_k"),
    *("centre", "centre_images", "exact", "search", "local_copy", "recall_check"),
)


class FiniteRange(click.FloatRange):
    """A number in a range; "nan", which no comparison refuses, and "inf" are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of a text."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{found} is not a finite number.", param, ctx)
        return found


layers_option = click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="LAYERS",
    shell_complete=completion.layers,
    help="Layers to read: numbers, ranges and lists such as 0,8-16,24 or 20-, or all. Default: 0 and the banks'.",
)
vector_dtype_option = click.option(
    "--vector-dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Precision of stored vectors. float16 halves the disk space.",
)
bank_layers_option = click.option(
    "--bank-layer",
    "bank_layers",
    multiple=True,
    metavar="LAYERS",
    shell_complete=completion.layers,
    help="Bank layers to search, e.g. 8 or 4-12. Default: all there are.",
)


def model_options(required: bool) -> Callable[[Command], Command]:
    """The options that choose and load a model."""

    def decorate(command: Command) -> Command:
        for option in reversed(
            [
                click.option(
                    "--model",
                    required=required,
                    metavar="ID|FOLDER",
                    shell_complete=completion.models,
                    help="Hub id, or a model directory." + _optional(required),
                ),
                click.option("--revision", help="Branch, tag or commit on the hub."),
                click.option(
                    "--device",
                    metavar="DEVICE",
                    default="auto",
                    show_default=True,
                    help="auto, cpu, cuda, cuda:1, mps ...",
                ),
                click.option(
                    "--dtype",
                    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
                    default="auto",
                    show_default=True,
                    help="Precision of the forward pass. auto: that of the model's banks in the store, else the faster "
                    "of float32 and bfloat16, measured on one block of the model.",
                ),
                click.option(
                    "--device-map",
                    metavar="auto|balanced|sequential|FILE",
                    help="Spread a large model over GPUs, memory and disk (needs accelerate); a JSON file names parts "
                    "and devices.",
                ),
                click.option(
                    "--max-memory",
                    multiple=True,
                    metavar="DEVICE=SIZE",
                    help="For --device-map auto: 0=20GiB, cpu=60GiB; repeatable.",
                ),
                click.option(
                    "--offload-folder",
                    type=click.Path(file_okay=False),
                    help="Folder for offloaded weights that cannot be read from the model's own files.",
                ),
                click.option(
                    "--load-in",
                    type=click.Choice(["8bit", "4bit"]),
                    help="Quantise the weights while loading (needs bitsandbytes). A quantised model has separate "
                    "banks.",
                ),
                click.option(
                    "--trust-remote-code",
                    is_flag=True,
                    help="Run code that comes with the model. By default it never runs.",
                ),
            ]
        ):
            command = option(command)
        return command

    return decorate


class OutFile(click.Path):
    """A file to write, as a path; a name that ends in a slash is a folder's, which a path would not say any more."""

    def __init__(self) -> None:
        """Also ``-``, standard output."""
        super().__init__(path_type=Path, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click has it."""
        if str(value).endswith(("/", os.sep)):
            self.fail(f"{str(value)!r} is the name of a folder; expected the name of a file.", param, ctx)
        return super().convert(value, param, ctx)


def _optional(required: bool) -> str:
    return "" if required else " Optional if the store holds banks of one model only."


server_option = click.option(
    "--server",
    "server_options",
    multiple=True,
    envvar="LENSBANK_SERVER",
    metavar="NAME=VALUE",
    help="Settings for a Qdrant server; repeatable. timeout=120 (seconds per request), patience=600 (seconds to wait "
    "for a server that does not answer), protocol=auto|grpc|rest (rest keeps the order of fields for the dashboard), "
    "grpc-port=N (default: the REST port + 1), ca-file=FILE, streams=4 (parallel uploads), batch-mb=4, "
    "batch-rows=256; for new collections shards=N, replicas=N, write-consistency=N. [env: LENSBANK_SERVER, separated "
    "by spaces]",
)


silent_option = click.option("--silent", is_flag=True, help="Show no progress on stderr.")


def centre_options(command: Command) -> Command:
    """The options of a centred query; :func:`centre_images` reads them."""
    for option in (
        click.option(
            "--centre-images",
            type=click.Path(file_okay=False, path_type=Path),
            help="With --centre: subtract the mean of this folder's images instead.",
        ),
        click.option(
            "--centre",
            is_flag=True,
            help="Subtract the mean state of all given images before comparing; needs banks made by `ingest "
            "--centre`.  [default: raw states, as in the paper]",
        ),
    ):
        command = option(command)
    return command


def search_option(command: Command) -> Command:
    """The option for the method of exact search."""
    option = click.option(
        "--search",
        type=click.Choice(["engine", "product"]),
        help="Method of exact search. product: a matrix product over the bank's vector files on --device, in blocks "
        "(about 64 MB beside mapped files; a GPU keeps vectors while 30 % of its memory stays free). engine: search by "
        "the database. Both find the same rows.  [default: product where the vector files can be mapped]",
    )
    return option(command)


def local_copy_option(command: Command) -> Command:
    """Whether a server's banks are copied and searched here, and where; :func:`open_searched` reads it."""
    folder = click.option("--local-copy-folder", COPIES_FOLDER, hidden=True, type=click.Path(file_okay=False))
    option = click.option(
        "--local-copy/--no-local-copy",
        cls=WithValue,
        value=("--local-copy-folder", "FOLDER"),
        default=None,
        help="Copy the searched text banks of a server into FOLDER (default: $LENSBANK_CACHE, else ~/.cache/lensbank) "
        "once, and search the copies; their records and row counts are first compared with the server's.  [default: "
        "on if LENSBANK_CACHE is set]",
    )
    return option(folder(command))


def centre_images(options: dict[str, Any]) -> tuple[Path, ...]:
    """The files of --centre-images, if any.

    Raises:
        UsageError: given without --centre.
        InputError: no such folder, or no image in it.
    """
    from ..query.images import image_files

    folder = options["centre_images"]
    if folder is None:
        return ()
    if not options["centre"]:
        raise UsageError(
            "--centre-images was given without --centre; it only names the images whose mean --centre subtracts.",
            "Add --centre, or leave --centre-images out.",
        )
    return tuple(image_files(folder))


def shared_options(command: Command) -> Command:
    """The options of every command that uses a store."""
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        silent_option,
        server_option,
        click.option(
            "--store",
            "store_target",
            default=DEFAULT_STORE,
            show_default=True,
            metavar="FOLDER|URL",
            shell_complete=completion.folders,
            envvar=["LENSBANK_STORE", "QDRANT_URL"],
            help="Folder of the embedded engine, or URL of a Qdrant server (its key: QDRANT_API_KEY). "
            "[env: LENSBANK_STORE, then QDRANT_URL]",
        ),
    ):
        command = option(command)
    return command


def open_target(options: dict[str, Any], notify: Callable[[str], None], create: bool = False) -> Store:
    """Open the store of :func:`shared_options`."""
    return open_address(options["store_target"], options, notify, create)


def open_searched(options: dict[str, Any], progress: Progress) -> Store:
    """Open the store of :func:`shared_options` to search it, as :func:`local_copy_option` says."""
    from ..banks.local_copies import with_local_copies

    folder = options[COPIES_FOLDER]
    if folder == "":
        raise UsageError("--local-copy= names no folder.", "Give --local-copy=FOLDER, or --local-copy alone.")
    if folder is not None and not options["local_copy"]:
        raise UsageError("--no-local-copy contradicts --local-copy=FOLDER.", "Leave one of them out.")
    store = open_target(options, progress.note)
    try:
        return with_local_copies(store, progress, options["local_copy"], folder)
    except BaseException:
        store.close()
        raise


def open_address(address: str, options: dict[str, Any], notify: Callable[[str], None], create: bool = False) -> Store:
    """Open another store with the same server options."""
    from ..store.opening import open_store
    from ..store.server.options import parse_options

    server = parse_options(options["server_options"])
    return open_store(address, create=create, server=server, notify=notify)
