"""Write docs/cli.md from the commands' own help, or check that it is up to date (--check)."""

import os
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import click

from lensbank import cli
from lensbank.docs.making import write_or_check

ROOT = Path(__file__).resolve().parent.parent

PAGE = ROOT / "docs" / "cli.md"
INTRO = """# Commands

`lensbank` (installed) and `python cli.py` (in a checkout) are the same program.
Results go to stdout, progress and messages to stderr.
Exit codes: 0 done, 1 the work failed, 2 the command asks for something that cannot be, 130 interrupted
(143 by SIGTERM).

This page is what `lensbank COMMAND --help` prints on a terminal of 80 columns or more, written by `make docs`.
Values of options can be completed with the Tab key: [completion.md](completion.md).
"""


def render() -> str:
    """The whole page."""
    return "\n".join([INTRO, _block(()), *_commands(cli.main_group, ())])


def _commands(group: click.Group, path: tuple[str, ...]) -> list[str]:
    """Heading and help of every command, those of groups after their group's."""
    parts = []
    for name, command in sorted(group.commands.items()):
        inner = (*path, name)
        parts += [f"## {' '.join(inner)}\n", _block(inner)]
        if isinstance(command, click.Group):
            parts += _commands(command, inner)
    return parts


def _block(path: tuple[str, ...]) -> str:
    """What the program prints."""
    os.environ["COLUMNS"] = "80"
    printed = StringIO()
    with redirect_stdout(printed):
        cli.main_group([*path, "--help"], prog_name="lensbank", standalone_mode=False)
    return f"```text\n{printed.getvalue()}```\n"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, render()))
