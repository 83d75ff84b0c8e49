"""The form of a result: what --format says, or else the ending of --out, as `save` in Python follows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from ..schemas.errors import UsageError
from ..schemas.files import STDOUT, require_writable
from .streams import require_stdout

#: Figures for a paper.
FIGURES = ("png", "svg", "pdf")
_BY_ENDING = {f".{form}": form for form in ("json", "csv", "html", *FIGURES)} | {".htm": "html"}

_Command = TypeVar("_Command", bound=Callable[..., object])


def format_option(forms: Sequence[str], about: str = "", usual: str = "table") -> Callable[[_Command], _Command]:
    """--format: one of these forms; in the function :func:`chosen_form` says which."""
    default = f"[default: by the ending of --out, otherwise {usual}]"
    return click.option("--format", "form", type=click.Choice(forms), help=f"{about}  {default}".strip())


def chosen_form(
    form: str | None,
    out: Path | None,
    forms: Sequence[str],
    usual: str = "table",
    texts: Sequence[str] = (),
    inputs: Sequence[str] = (),
) -> str:
    """The form that a result is written in: that of --format, or of the ending of --out.

    Pages and figures are no use on a terminal, figures are of images, and no input is written over.

    Args:
        form: of --format; ``None`` where it was not given.
        out: of --out.
        forms: what the command can write.
        usual: where neither says anything.
        texts: that are read instead of images.
        inputs: files that are read.

    Raises:
        UsageError: ``out`` cannot be written, or its ending is that of another form; a page or figure would go to a
            terminal; a figure of a text.
    """
    if out is None or str(out) == STDOUT:
        require_stdout()
    if out is not None:
        require_writable(out, [name for name in inputs if name != STDOUT])
    form = _by_ending(form, out, forms) or form or usual
    if form in FIGURES and texts:
        raise UsageError(f"--format {form} draws on an image, but a text was given.", "Use --format html.")
    if form in ("html", *FIGURES) and out is None and sys.stdout.isatty():
        raise UsageError(
            f"--format {form} cannot be printed on a terminal.",
            f"Add --out report.{form}, or redirect the output to a file.",
        )
    return form


def _by_ending(form: str | None, out: Path | None, forms: Sequence[str]) -> str | None:
    """What a file's ending says; ``None`` where that is nothing."""
    meant = None if out is None else _BY_ENDING.get(out.suffix.lower())
    if meant is None or meant == form:
        return meant
    if form is not None:
        raise UsageError(
            f"--format {form} does not fit --out {out}, whose ending is that of {meant}.",
            f"Leave out --format, or choose an ending such as .{'txt' if form == 'table' else form}.",
        )
    if meant not in forms:
        raise UsageError(
            f"The ending of --out {out} is that of {meant}, which this command cannot write.",
            f"Choose from {', '.join(forms)}.",
        )
    return meant
