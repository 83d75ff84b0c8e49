"""A checkout that nobody installed: `python cli.py` runs its own code, and so do the processes that it starts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("commands", "schemas", "models", "store", "banks", "ingest", "query", "evaluate", "show")
ASK = """
import sys
sys.argv = ["cli.py", "--version"]
import runpy
try:
    runpy.run_path({cli!r}, run_name="__main__")
except SystemExit:
    pass
import lensbank
from lensbank.store.embedded.processes import spawning
from multiprocessing import get_context
parent, child = get_context("spawn").Pipe()
from lensbank import where
with spawning():
    process = get_context("spawn").Process(target=where.tell, args=(child,))
    process.start()
print(lensbank.__file__, parent.recv())
process.join()
"""


@pytest.fixture
def clone(tmp_path):
    """A copy of the checkout in a folder whose name is no module's."""
    folder = tmp_path / "my-clone (2)"
    folder.mkdir()
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "where.py").write_text("def tell(pipe):\n    import lensbank\n    pipe.send(lensbank.__file__)\n")
    return folder


def test_it_and_its_processes_run_its_own_code(clone, tmp_path):
    code = ASK.format(cli=str(clone / "cli.py"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    version, where = done.stdout.splitlines()
    assert version.startswith("lensbank, version")
    assert where == f"{clone / '__init__.py'} {clone / '__init__.py'}"


def test_its_command_answers_beside_foreign_folders(clone, tmp_path):
    for name in ("models", "store", "query", "schemas"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('somebody else')")
    command = [sys.executable, str(clone / "cli.py"), "banks", "list", "--store", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1 and "nowhere" in done.stderr and "Traceback" not in done.stderr, done.stderr
