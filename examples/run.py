"""Run a notebook's code cells in order, without Jupyter: ``python examples/run.py NOTEBOOK... [--write]``.

Cells run in one namespace, in the notebook's own folder. Kept as outputs: what is printed, and the value of a cell's
last line: a figure or an image as a small PNG, anything else as text. With ``--write`` they replace those in the file.
"""

from __future__ import annotations

import argparse
import ast
import base64
import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

#: Widest image that is kept, in pixels.
_WIDEST = 760


def run(path: Path) -> dict[str, Any]:
    """The notebook with the outputs of this run; an error ends it as it would in Jupyter."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for number, cell in enumerate(code, 1):
            cell["execution_count"] = number
            cell["outputs"] = _outputs("".join(cell["source"]), names, number, f"{path.name}, cell {number}")
    finally:
        os.chdir(before)
    return notebook


def _outputs(source: str, names: dict[str, Any], number: int, where: str) -> list[dict[str, Any]]:
    body = ast.parse(source, where).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), where, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    if value is not None:
        shown = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": _data(value)}
        outputs.append(shown)
    return outputs


def _data(value: Any) -> dict[str, Any]:
    picture = _picture(value)
    if picture is None:
        return {"text/plain": repr(value).splitlines(keepends=True)}
    return {"image/png": base64.b64encode(picture).decode("ascii"), "text/plain": [f"<{type(value).__name__}>"]}


def _picture(value: Any) -> bytes | None:
    """A figure of matplotlib or an image of Pillow as a PNG of few colours."""
    from PIL import Image

    if hasattr(value, "savefig"):
        file = io.BytesIO()
        value.savefig(file, dpi=80)
        value = Image.open(file)
    if not isinstance(value, Image.Image):
        return None
    small = value.convert("RGB")
    small.thumbnail((_WIDEST, _WIDEST))
    file = io.BytesIO()
    small.quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="keep the outputs in the file")
    options = parser.parse_args()
    for path in options.notebooks:
        text = json.dumps(run(path), indent=1, ensure_ascii=False) + "\n"
        if options.write:
            path.write_text(text, encoding="utf-8")
        else:
            sys.stdout.write(text)


if __name__ == "__main__":
    main()
