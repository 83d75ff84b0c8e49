"""Names of files, and of what is in them, that are not Unicode: as distinct text that can be written."""

from __future__ import annotations

import re
from typing import Any

_LONE = re.compile("[\ud800-\udfff]")
_FIRST_BYTE = 0xDC00  # as Python decodes file names: byte 0xff is U+DCFF
# A pair, a half or any other escape in JSON; the half alone has a group.
_IN_JSON = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def escaped(text: str) -> str:
    r"""A text in which lone surrogates are spelt out: ``caf\xe9.png`` for a byte that is not UTF-8; ``\ud800``.

    Two names that differ still do, as they would not if both had U+FFFD instead.
    """
    return text if text.isascii() else _LONE.sub(lambda found: _spelt(ord(found[0])), text)


def escaped_all(value: Any) -> Any:
    """JSON types with every text, keys included, as :func:`escaped` has it."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {escaped_all(key): escaped_all(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [escaped_all(part) for part in value]
    return value


def escaped_json(text: str) -> str:
    """JSON whose texts spell no lone surrogates, but what :func:`escaped` makes of them."""

    def mend(found: re.Match[str]) -> str:
        return found[0] if found[1] is None else "\\" + _spelt(int(found[1], 16))

    return _IN_JSON.sub(mend, text)


def is_text(text: str) -> bool:
    """Whether a text is Unicode, with no lone surrogate in it."""
    return text.isascii() or _LONE.search(text) is None


def _spelt(code: int) -> str:
    return f"\\x{code - _FIRST_BYTE:02x}" if _FIRST_BYTE + 0x80 <= code <= _FIRST_BYTE + 0xFF else f"\\u{code:04x}"
