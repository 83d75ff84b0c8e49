"""A page to label with: one file that opens from disk beside its pictures and sends nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

_MARK = "/*items*/"
# What could end a script element, begin a comment in one, or end a line of it.
_ESCAPED = re.compile("[<>&\u2028\u2029]")


def labelling_page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page.

    Args:
        rows: the items as :mod:`evaluate.judging.export` lists them.
    """
    shown = [{name: row[name] for name in ("item", "picture", "crop", "words")} for row in rows]
    data = {"list": hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16], "rows": shown}
    text = _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(data, ensure_ascii=False))
    page = (files(__package__) / "label.html").read_text(encoding="utf-8")
    before, mark, after = page.partition(_MARK)
    if not mark:
        raise ValueError("label.html has no place for the items")
    return before + text + after
