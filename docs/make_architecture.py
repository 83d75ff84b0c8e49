"""Draw docs/architecture.svg, who imports whom, from the code's own imports; --check: is it up to date?"""

import ast
import sys
from pathlib import Path

from lensbank.docs.making import write_or_check

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
# Name, what it does, where its middle stands (pixels), and its row: from what a user calls down to what all rests on.
ROOMS = (
    ("cli", "the command", 290, 0),
    ("api", "import lensbank", 640, 1),
    ("commands", "options, progress, exit codes", 290, 1),
    ("ingest", "corpus to banks", 150, 3),
    ("evaluate", "measures, statistics, judges", 440, 4),
    ("cluster", "ingest on Ray's workers", 150, 2),
    ("serve", "explorer and HTTP interface", 640, 2),
    ("images", "image banks: index, find", 640, 3),
    ("query", "image or text to readings", 440, 5),
    ("show", "table, JSON, page, figures", 750, 5),
    ("banks", "overview, verify, copy", 290, 6),
    ("models", "torch, transformers", 150, 7),
    ("store", "Qdrant: embedded, server", 440, 7),
    ("schemas", "what is stored, returned, goes wrong", 595, 8),
)
WIDTH, ROW, BOX, TALL = 890, 92, 236, 52
STYLE = (
    "text{font-family:Helvetica,Arial,sans-serif;fill:#1c1b19}.n{font-size:16px;font-weight:700}.d{font-size:12px}"
    "rect{fill:#fbf7ee;stroke:#1c1b19;stroke-width:1.5}path{fill:none;stroke:#8a8170;stroke-width:1.2}"
    ".bg{fill:#fff;stroke:none}"
)


def imports() -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second."""
    found = set()
    for name, *_ in ROOMS:
        files = {"api": ["api.py", "drawing.py"], "cli": ["cli.py"]}.get(name)  # two files of one part
        paths = [ROOT / file for file in files] if files else sorted((ROOT / name).rglob("*.py"))
        for path in paths:
            here = list(path.relative_to(ROOT).parent.parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level:
                    parts = here[: len(here) - node.level + 1] + (node.module or "").split(".")
                    found |= {(name, room) for room in [next(filter(None, parts), None) or node.names[0].name]}
    return {(one, other) for one, other in found if one != other}


def direct(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without the pairs that follow from others: an arrow for every step, none for every way."""
    return {
        (one, other)
        for one, other in pairs
        if not any(
            (one, middle) in pairs and _reaches(pairs, middle, other) for middle in {b for _, b in pairs} - {other}
        )
    }


def _reaches(pairs: set[tuple[str, str]], one: str, other: str) -> bool:
    return (one, other) in pairs or any(_reaches(pairs, middle, other) for first, middle in pairs if first == one)


def draw() -> str:
    """The picture."""
    places, boxes = {}, []
    for name, what, middle, row in ROOMS:
        y = 20 + row * ROW
        places[name] = (middle, y)
        boxes.append(
            f'<rect x="{middle - BOX // 2}" y="{y}" width="{BOX}" height="{TALL}" rx="7"/>'
            f'<text class="n" text-anchor="middle" x="{middle}" y="{y + 22}">{name}</text>'
            f'<text class="d" text-anchor="middle" x="{middle}" y="{y + 40}">{what}</text>'
        )
    arrows = []
    for one, other in sorted(direct({pair for pair in imports() if set(pair) <= set(places)})):
        (x0, y0), (x1, y1) = places[one], places[other]
        arrows.append(
            f'<path marker-end="url(#a)" d="M{x0} {y0 + TALL} C{x0} {y0 + TALL + 30},{x1} {y1 - 34},{x1} {y1 - 3}"/>'
        )
    height = 20 + (1 + max(row for *_, row in ROOMS)) * ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f"<title>The rooms of lensbank; arrows point from a room to the one it imports</title><style>{STYLE}</style>"
        '<defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0 0L8 4L0 8" style="fill:#8a8170;stroke:none"/></marker></defs>'
        f'<rect class="bg" width="{WIDTH}" height="{height}"/>{"".join(arrows)}{"".join(boxes)}</svg>\n'
    )


if __name__ == "__main__":
    sys.exit(write_or_check(PICTURE, draw()))
