"""The description of the HTTP interface as a page for people."""

from __future__ import annotations

import html
from typing import Any

_HEAD = "<!doctype html><html lang=en><meta charset=utf-8><title>lensbank HTTP interface</title>"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code{font-family:ui-monospace,monospace}h2{margin-top:2.5rem}table{border-collapse:collapse}"
    "td{padding:.2rem 1rem .2rem 0;vertical-align:top}"
)


def description_page(document: dict[str, Any]) -> str:
    """The description for people: no script, nothing from elsewhere."""
    parts = [f"<h1>{html.escape(document['info']['title'])}: HTTP interface</h1>"]
    parts.append(
        f"<p>{html.escape(document['info']['description'])} The same for programs: <code>/openapi.json</code>.</p>"
    )
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(about['summary'])}. {html.escape(about.get('description', ''))}</p>")
            rows = [(each["name"], each.get("description", "")) for each in about.get("parameters", ())]
            rows += [(code, answer["description"]) for code, answer in about["responses"].items()]
            parts.append(_table(rows))
    for name, schema in document["components"]["schemas"].items():
        fields = schema["properties"].items()
        parts.append(f"<h2>{html.escape(name)}</h2>" + _table([(f, s.get("description", "")) for f, s in fields]))
    head = f"{_HEAD}<style>{_STYLE}</style>"
    return head + "".join(parts) + "</html>"


def _table(rows: list[tuple[str, str]]) -> str:
    cells = (f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(said)}" for name, said in rows)
    return f"<table>{''.join(cells)}</table>"
