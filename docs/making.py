"""Write a file of docs/ that a program makes, or check that it is up to date (--check)."""

import sys
from pathlib import Path


def write_or_check(path: Path, text: str) -> int:
    """Write a file; where ``--check`` is among the program's arguments, compare it with what would be written.

    Returns:
        Exit code: 1 where the file is missing or differs, which stderr says.
    """
    if "--check" not in sys.argv[1:]:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"docs/{path.name} is not what {Path(sys.argv[0]).name} makes: run `make docs` and commit it\n")
    return 1
