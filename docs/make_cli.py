"""Write docs/cli.md from the commands' own help, or check that it is up to date (--check)."""

import sys
from pathlib import Path

import click

from lensbank import cli

ROOT = Path(__file__).resolve().parent.parent

PAGE = ROOT / "docs" / "cli.md"
INTRO = """# Commands

`lensbank` (installed) and `python cli.py` (in a checkout) are the same program.
Results go to stdout, progress and messages to stderr.
Exit codes: 0 done, 1 the work failed, 2 the command asks for something that cannot be, 130 interrupted
(143 by SIGTERM).

This page is written from `--help` by `make docs`.
"""


def render() -> str:
    """The whole page."""
    context = click.Context(cli.main_group, info_name="lensbank", max_content_width=88, terminal_width=88)
    return "\n".join([INTRO, _block(context), *_commands(cli.main_group, context)])


def _commands(group: click.Group, context: click.Context) -> list[str]:
    """Heading and help of every command, those of groups after their group's."""
    parts = []
    for name, command in sorted(group.commands.items()):
        inner = click.Context(command, info_name=name, parent=context, max_content_width=88, terminal_width=88)
        parts += [f"## {inner.command_path.partition(' ')[2]}\n", _block(inner)]
        if isinstance(command, click.Group):
            parts += _commands(command, inner)
    return parts


def _block(context: click.Context) -> str:
    return f"```text\n{context.get_help()}\n```\n"


def main() -> int:
    """Write or check the page."""
    text = render()
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("docs/cli.md differs from --help. Run `make docs` and commit it.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
