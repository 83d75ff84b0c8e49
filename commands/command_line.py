"""What one types to run a command again."""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

import click

# What shows how the work goes on, and not what its result is.
_OF_NO_EFFECT = ("debug", "silent")


def typed(word: object) -> str:
    """A word as a shell takes it; what cannot be printed is spelt as bash and zsh take it."""
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escaped(char) for char in text) + "'"


def _escaped(char: str) -> str:
    if char.isprintable():
        return "\\" * (char in "\\'") + char
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def command_line(context: click.Context) -> str:
    """What one types to run a command again: all that was chosen, by options or the environment.

    Passwords in URLs are left out: the line is shown to a result's readers.
    """
    words = ["lensbank", context.info_name or ""]
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        chosen = source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
        if not chosen or name in _OF_NO_EFFECT:
            continue
        value = context.params[name]
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(parameter, click.Option):
            words += _option_words(parameter, values)
        else:
            words += map(str, values)
    return re.sub(r"//[^/@\s]*@", "//", shlex.join(words))


def _option_words(option: click.Option, values: tuple[Any, ...]) -> list[str]:
    if option.is_flag:
        return [option.opts[0] if values[0] else option.secondary_opts[0]]
    return [word for value in values for word in (option.opts[0], str(value))]
