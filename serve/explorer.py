"""The explorer: the page of show/, kept filled by this server."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from starlette.responses import HTMLResponse

from ..show.report import Live, to_live_html

# In the order in which they are joined, after those of the page.
_SCRIPTS = ("merge.js", "asker.js", "follow.js", "contexts.js", "store.js", "live.js")


def explorer() -> HTMLResponse:
    """The page, with the policy that lets it ask this server and nobody else."""
    page, policy = _page()
    return HTMLResponse(page, headers={"content-security-policy": f"{policy}; frame-ancestors 'none'"})


@cache
def _page() -> tuple[str, str]:
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    return to_live_html(Live(_asset("live.css"), script, _asset("asker.html")))


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")
