"""Option values, results on disk, and errors as exit codes."""

import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from lensbank.commands.command_line import typed
from lensbank.commands.forms import FIGURES, chosen_form
from lensbank.commands.terminal import (
    harmless,
    parse_contexts,
    parse_patches,
    reported,
    terminal_ink,
    write_result,
)
from lensbank.schemas.errors import CorpusError, StoreFullError, UsageError
from lensbank.schemas.files import write_whole
from lensbank.schemas.layers import LayerRange, parse_layers

FORMS = ("table", "json", "html", *FIGURES)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), None),
        (("4",), (4,)),
        (("1,2", "4", "2"), (1, 2, 4)),
        (("all",), "all"),
        ((" 3 , 1 ",), (1, 3)),
        (("8-16",), (LayerRange(8, 16),)),
        (("24", "0, 8 - 16"), (0, LayerRange(8, 16), 24)),
        (("-4,20-",), (LayerRange(0, 4), LayerRange(20, None))),
    ],
)
def test_layers(given, expected):
    assert parse_layers(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        ("x",),
        ("-",),
        ("1-2-3",),
        ("1..3",),
        ("4-x",),
        ("--1",),
        ("9" * 12,),
        ("²",),
        ("1.5",),
        ("all", "3"),
        ("all,3",),
    ],
)
def test_layers_that_are_none(given):
    with pytest.raises(UsageError, match="--layer"):
        parse_layers(given)


def test_patches_are_row_then_column():
    assert parse_patches(("2,3", " 0 , 6 ")) == ((2, 3), (0, 6))
    for wrong in ("2", "2,", "a,b", "-1,0", "1,2,3"):
        with pytest.raises(UsageError, match="ROW,COL"):
            parse_patches((wrong,))


def test_contexts():
    assert parse_contexts("20") == 20
    assert parse_contexts("all") is None
    for wrong in ("0", "-3", "many"):
        with pytest.raises(UsageError, match="--max-contexts"):
            parse_contexts(wrong)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("seen, expected.", "Do this."), 2, "Error: seen, expected. Do this.\n"),
        (CorpusError("no such file."), 1, "Error: no such file.\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (OSError(28, "No space left on device"), 1, "Error: No space left on device. Free some space"),
        (OSError(5, "Input/output error", "x.txt"), 1, "Error: [Errno 5] Input/output error: 'x.txt'\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(capsys, error, code, said):
    with pytest.raises(SystemExit) as caught, reported(debug=False):
        raise error
    assert caught.value.code == code
    shown = capsys.readouterr().err
    assert shown.startswith(said) and shown.count("\n") == 1


def test_debug_shows_where_it_happened(capsys):
    with pytest.raises(SystemExit), reported(debug=True):
        raise CorpusError("no such file.")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "ink"),
    [
        ({"COLORTERM": "truecolor", "TERM": "xterm"}, 3),
        ({"TERM": "xterm-256color"}, 2),
        ({"TERM": "xterm"}, 1),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, 0),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, 0),
    ],
)
def test_colours_are_those_that_the_terminal_says_it_has(monkeypatch, said, ink, tmp_path):
    for name in ("COLORTERM", "TERM", "NO_COLOR", "WT_SESSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", stdout := io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert terminal_ink(None) == 0  # a pipe
    monkeypatch.setattr(stdout, "isatty", lambda: True, raising=False)
    assert terminal_ink(None) == ink and terminal_ink(tmp_path / "table.txt") == 0


def test_pages_and_figures_do_not_go_to_a_terminal(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", stdout := io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    chosen_form("html", None, FORMS)
    monkeypatch.setattr(stdout, "isatty", lambda: True, raising=False)
    for form in ("html", "png", "pdf"):
        with pytest.raises(UsageError, match="--out"):
            chosen_form(form, None, FORMS)
        chosen_form(form, tmp_path / "report", FORMS)
    chosen_form("table", None, FORMS, texts=("a text",))


@pytest.mark.parametrize(
    ("given", "out", "form"),
    [
        (None, None, "table"),
        (None, "-", "table"),
        (None, "a.PDF", "pdf"),
        (None, "a.htm", "html"),
        (None, "notes.txt", "table"),
        ("json", "notes.txt", "json"),
        ("svg", "a.svg", "svg"),
        ("png", None, "png"),
    ],
)
def test_a_files_ending_says_its_form(given, out, form):
    assert chosen_form(given, None if out is None else Path(out), FORMS) == form


@pytest.mark.parametrize(
    ("given", "out", "said"), [("png", "a.pdf", "that of pdf"), ("table", "a.json", r"\.txt"), (None, "a.csv", "csv")]
)
def test_a_file_does_not_hold_what_its_ending_denies(given, out, said):
    with pytest.raises(UsageError, match=said):
        chosen_form(given, Path(out), FORMS)


def test_a_result_file_is_whole_or_not_there(tmp_path):
    out = tmp_path / "reading.json"
    write_result("{}", out)
    assert out.read_text() == "{}\n"
    with pytest.raises(UsageError, match="no folder"):
        write_result("{}", tmp_path / "missing" / "reading.json")
    with pytest.raises(UsageError, match="is an input"):
        write_result("{}", out, [out])
    assert list(tmp_path.iterdir()) == [out]


def test_what_is_printed_cannot_steer_a_terminal_and_keeps_its_columns():
    assert harmless("a   table\n  of  columns") == "a   table\n  of  columns"
    assert harmless("evil\x1b[31m name\r\u202e") == "evil\ufffd[31m name "
    assert harmless("see https://me:secret@host/a?key=1#x now") == "see https://host/a now"


def test_a_message_is_of_bearable_length():
    """Thousands of digits are no help; a path is kept whole."""
    from lensbank.commands.terminal import of_bearable_length

    said = of_bearable_length(f"position is integer, but the filter's value is '{'9' * 5000}'.")
    assert len(said) < 200 and said.endswith("9'.") and "..." in said
    path = "/".join(["folder"] * 40)
    assert of_bearable_length(path) == path


@pytest.mark.parametrize("name", ["kept.txt/", "kept.txt//"])
def test_a_file_s_name_with_a_slash_at_its_end_overwrites_nothing(tmp_path, monkeypatch, name):
    from click.testing import CliRunner

    from lensbank import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.txt").write_text("kept")
    for command in (["query", "--text", "a", "--out", name], ["inspect", "a.png", "--model", "m", "--picture", name]):
        done = CliRunner().invoke(cli.main_group, command)
        assert done.exit_code == 2 and "is the name of a folder" in done.output
    with pytest.raises(UsageError, match="is the name of a folder"):
        write_whole(name, "other")
    assert (tmp_path / "kept.txt").read_text() == "kept"


def test_a_disk_that_becomes_full_names_the_file_and_leaves_what_was_there(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("before")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, usual[1]))
    try:
        with pytest.raises(StoreFullError, match=r"out\.json could not be written: File too large") as caught:
            write_whole(out, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert "Free some space" in caught.value.hint
    assert out.read_text() == "before" and list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    "name", ["plain", "sp ace", "it's", "a\nb\t'\\", "by\udcffte", "-dash", "", "👨\u200d👩", "a$HOME`x`"]
)
def test_a_command_to_type_next_names_what_was_meant(name):
    done = subprocess.run(["bash", "-c", f"printf %s {typed(name)}"], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == name
    assert typed(name).isprintable()
