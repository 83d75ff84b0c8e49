"""Tokens that are not words, spelt visibly and distinctly: spaces, line ends, punctuation, bytes."""

from __future__ import annotations

import re
import unicodedata

from .display import clean

#: What white space looks like, as it is and as tokenizers write it.
_VISIBLE = {" ": "␣", "\u00a0": "␣", "Ġ": "␣", "▁": "␣", "\n": "↵", "Ċ": "↵", "\r": "␍", "č": "␍", "\t": "⇥", "ĉ": "⇥"}
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_MOST_ALIKE = 3


def spelled(text: str, token: str) -> str | None:
    """The spelling of a token that a reader could not see or not tell apart; ``None`` where it is a word.

    ``␣``, ``↵``, ``⇥`` are white space, ``␣×8`` eight spaces; ``“,”`` is punctuation; ``<0xE2>`` a byte that is no
    whole character; ``U+200B`` a character that shows nothing.

    Args:
        text: what it stands for: a word, or characters of a text.
        token: the tokenizer's own string.
    """
    if _BYTE.fullmatch(token):
        return token
    if "\\x" in text or "\ufffd" in text:
        known = _of_bytes(token)
        if known is not None and _BYTE.search(known):
            return known
    bare = clean(text).strip()
    if bare:
        return f"“{bare}”" if all(map(_is_mark, bare)) else None
    hidden = text or _of_bytes(token) or token
    return _runs([_VISIBLE.get(char) or _named(char) for char in hidden]) if hidden else None


def decoded(token: str) -> str:
    """What a tokenizer's string stands for, with the space before it; the string itself if that is not known."""
    text = _of_bytes(token)
    return token.replace("▁", " ") if text is None or _BYTE.search(text) else text


def part_of_character(token: str, piece: str) -> str | None:
    """The bytes of a byte-level token that is no whole character, ``<0xF0>``; ``None`` of any other.

    Args:
        token: the tokenizer's own string: of a byte, a letter that other tokenizers have for the letter itself.
        piece: the characters of the text that the token is a part of, which tell the two apart.
    """
    known = _of_bytes(token)
    if known is None or not _BYTE.search(known):
        return None
    alike = unicodedata.normalize("NFKC", token).casefold() == unicodedata.normalize("NFKC", piece).casefold()
    return None if alike else known


def _is_mark(char: str) -> bool:
    """Punctuation, and the signs that are used like it; no emoji."""
    category = unicodedata.category(char)
    return char == " " or category[0] == "P" or category in ("Sm", "Sc", "Sk")


def _named(char: str) -> str:
    """A character that can be seen as it is; another by its number."""
    return char if clean(char).strip() else f"U+{ord(char):04X}"


def _runs(signs: list[str]) -> str:
    """Signs in a row; of more than a few alike their number."""
    shown: list[str] = []
    start = 0
    for end in range(1, len(signs) + 1):
        if end == len(signs) or signs[end] != signs[start]:
            count = end - start
            shown.append(signs[start] * count if count <= _MOST_ALIKE else f"{signs[start]}×{count}")
            start = end
    return "".join(shown)


def _byte_letters() -> dict[str, int]:
    """The letter that byte-level tokenizers write for each byte: itself, or one from U+0100 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(0x100 + place): byte for place, byte in enumerate(hidden)}


_BYTES = _byte_letters()


def _of_bytes(token: str) -> str | None:
    """What a byte-level tokenizer's string stands for, bytes that are no whole character in figures."""
    if not token or not all(char in _BYTES for char in token):
        return None
    data = bytes(_BYTES[char] for char in token)
    text = data.decode("utf-8", "backslashreplace")
    if "\\x" not in text:
        return text
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: f"<0x{found[1].upper()}>", text).strip()
