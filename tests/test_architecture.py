"""The structure of the code, held by tests: who may import whom, and where each thing is done."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("commands", "schemas", "models", "store", "ingest", "query", "demo", "benchmarks")
# What each part may import of the others.
ALLOWED = {
    "schemas": set(),
    "models": {"schemas"},
    "store": {"schemas"},
    "ingest": {"models", "store", "schemas"},
    "query": {"models", "store", "schemas"},
    "commands": {"ingest", "query", "models", "store", "schemas"},
    "cli": {"commands"},
    "lensbank": {"ingest", "query", "models", "store", "schemas"},
}
FILES = ("cli", "lensbank")
HEAVY = ("torch", "transformers", "qdrant_client", "qdrant_edge", "numpy", "PIL")


def sources(part):
    return [ROOT / f"{part}.py"] if part in FILES else sorted((ROOT / part).rglob("*.py"))


def imported(path):
    """Top-level names of everything a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_one_way(part):
    ours = {*PACKAGES, *FILES, "tests"}
    for path in sources(part):
        wrong = (imported(path) & ours) - ALLOWED[part] - {part}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize(
    ("module", "home"),
    [("qdrant_client", "store"), ("qdrant_edge", "store"), ("transformers", "models"), ("click", "commands")],
)
def test_libraries_stay_in_their_place(module, home):
    for part in ALLOWED:
        for path in sources(part):
            if module in imported(path):
                top = path.relative_to(ROOT).parts[0]
                assert top == home or (module == "click" and part == "cli"), (
                    f"{path.relative_to(ROOT)} imports {module}"
                )


def test_hooks_are_registered_in_one_place():
    for part in ALLOWED:
        for path in sources(part):
            if re.search(r"register_\w*hook", path.read_text(encoding="utf-8")):
                assert path == ROOT / "models" / "capture.py", path


def test_nothing_outside_demo_knows_the_demo():
    for part in ALLOWED:
        for path in sources(part):
            assert "demo" not in imported(path)
            assert not re.search(r"\bif\b.*\bdemo\b", path.read_text(encoding="utf-8")), path


def test_package_inits_are_empty():
    for path in ROOT.glob("*/__init__.py"):
        assert path.read_text(encoding="utf-8").strip() == "", path


def test_the_wheel_lists_every_package():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(config["tool"]["setuptools"]["packages"])
    for part in ("commands", "schemas", "models", "store", "ingest", "query"):
        found = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / part).rglob("__init__.py")}
        assert found <= listed
    assert not listed & {"tests", "benchmarks", "demo"}


def test_schemas_need_only_the_standard_library():
    for path in sources("schemas"):
        assert imported(path) <= {*sys.stdlib_module_names, "schemas"}, path


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; import cli\n"
        "for args in ([], ['ingest'], ['query']):\n"
        "    result = CliRunner().invoke(cli.main_group, [*args, '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
