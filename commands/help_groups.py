"""Help whose options stand under headings, in the order of the questions that one has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

#: Headings of options that several commands share.
SHARED: Mapping[str, Sequence[str]] = {
    "Model": (
        *("model", "revision", "device", "dtype", "device_map", "max_memory", "offload_folder", "load_in"),
        "trust_remote_code",
    ),
    "Store": ("store_target", "server_options"),
    "Messages": ("silent", "debug", "help"),
}


class WithValue(click.Option):
    """A flag that may be given a value as `--flag=VALUE`; what follows it after a space is the command's own.

    The value is another option's, which is hidden; :class:`GroupedCommand` puts it there.
    """

    def __init__(self, *args: Any, value: tuple[str, str], **settings: Any) -> None:
        """As click's.

        Args:
            args: click's.
            value: name of the hidden option, and what help calls its value.
            settings: click's.
        """
        super().__init__(*args, **settings)
        self.value, self.shown = value

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As click's, with the value."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        return record[0].replace(self.opts[0], f"{self.opts[0]}[={self.shown}]", 1), record[1]

    def apart(self, word: str) -> list[str]:
        """A word of the command line: the flag with its value as two options, others as they are."""
        flag, sign, value = word.partition("=")
        return [flag, f"{self.value}={value}"] if sign and flag in self.opts else [word]


class GroupedCommand(click.Command):
    """A command whose help lists options under headings: its own first, then :data:`SHARED`."""

    def __init__(self, *args: Any, groups: Mapping[str, Sequence[str]], **settings: Any) -> None:
        """As click's.

        Args:
            args: click's.
            groups: heading → names of parameters, in their order.
            settings: click's.
        """
        super().__init__(*args, **settings)
        self.groups = {**groups, **SHARED}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; see :class:`WithValue`."""
        ours = args.index("--") if "--" in args else len(args)
        for option in self.get_params(ctx):
            if isinstance(option, WithValue):
                words = [part for word in args[:ours] for part in option.apart(word)]
                ours, args = len(words), words + args[ours:]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, by heading; what no heading names stands last."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        records = {_name(option): option.get_help_record(ctx) for option in options}
        headings = [(heading, [records.pop(name, None) for name in names]) for heading, names in self.groups.items()]
        for heading, found in (*headings, ("Other options", list(records.values()))):
            if rows := [record for record in found if record is not None]:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def _name(option: click.Option) -> str:
    """Of the parameter; click has a name of its own for its option ``--help``."""
    return "help" if "--help" in option.opts else option.name or ""
