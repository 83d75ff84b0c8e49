"""Write the measured tables of docs/storage.md from docs/figures, or check that they are up to date (--check).

A table stands between ``<!-- figures: NAME.json -->`` and ``<!-- end of figures -->``; the file is what a benchmark
wrote with ``--json``, and names the command.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from lensbank.docs.making import write_or_check

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from benchmarks.figures import tables  # noqa: E402
from benchmarks.search_table import machine_in_words  # noqa: E402

PAGE = DOCS / "storage.md"
_BLOCK = re.compile(r"(<!-- figures: ([\w.-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def render(text: str) -> str:
    """A page with its tables as the figures are now."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{figures(block[2])}\n\n{block[3]}", text)


def figures(name: str) -> str:
    """The tables of one file of figures."""
    of: dict[str, Any] = json.loads((DOCS / "figures" / name).read_text(encoding="utf-8"))
    load = f", with a load of {of['machine']['load']} when it began" if of["machine"].get("load") is not None else ""
    said = f"`{of['command']}` on {machine_in_words(of['machine'])}{load}{of.get('note', '')}:"
    return f"{said}\n\n{tables(of)}"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, render(PAGE.read_text(encoding="utf-8"))))
