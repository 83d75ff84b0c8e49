"""The figures of a benchmark: printed as tables, and kept as JSON for docs/storage.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.cost_tables import image_table, ingest_table, memory_table, opening_table
from benchmarks.search_table import copy_table, filters_table, real_table, share_table, start_table, table, write_table

#: The key of a result that says which table it is.
KINDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "sets": lambda of: "\n\n".join(map(table, of["sets"])),
    "layers": real_table,
    "filters": filters_table,
    "parts": start_table,
    "writing": write_table,
    "copying": copy_table,
    "sharing": share_table,
    "ingest": ingest_table,
    "opening": opening_table,
    "reading": image_table,
    "ingests": memory_table,
}


def tables(of: Mapping[str, Any]) -> str:
    """The tables of a result, as Markdown.

    Raises:
        StopIteration: it has no key of :data:`KINDS`.
    """
    return next(shown for name, shown in KINDS.items() if name in of)(of)


def keep(of: Mapping[str, Any], path: Path | None) -> None:
    """Write a result to a file, where one is named."""
    if path is not None:
        path.write_text(json.dumps(of, indent=1) + "\n", encoding="utf-8")


def shown(of: Mapping[str, Any], path: Path | None) -> None:
    """Print the tables of a result, and keep it where a file is named."""
    print(tables(of))
    keep(of, path)
