"""Addresses as others may see them: what opens a door is left out."""

from __future__ import annotations

import re

_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)([^\s\"'<>]*)")
_END = ".,;:!)]}"  # of the sentence, not of the URL


def without_secrets(text: str) -> str:
    """A text whose URLs have lost user names, passwords, query strings and fragments."""
    return _URL.sub(_public, text) if "://" in text else text


def _public(match: re.Match[str]) -> str:
    scheme, rest = match[1], match[2]
    kept = rest.rstrip(_END)
    tail = rest[len(kept) :]
    plain = re.split(r"[?#]", kept, maxsplit=1)[0]
    host, slash, path = plain.partition("/")
    return scheme + host.rpartition("@")[2] + slash + path + tail
