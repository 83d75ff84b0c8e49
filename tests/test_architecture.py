"""The structure of the code, held by tests: who may import whom, and where each thing is done."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "schemas",
    "models",
    "store",
    "banks",
    "query",
    "show",
    "ingest",
    "evaluate",
    "images",
    "cluster",
    "serve",
    "commands",
)
# What each part may import of the others: imports point one way.
ALLOWED = {
    "schemas": set(),
    "models": {"schemas"},
    "store": {"schemas"},
    "banks": {"models", "store", "schemas"},
    "query": {"banks", "models", "store", "schemas"},
    "show": {"schemas"},
    "ingest": {"banks", "models", "store", "schemas"},
    "evaluate": {"query", "show", "banks", "models", "store", "schemas"},
    "images": {"evaluate", "query", "banks", "models", "store", "schemas"},
    "cluster": {"images", "query", "ingest", "banks", "models", "store", "schemas"},
    "serve": {"images", "query", "show", "banks", "models", "store", "schemas"},
    "commands": {
        "cluster",
        "serve",
        "images",
        "evaluate",
        "ingest",
        "banks",
        "show",
        "query",
        "models",
        "store",
        "schemas",
    },
    "api": {
        "drawing",
        "cluster",
        "images",
        "evaluate",
        "ingest",
        "banks",
        "show",
        "query",
        "models",
        "store",
        "schemas",
    },
    "drawing": {"images", "evaluate", "banks", "show", "query", "models", "store", "schemas"},
    "cli": {"commands"},
}
FILES = ("api", "drawing", "cli", "bootstrap", "__main__", "__init__")
HEAVY = ("torch", "transformers", "qdrant_client", "qdrant_edge", "numpy", "PIL")
# Heavy libraries, and the folders that may know them.
OWNERS = {
    "qdrant_client": "store/server",
    "grpc": "store/server",
    "qdrant_edge": "store/embedded",
    "transformers": "models",
    "accelerate": "models",
    "click": "commands",
    "matplotlib": "evaluate",
    "pydantic": "schemas",
    "starlette": "serve",
    "uvicorn": "serve",
    "ray": "cluster",
    "pyarrow": "cluster",
}


def sources(part):
    return [ROOT / f"{part}.py"] if part in FILES else sorted((ROOT / part).rglob("*.py"))


def module_of(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(path, top_only=False):
    """Dotted names of everything a file imports: ours below the package, others as they are.

    Args:
        path: of the file.
        top_only: leave out what is imported inside functions and for type checkers.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    here = list(path.relative_to(ROOT).parent.parts)
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                full = ROOT.joinpath(*base, alias.name)
                is_module = full.with_suffix(".py").exists() or (full / "__init__.py").exists()
                # Of the package itself: its version, and what makes a folder callable.
                yield ".".join(("lensbank", *base, *([alias.name] if is_module else [] if base else ["itself"])))


def ours(path, **options):
    return {name.partition(".")[2] for name in imported(path, **options) if name.startswith("lensbank.")}


def test_every_folder_of_the_package_is_known():
    packages = {path.parent.relative_to(ROOT).parts[0] for path in ROOT.glob("*/__init__.py")}
    assert packages - {"demo", "benchmarks", "tests"} == set(ROOMS)


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_point_one_way(part):
    for path in sources(part):
        wrong = {name.split(".")[0] for name in ours(path)} - ALLOWED[part] - {part, "itself"}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_rooms_import_each_other_relatively():
    for part in (*ROOMS, *FILES):
        for path in sources(part):
            names = {
                alias.name if isinstance(node, ast.Import) else node.module
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.level == 0)
                for alias in node.names
            }
            assert not {name for name in names if name.split(".")[0] in (*ROOMS, "lensbank")}, path


def test_no_files_import_each_other_in_a_circle():
    graph = {}
    for part in (*ROOMS, "api", "drawing", "cli"):
        for path in sources(part):
            graph[".".join(module_of(path))] = ours(path)
    graph = {name: {other for other in found if other in graph and other != name} for name, found in graph.items()}
    state, circles = {}, []

    def visit(name, way):
        state[name] = "open"
        for other in sorted(graph[name]):
            if state.get(other) == "open":
                circles.append([*way[way.index(other) :], other] if other in way else [name, other])
            elif other not in state:
                visit(other, [*way, other])
        state[name] = "done"

    for name in sorted(graph):
        if name not in state:
            visit(name, [name])
    assert not circles, circles


@pytest.mark.parametrize("library", OWNERS)
def test_libraries_stay_in_their_place(library):
    users = {
        str(path.relative_to(ROOT))
        for part in (*ROOMS, "api", "drawing", "cli")
        for path in sources(part)
        if library in {name.split(".")[0] for name in imported(path)}
    }
    allowed = {"cli.py", "drawing.py"} if library in ("click", "matplotlib") else set()
    assert users and not {user for user in users if not user.startswith(OWNERS[library] + "/")} - allowed, users


def test_hooks_into_a_models_computation_are_registered_in_one_place():
    for part in ROOMS:
        for path in sources(part):
            if re.search(r"register_\w*(forward|backward)\w*hook|register_hook", path.read_text(encoding="utf-8")):
                assert path == ROOT / "models" / "capture.py", path


def test_nothing_outside_demo_knows_the_demo():
    for part in (*ROOMS, *FILES):
        for path in sources(part):
            assert "demo" not in {name.split(".")[0] for name in imported(path)}
            assert not re.search(r"\bif\b.*\bdemo\b", path.read_text(encoding="utf-8")), path


def test_package_inits_hold_no_code():
    """Nothing is gathered in them: that is where circles come from. Two make their folder callable."""
    for path in [p for room in ROOMS for p in (ROOT / room).rglob("__init__.py")]:
        code = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if not isinstance(node, ast.Expr)]
        assert not [node for node in code if not (isinstance(node, ast.ImportFrom) and node.level == 2)], path


def test_the_wheel_lists_every_package():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(config["tool"]["setuptools"]["packages"])
    found = {".".join(("lensbank", *module_of(path))) for room in ROOMS for path in (ROOT / room).rglob("__init__.py")}
    assert listed == {"lensbank"} | found


def test_imported_distributions_are_declared_and_declared_ones_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [
        one
        for name in ("zst", "evaluate", "notebook", "demo", "serve", "ray")
        for one in project["optional-dependencies"][name]
    ]

    def plain(names):
        return {re.match(r"[\w.-]+", name)[0].lower().replace("_", "-") for name in names}

    providers = packages_distributions()
    tops = {
        name.split(".")[0]
        for part in (*ROOMS, *FILES)
        for path in sources(part)
        for name in imported(path)
        if name.split(".")[0] not in {*sys.stdlib_module_names, "lensbank", "bootstrap"}
    }
    used = plain(name for top in tops for name in providers.get(top, [top]))
    assert not used - plain([*project["dependencies"], *optional])
    assert not plain(project["dependencies"]) - used


def test_schemas_need_only_the_standard_library():
    """But for two files, which load it when they are used: what is read is held to its type, tables may be pandas'."""
    owners = {"reading.py": "pydantic", "frames.py": "pandas"}
    for path in sources("schemas"):
        others = {name.split(".")[0] for name in imported(path)} - {"lensbank"}
        if library := owners.get(path.name):
            assert not any(name.startswith(library) for name in imported(path, top_only=True))
            others.discard(library)
        assert others <= set(sys.stdlib_module_names), path


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from lensbank import cli\n"
        "for args in ([], ['ingest'], ['query']):\n"
        "    result = CliRunner().invoke(cli.main_group, [*args, '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
