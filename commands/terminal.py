"""What the command line needs beside click: reading option values, progress, errors to exit codes."""

from __future__ import annotations

import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..schemas.addresses import without_secrets
from ..schemas.errors import MORE_FILES, LensbankError, UsageError, is_disk_full, is_too_many_files
from ..schemas.files import STDOUT, shown_path, write_whole
from ..schemas.layers import shortened
from ..show.display import clean
from .streams import flush_stdout, leave_stdout, require_stdout

if TYPE_CHECKING:
    from ..show.ink import Ink

INTERRUPTED = 130
#: Digits of a number that counts layers, patches or contexts.
_DIGITS = 9


def parse_patches(texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """``("2,3",)`` → ``((2, 3),)``: row from the top, column from the left, both from 0.

    Raises:
        UsageError: not two numbers.
    """
    patches = []
    for text in texts:
        row, _, col = text.partition(",")
        if not all(part.strip().isdecimal() and len(part.strip()) <= _DIGITS for part in (row, col)):
            raise UsageError(
                f"--patch {shortened(text)} is not valid; expected ROW,COL, counted from 0 at the top left.",
                "Example: --patch 2,3",
            )
        patches.append((int(row), int(col)))
    return tuple(patches)


def parse_names(texts: tuple[str, ...], option: str, known: Iterable[str]) -> tuple[str, ...]:
    """``("latent,logit",)`` → ``("latent", "logit")``; nothing → the first that is known. The query checks the names.

    Args:
        texts: as typed.
        option: for messages.
        known: what may be named.

    Raises:
        UsageError: an option without a name.
    """
    names = list(known)
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    if texts and not parts:
        raise UsageError(f"{option} is empty.", f"Choose from {', '.join(names)}.")
    return tuple(parts) or (names[0],)


def parse_contexts(text: str) -> int | None:
    """``"20"`` → 20; ``"all"`` → ``None``.

    Raises:
        UsageError: anything else.
    """
    if text == "all":
        return None
    if not text.isdecimal() or len(text) > _DIGITS or int(text) == 0:
        raise UsageError(f"--max-contexts {shortened(text)} is not valid; expected a number of at least 1, or all.")
    return int(text)


def table_width() -> int:
    """Columns of the terminal, 60 to 140; 100 where there is none."""
    return min(140, max(60, shutil.get_terminal_size((100, 24)).columns))


def terminal_ink(out: Path | None) -> Ink:
    """What the terminal that a table goes to can show; nothing special for files and pipes.

    https://no-color.org; COLORTERM, TERM and WT_SESSION are what terminals say of themselves.
    """
    from ..show.ink import Ink

    said = os.environ.get
    if out is not None or sys.stdout is None or not sys.stdout.isatty() or said("NO_COLOR") or said("TERM") == "dumb":
        return Ink.PLAIN
    if "utf" not in (sys.stdout.encoding or "").lower():
        return Ink.STYLES  # pictures are drawn with characters that it lacks
    if said("COLORTERM") in ("truecolor", "24bit") or said("WT_SESSION"):
        return Ink.TRUE
    return Ink.INDEXED if "256color" in said("TERM", "") else Ink.STYLES


def write_result(shown: str | bytes, out: Path | None, inputs: Sequence[str | Path] = ()) -> None:
    """To stdout (also as ``-``), or whole to a file: no half of it is left, and no input is replaced.

    Raises:
        UsageError: there is nothing to write to, or what is there must not be replaced.
    """
    if out is None or str(out) == STDOUT:
        require_stdout()
        if isinstance(shown, bytes):
            sys.stdout.buffer.write(shown)
        else:
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
            sys.stdout.write(shown + "\n")
        sys.stdout.flush()
        return
    write_whole(out, shown if isinstance(shown, bytes) else shown + "\n", inputs)


def echo(text: str) -> None:
    """Lines for the user on stdout; what names and texts of others bring along cannot steer a terminal."""
    click.echo(harmless(text))


def harmless(text: str) -> str:
    """Lines that can only show themselves, and whose addresses keep no key."""
    # Spaces stay as they are: tables are made of them.
    pieces = re.split(r"([ \n]+)", without_secrets(text))
    return "".join(piece if number % 2 else clean(piece) for number, piece in enumerate(pieces))


def require_current_folder() -> None:
    """Refuse to start in a folder that was deleted: libraries cannot be loaded there, and some end the process.

    Raises:
        UsageError: it is so.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(
            "The current folder does not exist any more.", "Change to another (cd), then run the command again."
        ) from error


@contextmanager
def reported(debug: bool) -> Iterator[None]:
    """The one place that turns what went wrong into a line on stderr and an exit code."""
    try:
        yield
        flush_stdout()
    except LensbankError as error:
        _fail(f"Error: {error}", error.exit_code, debug)
    except KeyboardInterrupt as error:
        _fail("Interrupted.", getattr(error, "exit_code", INTERRUPTED), debug)
    except BrokenPipeError:
        # The reader of our output (head, less) has left: that is no failure of ours.
        leave_stdout()
        sys.exit(0)
    except MemoryError:
        _fail("Error: out of memory. Use fewer --layer, --dtype bfloat16 or a smaller --batch-tokens.", 1, debug)
    except OSError as error:
        if is_too_many_files(error):
            error = OSError(f"too many files are open. {MORE_FILES}")
        if is_disk_full(error):
            place = f" ({shown_path(error.filename)})" if error.filename else ""
            error = OSError(f"{error.strerror}{place}. Free some space, also for temporary files, or write elsewhere.")
        _fail(f"Error: {error}", 1, debug)
    except (click.exceptions.Exit, click.ClickException, click.Abort):
        raise
    except Exception as error:  # a fault of ours, or of a library's
        said = str(error).strip().partition("\n")[0]
        kind = type(error).__name__
        _fail(
            f"Error: an unexpected error occurred: {kind}{': ' if said else ''}{said[:300]}. Run the command with "
            "--debug to see where.",
            1,
            debug,
        )


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    say(of_bearable_length(message))
    sys.exit(code)


def of_bearable_length(message: str) -> str:
    """A message without the middle of what is too long to be read, as a number of thousands of digits."""
    return re.sub(r"\S{400,}", lambda found: f"{found[0][:80]}...{found[0][-20:]}", message)


def say(text: str) -> None:
    """A line on stderr, whatever its encoding can show."""
    if sys.stderr is None:  # closed
        return
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(harmless(text).encode(encoding, "replace").decode(encoding) + "\n")
    sys.stderr.flush()
