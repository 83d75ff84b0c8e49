"""Write docs/package-index.md, README.md as a package index can show it, or check that it is up to date (--check).

An index shows neither pictures of the repository nor pages beside README.md, so pictures are left out and links name
the file they lead to. Addresses of the web stay.
"""

import re
import sys
from pathlib import Path

from lensbank.docs.making import write_or_check

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "package-index.md"
NOTE = "*Files that this page names are in the project's repository.*\n\n"


def render() -> str:
    """The page."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)\n\n?", "", (ROOT / "README.md").read_text(encoding="utf-8"))
    text = re.sub(r"\[([^\]]+)\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", _named, text)
    title, rest = text.split("\n\n", 1)
    return f"{title}\n\n{NOTE}{rest}"


def _named(link: re.Match[str]) -> str:
    shown, target = link[1], link[2]
    return f"`{target}`" if shown == target else f"{shown} (`{target}`)"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, render()))
