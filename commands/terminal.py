"""What the command line needs beside click: reading option values, progress, errors to exit codes."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..schemas.errors import LensbankError, UsageError

if TYPE_CHECKING:
    from ..show.ink import Ink

INTERRUPTED = 130


def parse_layers(texts: tuple[str, ...]) -> tuple[int, ...] | Literal["all"] | None:
    """``("1,2", "4")`` → ``(1, 2, 4)``; ``("all",)`` → ``"all"``; nothing → ``None``.

    Raises:
        UsageError: anything else.
    """
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    if not parts:
        return None
    if "all" in parts:
        if len(parts) > 1:
            raise UsageError("--layer all stands alone; other layers were given beside it.")
        return "all"
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--layer takes numbers, lists like 1,2,4, or all; got {','.join(parts)!r}.")
    return tuple(sorted({int(part) for part in parts}))


def parse_patches(texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """``("2,3",)`` → ``((2, 3),)``: row from the top, column from the left, both from 0.

    Raises:
        UsageError: not two numbers.
    """
    patches = []
    for text in texts:
        row, _, col = text.partition(",")
        if not (row.strip().isdecimal() and col.strip().isdecimal()):
            raise UsageError(
                f"--patch takes ROW,COL (from the top left, from 0); got {text!r}.", "Example: --patch 2,3"
            )
        patches.append((int(row), int(col)))
    return tuple(patches)


def parse_lenses(texts: tuple[str, ...]) -> tuple[str, ...]:
    """``("latent,logit",)`` → ``("latent", "logit")``; nothing → ``("latent",)``. The query checks the names."""
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    return tuple(parts) or ("latent",)


def parse_contexts(text: str) -> int | None:
    """``"20"`` → 20; ``"all"`` → ``None``.

    Raises:
        UsageError: anything else.
    """
    if text == "all":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(f"--max-contexts takes a number from 1, or all; got {text!r}.")
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
    if out is not None or not sys.stdout.isatty() or said("NO_COLOR") or said("TERM") == "dumb":
        return Ink.PLAIN
    if "utf" not in (sys.stdout.encoding or "").lower():
        return Ink.STYLES  # pictures are drawn with characters that it lacks
    if said("COLORTERM") in ("truecolor", "24bit") or said("WT_SESSION"):
        return Ink.TRUE
    return Ink.INDEXED if "256color" in said("TERM", "") else Ink.STYLES


def require_file(form: str, out: Path | None, texts: tuple[str, ...]) -> None:
    """Pages and figures are no use on a terminal, and figures are of images.

    Raises:
        UsageError: a page or figure would go to a terminal; or a figure of a text.
    """
    if form == "png" and texts:
        raise UsageError("--format png draws on an image, and a text was asked about.", "Use --format html.")
    if form in ("html", "png") and out is None and sys.stdout.isatty():
        raise UsageError(
            f"--format {form} makes a file, not text to read.", f"Add --out report.{form}, or redirect it."
        )


def write_result(shown: str | bytes, out: Path | None) -> None:
    """To stdout, or whole to a file: an interrupted write leaves no half of it."""
    if out is None:
        if isinstance(shown, bytes):
            sys.stdout.buffer.write(shown)
        else:
            sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
            sys.stdout.write(shown + "\n")
        sys.stdout.flush()
        return
    part = out.with_name(out.name + ".part")
    try:
        part.write_bytes(shown if isinstance(shown, bytes) else (shown + "\n").encode())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def reported(debug: bool) -> Iterator[None]:
    """The one place that turns what went wrong into a line on stderr and an exit code."""
    try:
        yield
    except LensbankError as error:
        _fail(f"Error: {error}", error.exit_code, debug)
    except KeyboardInterrupt as error:
        _fail("Interrupted.", getattr(error, "exit_code", INTERRUPTED), debug)
    except BrokenPipeError:
        # The reader of our output (head, less) has left: that is no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MemoryError:
        _fail("Error: out of memory. Use fewer --layer, --dtype bfloat16 or a smaller --batch-tokens.", 1, debug)
    except OSError as error:
        _fail(f"Error: {error}", 1, debug)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    _say(message)
    sys.exit(code)


class TerminalProgress:
    """Progress on stderr: a bar with rate and time left; a line now and then where nobody watches."""

    def __init__(self, silent: bool) -> None:
        """Silent shows nothing but notes."""
        self.silent = silent
        self._bar: Any = None

    def __enter__(self) -> TerminalProgress:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """An error ends the phase: what is said next begins on a line of its own."""
        self.finish()

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """Begin a phase; ``total`` is None where it is not known."""
        from tqdm import tqdm

        self.finish()
        watched = sys.stderr.isatty()
        self._bar = tqdm(
            desc=phase,
            total=total,
            unit=f" {unit}",
            unit_scale=True,
            file=sys.stderr,
            disable=self.silent,
            mininterval=0.2 if watched else 10.0,
            dynamic_ncols=watched,
            leave=True,
        )

    def advance(self, count: int) -> None:
        """Some more is done."""
        if self._bar is not None:
            self._bar.update(count)

    def note(self, text: str) -> None:
        """A line for the user."""
        if self._bar is not None and not self.silent:
            self._bar.clear()
        _say(text)

    def remark(self, text: str) -> None:
        """A line that belongs to the progress: not shown where that is not."""
        if not self.silent:
            self.note(text)

    def finish(self) -> None:
        """End the phase."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _say(text: str) -> None:
    """A line on stderr, whatever its encoding can show."""
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stderr.flush()
