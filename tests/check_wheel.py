"""What a wheel holds, and that it works where other people's folders have the names of ours (`make wheel`).

Run as `python tests/check_wheel.py WHEEL PYTHON`, where PYTHON belongs to an environment in which nothing but the
wheel and what it asks for is installed.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

THEIRS = (
    "models/__init__.py",
    "models/capture.py",
    "store.py",
    "query.py",
    "schemas/__init__.py",
    "commands/__init__.py",
)
THEIRS += ("ingest/__init__.py", "evaluate.py", "show.py", "banks.py", "cli.py", "api.py", "bootstrap.py")
NAMES = sorted({name.split("/")[0].removesuffix(".py") for name in THEIRS})

OURS = """
import tempfile
import numpy as np
import lensbank
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.corpora import CorpusRecord
from lensbank.show.report import to_html
assert "</html>" in to_html([], [])
assert callable(lensbank.ingest) and callable(lensbank.evaluate) and lensbank.__version__
identity = BankIdentity(
    model="m", revision=None, weights="w" * 64, tokenizer="t" * 64, layer=1, n_layers=2, dim=8,
    compute_dtype="float32", vector_dtype="float32", max_contexts=None, seed=0,
)
row = dict(
    word="dog", token="dog", token_id=1, sentence="dog", char_start=0, char_end=3, position=0, is_word=True,
    corpus="c", document="d", norm=1.0,
)
ids = ["00000000-0000-4000-8000-%012d" % n for n in range(3)]
with tempfile.TemporaryDirectory() as folder, lensbank.open_store(folder, create=True) as store:
    with store.writer([identity], "m") as writer:  # a process of its own
        writer.put(ids, [row] * 3, {1: np.eye(3, 8, dtype="float32")}, {1: np.ones(3, "float32")})
        writer.finish(CorpusRecord(name="c", fingerprint="f" * 64, sentences=1, tokens=3, rows=3))
    with store.open(identity) as bank:
        assert bank.count() == 3 and bank.search(np.eye(1, 8, dtype="float32"), 1)[0][0].id == ids[0]
"""
THEIR_SIDE = f"""
for name in {NAMES!r}:
    assert __import__(name).OWNER == "somebody else", name
"""


def contents(wheel: Path) -> set[str]:
    """Names of the wheel's files; what must not be in it ends the check."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2 and {name.split("-")[0] for name in tops} == {"lensbank"}, sorted(tops)
    for needed in (
        "py.typed",
        "__main__.py",
        "cli.py",
        "show/assets/report.html",
        "serve/assets/live.js",
        "evaluate/judging/label.html",
    ):
        assert f"lensbank/{needed}" in names, needed
    rooms = {name.split("/")[1] for name in names}
    assert not rooms & {"tests", "demo", "benchmarks", "docs", ".cache", "build"}, sorted(rooms)
    return names


def run(python: str, *args: str, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([python, *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout


def main() -> None:
    """All of it."""
    wheel, python = Path(sys.argv[1]).resolve(), os.path.abspath(sys.argv[2])
    names = contents(wheel)
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        for name in THEIRS:
            (there / name).parent.mkdir(exist_ok=True)
            (there / name).write_text('OWNER = "somebody else"\n')
        for code in (OURS + THEIR_SIDE, THEIR_SIDE + OURS):
            run(python, "-c", code, cwd=there)
        command = str(Path(python).with_name("lensbank"))
        for args in (["--help"], ["ingest", "--help"], ["query", "--help"], ["--version"]):
            shown = {run(python, "-m", "lensbank", *args, cwd=there), run(python, command, *args, cwd=there)}
            assert len(shown) == 1, shown
        where = run(python, "-c", "import lensbank; print(lensbank.__file__)", cwd=there)
        assert "site-packages" in where, where
    print(
        json.dumps(
            {
                "wheel": wheel.name,
                "top level": ["lensbank", wheel.name.split("-py3")[0] + ".dist-info"],
                "files": len(names),
            }
        )
    )


if __name__ == "__main__":
    main()
