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
