"""The files of an evaluation: table, summary, plots and report. Needs no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..schemas.errors import UsageError
from ..schemas.files import write_whole
from ..schemas.frames import to_csv
from .example_pictures import FILES, file_of
from .report import to_markdown, to_table
from .tables import flat, flat_gaps, to_latex

SUMMARY_FILE, REPORT_FILE, TABLE_FILE = "summary.json", "report.md", "table.txt"
CSV_FILE, LATEX_FILE, GAPS_FILE, ANSWERS_TABLE = "table.csv", "table.tex", "gaps.csv", "answers.csv"


def write_outputs(summary: Mapping[str, Any], out: Path) -> tuple[str, str | None]:
    """Write the summary, the table, the plots and the report.

    Returns:
        The table, and why there are no plots (``None`` where there are).
    """
    from .plots import draw

    out.mkdir(parents=True, exist_ok=True)
    table = to_table(summary)
    write_whole(out / SUMMARY_FILE, json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_whole(out / TABLE_FILE, table + "\n")
    write_whole(out / CSV_FILE, to_csv(flat(summary)))
    if gaps := list(flat_gaps(summary)):
        write_whole(out / GAPS_FILE, to_csv(gaps))
    if "answers" in summary:
        write_whole(out / ANSWERS_TABLE, to_csv(flat(summary["answers"])))
    if latex := to_latex(summary):
        write_whole(out / LATEX_FILE, latex)
    lacking = None
    try:
        plots = draw(summary, out)
    except UsageError as error:
        plots, lacking = [], str(error)
    write_whole(out / REPORT_FILE, to_markdown(summary, plots, _pictures(summary, out)))
    return table, lacking


def _pictures(summary: Mapping[str, Any], out: Path) -> list[tuple[str, Mapping[str, Any], str]]:
    """The pictures of examples that are there: their kind, what they are of, and their names."""
    named = [(kind, of, file_of(kind, n)) for n, of in enumerate(summary.get("examples", ())) for kind in FILES]
    return [one for one in named if (out / one[2]).exists()]
