"""The page: one HTML file that holds the readings, their images and everything that shows them.

It opens from disk and asks no network for anything: a Content-Security-Policy forbids it, and allows
only the page's own script and style, by their hashes. All texts of corpora, models and file names
travel as deflated JSON in base64, which the browser inflates, and become text nodes, never markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ..schemas.results import Reading
from .chips import readable
from .pictures import Drawn, data_url, of_images, sources
from .report_data import pack, to_text

# In the order in which they are joined: a script uses what stands in those before it when it runs.
STYLES = (
    "theme.css",
    "page.css",
    "figure.css",
    "panel.css",
    "position.css",
    "overview.css",
    "gallery.css",
    "compare.css",
    "print.css",
)
SCRIPTS = (
    "dom.js",
    "data.js",
    "state.js",
    "colors.js",
    "layout.js",
    "chips.js",
    "paint.js",
    "figure.js",
    "panel.js",
    "position.js",
    "depth.js",
    "compare.js",
    "peek.js",
    "gallery.js",
    "overview.js",
    "provenance.js",
    "export.js",
    "keys.js",
    "main.js",
)
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_TITLE = 80


def to_html(readings: Sequence[Reading], pictures: Sequence[Drawn], command: str = "") -> str:
    """A page with all readings in it.

    Args:
        readings: at least one.
        pictures: what each reading's images are drawn on; see :func:`show.pictures.of_images`.
        command: what makes the page again, shown to its readers; may be empty.

    Raises:
        ValueError: a number is NaN or infinite; layers of a reading that do not have the same tokens.
    """
    drawn = [of_images(reading, picture) for reading, picture in zip(readings, pictures, strict=True)]
    data = pack(readings, [[None if one is None else data_url(one) for one in images] for images in drawn])
    data["command"] = readable(command)
    names = ", ".join(readable(name) or "(no text)" for reading in readings for name in sources(reading))
    return _filled(data, names if len(names) <= _TITLE else names[: _TITLE - 1] + "…")[0]


@dataclass(frozen=True)
class Live:
    """What a page that a server keeps filling has beyond that of a file.

    Attributes:
        style: its style, after all others.
        script: its script, after all others and in one scope with them.
        markup: above the readings.
    """

    style: str
    script: str
    markup: str


def to_live_html(live: Live) -> tuple[str, str]:
    """A page without readings, whose script asks the server that it came from for them; and its policy.

    The policy is that of :func:`to_html`, but for requests to that server and its pictures.
    """
    return _filled({**pack([], []), "command": ""}, "explorer", live)


def _filled(data: dict[str, Any], title: str, live: Live | None = None) -> tuple[str, str]:
    """The page and its policy."""
    style, script = _joined(STYLES), _joined(SCRIPTS)
    if live is not None:
        style, script = f"{style}\n{live.style}", f"{script}\n{live.script}"
    script = f'"use strict";\n(async () => {{\n{script}}})();\n'
    asks = "img-src data: blob: 'self'; connect-src 'self'" if live is not None else "img-src data:"
    policy = (
        f"default-src 'none'; {asks}; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    slots = {
        "title": html.escape(title),
        "policy": policy,
        "style": style,
        "live": "" if live is None else live.markup,
        "script": script,
        "data": to_text(data),
    }
    return _SLOT.sub(lambda match: slots[match[1]], _asset("report.html")), policy


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _joined(names: Sequence[str]) -> str:
    return "\n".join(_asset(name) for name in names)


def _hash(text: str) -> str:
    """As a Content-Security-Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
