"""Draw docs/method.svg, how LatentLens reads a visual token; --check: is it up to date?"""

import sys
from pathlib import Path

from lensbank.docs.making import write_or_check

PICTURE = Path(__file__).resolve().parent / "method.svg"
WIDTH, HEIGHT = 890, 300
STYLE = (
    "text{font-family:Helvetica,Arial,sans-serif;fill:#1c1b19;font-size:13px}.n{font-size:15px;font-weight:700}"
    "rect{fill:#fbf7ee;stroke:#1c1b19;stroke-width:1.5}.llm{fill:#e8eef7}.bank{fill:#eaf3e6}.bg{fill:#fff;stroke:none}"
    "path{fill:none;stroke:#8a8170;stroke-width:1.6;marker-end:url(#head)}.found{stroke:#3f7d33;stroke-width:2.4}"
)
# Left edge, top edge, width, height, class, heading, lines.
INSIDE = (
    "the same weights read",
    "text and visual tokens",
    "",
    "layer 0, 1, 2, … N:",
    "a hidden state for",
    "every token",
)
BOXES = (
    (20, 30, 170, 76, "", "A text corpus", ("“The yellow rose needs", "little water.” …")),
    (20, 190, 170, 76, "", "An image", ("patches, as visual tokens", "through the connector")),
    (270, 30, 180, 236, "llm", "The model’s own LLM", INSIDE),
    (530, 30, 150, 106, "bank", "Bank (Qdrant)", ("text tokens’ states", "in their sentences,", "one bank per layer")),
    (530, 190, 150, 76, "", "A visual token", ("its state at the layer", "that is asked about")),
    (740, 100, 130, 96, "", "Its words", ("the nearest text", "states: “rose” in", "its sentence, 0.85")),
)
# The two ways through the model, what is compared, and what comes out of it.
ARROWS = (
    ("M190 68H266", ""),
    ("M190 228H266", ""),
    ("M450 68H526", ""),
    ("M450 228H526", ""),
    ("M680 84C715 84 715 125 736 133", "found"),
    ("M680 228C715 228 715 180 736 166", "found"),
)


def render() -> str:
    """The picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f"<title>How LatentLens reads a visual token</title><style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" style="fill:#8a8170;stroke:none;marker-end:none"/></marker></defs>',
        f'<rect class="bg" width="{WIDTH}" height="{HEIGHT}"/>',
    ]
    for x, y, width, height, kind, heading, lines in BOXES:
        parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        parts.append(f'<text class="n" x="{x + 12}" y="{y + 24}">{heading}</text>')
        parts += [
            f'<text x="{x + 12}" y="{y + 44 + 18 * number}">{line}</text>' for number, line in enumerate(lines) if line
        ]
    parts += [f'<path class="{kind}" d="{way}"/>' for way, kind in ARROWS]
    parts.append('<text x="610" y="168" text-anchor="middle">cosine, all layers</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    sys.exit(write_or_check(PICTURE, render()))
