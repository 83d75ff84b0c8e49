"""Help under headings, the page that shows it, and completion."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from lensbank import cli
from lensbank.commands.help_groups import SHARED, GroupedCommand, _name

ROOT = Path(__file__).resolve().parent.parent
GROUPED = [command for command in cli.main_group.commands.values() if isinstance(command, GroupedCommand)]


def test_the_long_commands_have_headings():
    assert {command.name for command in GROUPED} >= {"query", "ingest", "evaluate"}


@pytest.mark.parametrize("command", GROUPED, ids=lambda command: command.name)
def test_every_option_stands_under_one_heading(command):
    context = click.Context(command, help_option_names=["-h", "--help"])
    options = [_name(p) for p in command.get_params(context) if isinstance(p, click.Option) and not p.hidden]
    own = [name for heading, names in command.groups.items() if heading not in SHARED for name in names]
    assert set(own) <= set(options) and len(own) == len(set(own))
    assert set(options) <= {name for names in command.groups.values() for name in names}
    shown = command.get_help(context)
    headings = [line[:-1] for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    # A shared heading of which a command has no option is left out.
    left = {heading for heading, names in command.groups.items() if set(names) & (set(options) - set(own))}
    assert headings == [h for h in command.groups if h not in SHARED or h in left]


def test_an_option_without_a_heading_is_shown_all_the_same():
    command = GroupedCommand(
        "c", params=[click.Option(["--one"]), click.Option(["--two"])], groups={"First": ("one", "gone")}
    )
    shown = command.get_help(click.Context(command))
    assert shown.index("First:\n  --one") < shown.index("Messages:\n  --help") < shown.index("Other options:\n  --two")


@pytest.mark.parametrize("command", [["query"], ["banks", "verify"], []], ids=" ".join)
def test_the_page_of_commands_is_what_the_program_prints(command):
    done = subprocess.run(
        [sys.executable, "-m", "lensbank", *command, "-h"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
        check=True,
    )
    heading = f"\n## {' '.join(command)}\n\n" if command else ""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"{heading}```text\n{done.stdout}```\n" in page


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from test_store_rows import Rows

    from lensbank.store.embedded.store import EmbeddedStore

    folder = tmp_path_factory.mktemp("stores") / "mine"
    rows = Rows(20, layers=(4, 6))
    with EmbeddedStore.at(folder, create=True) as opened, opened.writer(rows.identities(), "/models/one") as writer:
        rows.put(writer)
        writer.finish(rows.written())
    return folder, [identity.name() for identity in rows.identities()]


def offered(*words, incomplete=""):
    shell = ShellComplete(cli.main_group, {}, "lensbank", "_LENSBANK_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions([str(word) for word in words], incomplete)]


def plain(*values):
    return [("plain", value) for value in values]


def test_values_are_offered(store):
    folder, names = store
    assert offered("query", "--lens", incomplete="latent,") == plain("latent,logit", "latent,embedding")
    assert offered("query", "--lens", incomplete="lo") == plain("logit")
    assert offered("evaluate", "--where", incomplete="is") == plain("is_word")
    assert offered("banks", "show", "--store", folder) == plain(*names)
    assert offered("banks", "drop", names[0], "--store", folder) == plain(names[1])
    assert offered("push", "--store", folder, "--bank", incomplete=names[1][:-1]) == plain(names[1])
    assert offered("query", "a.png", "--store", folder, "--layer") == plain("4", "6", "all")
    assert offered("query", "a.png", "--store", folder, "--bank-layer", incomplete="4,") == plain("4,4", "4,6")
    assert offered("query", "a.png", "--store", folder, "--model") == [*plain("/models/one"), ("dir", "")]
    assert offered("query", "a.png", "--store", incomplete="my") == [("dir", "my")]
    assert offered("query", "--format", incomplete="h") == plain("html")


def test_where_there_is_no_store_nothing_is_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", None)  # a server is not asked
    assert offered("banks", "show") == []
    for target in (tmp_path / "nowhere", "http://localhost:1", "lensbank-store"):
        assert offered("banks", "show", "--store", target) == []
    assert not list(tmp_path.iterdir())
    assert offered("query", "--model", incomplete="m") == [("dir", "m")]


def test_the_lines_of_the_page_are_what_shells_run():
    page = (ROOT / "docs" / "completion.md").read_text(encoding="utf-8")
    for shell in ("bash", "zsh", "fish"):
        assert f"_LENSBANK_COMPLETE={shell}_source lensbank" in page
    done = subprocess.run(
        [sys.executable, "-c", "import sys\nfrom lensbank.cli import main\nmain()"],
        env={**os.environ, "_LENSBANK_COMPLETE": "zsh_source"},
        capture_output=True,
        text=True,
    )
    assert "#compdef lensbank" in done.stdout and done.returncode == 0, done.stderr


def test_banks_of_the_store_that_the_environment_names(store, monkeypatch):
    monkeypatch.setenv("LENSBANK_STORE", str(store[0]))
    assert offered("banks", "show") == plain(*store[1])
