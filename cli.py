"""The command line: one group, whose commands are in commands/.

Heavy libraries are loaded inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Before `main` can say so in a line, Ctrl-C ends the process at once, without the traceback of an import. What
    # comes before this is Python's own start, which no program can change.
    try:
        _on_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # not the main thread
        _on_interrupt = None
else:
    _on_interrupt = None

import logging
import os
import sys
from io import StringIO

if not __package__:  # run as a file
    import runpy

    _folder = os.path.dirname(os.path.abspath(__file__))
    runpy.run_path(os.path.join(_folder, "bootstrap.py"))
    # The folder is no place to look for modules: every room would be one.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _folder]
    __package__ = "lensbank"

import click

from . import __version__
from .commands import collecting
from .commands.banks import banks
from .commands.convert import convert_connector
from .commands.evaluate import evaluate
from .commands.find import find
from .commands.import_bank import import_bank
from .commands.index import index
from .commands.ingest import ingest
from .commands.judging import evaluate_labels
from .commands.models import inspect
from .commands.query import query
from .commands.repair import repair
from .commands.score import score
from .commands.serve import serve
from .commands.show import show
from .commands.streams import keep_streams
from .commands.terminal import INTERRUPTED, of_bearable_length, reported, require_current_folder, say
from .commands.transfer import pull, push


@click.group(name="lensbank", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lensbank")
def main_group() -> None:
    """What do the visual tokens of a vision-language model mean to its language model?

    LatentLens on Qdrant: keep the hidden state of every token of a text corpus (ingest), then
    read an image's visual tokens by their nearest neighbours among them (query).

    \b
    Example:
      lensbank ingest --model llava-hf/llava-1.5-7b-hf --layer 2,8,16 captions.txt
      lensbank query photo.jpg --layer 8,16
    """  # noqa: D301 - click needs the \b character
    logging.getLogger("transformers").setLevel(logging.ERROR)


if _on_interrupt is not None:
    signal.signal(signal.SIGINT, _on_interrupt)

COMMANDS = (
    *(ingest, query, show, index, find, score, evaluate, evaluate_labels, inspect, banks),
    *(serve, push, pull, import_bank, convert_connector),
)
banks.add_command(repair)
for command in COMMANDS:
    main_group.add_command(command)


def main() -> None:
    """Entry point of the console script and of ``python -m lensbank``."""
    # OpenMP threads that wait by spinning starve the process that stores rows, and each other on a
    # busy machine: encoding beside one other busy process was five times slower. Before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    collecting.put_off()
    keep_streams()
    try:
        with reported("--debug" in sys.argv[1:]):  # what no command reports: --help into a full disk, for one
            require_current_folder()
            code = main_group(prog_name="lensbank", standalone_mode=False)
    except click.ClickException as error:
        shown = StringIO()
        error.show(file=shown)
        say(of_bearable_length(shown.getvalue().rstrip("\n")))
        code = error.exit_code
    except click.Abort:
        say("Interrupted.")
        code = INTERRUPTED
    except SystemExit:
        if not type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            raise
        code = 0  # click's own, where the reader of --help has left
    collecting.leave()
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
