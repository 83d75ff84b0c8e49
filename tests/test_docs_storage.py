"""The measured tables of docs/storage.md come from docs/figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench_share
from benchmarks.search_table import (
    copy_table,
    filters_table,
    machine_in_words,
    share_table,
    start_table,
    table,
    write_table,
)
from lensbank.docs.making import write_or_check
from lensbank.models.encoding import BATCH_TOKENS_CPU

ROOT = Path(__file__).resolve().parent.parent
FIGURES = sorted((ROOT / "docs" / "figures").glob("*.json"))


def test_the_page_shows_the_figures_and_every_file_is_shown():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_storage.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
    assert FIGURES and all(f"<!-- figures: {file.name} -->" in page for file in FIGURES)


@pytest.mark.parametrize("file", FIGURES, ids=lambda file: file.name)
def test_figures_name_a_command_that_is_there_and_the_machine(file):
    of = json.loads(file.read_text(encoding="utf-8"))
    module = of["command"].partition("python -m ")[2].split()[0]
    assert module.startswith("benchmarks.") and (ROOT / f"{module.replace('.', '/')}.py").is_file()
    assert machine_in_words(of["machine"]).startswith(f"{of['machine']['cores']} cores")


def test_a_table_has_a_cell_for_every_column():
    ratios = {"then": 2.0, "then_ratio": 1.0, "many": 1.0, "many_ratio": 1.0, "recall": 1.0}
    costs = {"written": 4.0, "indexed": 2.5, "disk": 3000.0, "imported": 2e6, "anonymous": 5e6, "mapped": 7e6}
    rows = [
        {"kind": "official", "mode": "exact", **ratios},
        {"kind": "float32", "mode": "exact", "opened": 0.5, "first": 0.75, "then": 1.0, **costs},
        {"kind": "float16", "mode": "not run"},
    ]
    lines = table({"rows": 1000, "dim": 10, "images": 9, "kinds": rows}).splitlines()[2:]
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1
    assert "| 0.50 s | 0.75 s | 1.00 s |" in lines[3] and "| 2, 3, 7 MB | 250 | 2.5 s | 3,000 B |" in lines[3]


def test_a_copy_pays_when_it_has_saved_what_it_cost():
    seconds = {"server": 2.0, "copy": 1.0, "copying": 9.5, "checking": 0.5, "elsewhere": 0.5}
    of = {"rows": 9, "dim": 2, "stand_in": True, "disk": 1e6, "same": 1.0, **seconds}
    shown = copy_table(of)
    assert "by the stand-in's search | 10 |" in shown and "as measured on a real server | never |" in shown


def test_ratios_of_starts_are_pair_by_pair_and_images_share_a_process():
    processes = {"this": [[2.0, 3.0], [9.0, 9.0], [4.0, 8.0]], "beside": [[4.0, 3.0], [9.0, 3.0], [16.0, 4.0]]}
    shown = start_table({"processes": processes, "many": {"8": [16.0, 24.0]}, "parts": {"imports": [1.0, 2.0]}})
    assert "| this checkout | 4.00 s (2.00) | 8.00 s (3.00) |" in shown
    assert "| 0.50 (0.25 to 1.00) | 2.00 (1.00 to 3.00) |" in shown
    assert "| 8 images in one process, each | 2.00 s | 3.00 s |" in shown and "| imports | 1.00 s | 2.00 s |" in shown


def test_what_writes_has_a_cell_for_every_column():
    costs = {"rate": 1234.5, "ratio": 1.5, "write_cpu": 71.6, "index_cpu": 84.0, "encoder_cpu": 2.0, "indexing": 3.25}
    rows = [{"width": 4096, "rows": 1500, "writers": writers, **costs} for writers in (1, 2)]
    lines = write_table({"banks": 4, "repeat": 3, "writing": rows}).splitlines()[2:]
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith("| 4,096 | 1,500 | 2 | 1,234 | 1.50 | 72 µs |")


def test_a_made_file_that_differs_is_named_and_not_written(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["docs/make_page.py", "--check"])
    assert write_or_check(page, "new\n") == 1 and not page.exists()
    page.write_text("old\n", encoding="utf-8")
    assert write_or_check(page, "new\n") == 1 and page.read_text(encoding="utf-8") == "old\n"
    said = "docs/page.md is not what make_page.py makes: run `make docs` and commit it\n"
    assert capsys.readouterr().err == 2 * said
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    assert write_or_check(page, "new\n") == 0 and page.read_text(encoding="utf-8") == "new\n"
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--check"])
    assert write_or_check(page, "new\n") == 0 and not capsys.readouterr().err


def test_a_setting_that_is_the_default_can_be_told_from_its_table():
    row = {"setting": "tokens=2048", "cpu": 1.0, "cpu_ratio": [1.0] * 3, "clock": 1.0, "clock_ratio": [1.0] * 3}
    has = bench_share.default(model=True)
    assert has["tokens"] == BATCH_TOKENS_CPU and bench_share.default(model=False)["tokens"] < BATCH_TOKENS_CPU
    shown = share_table({"model": True, "repeat": 1, "default": has, "sharing": [row]})
    assert f"default: nice={has['nice']}, threads={has['threads']}, tokens={BATCH_TOKENS_CPU}\n" in shown


def test_columns_that_were_not_measured_are_left_out():
    rows = [
        {"kind": "numpy", "mode": "exact", "recall": 1.0},
        {"kind": "float32", "mode": "approximate", "recall": 0.5, "disk": 3000.0},
    ]
    lines = table({"rows": 1000, "dim": 10, "images": 1, "kinds": rows}).splitlines()[2:]
    assert (
        lines[0] == "| kind | mode | recall@5 | disk/row |"
        and lines[3] == "| float32 | approximate | 0.5000 | 3,000 B |"
    )
    assert lines[2] == "| numpy | exact | 1.0000 |  |"


def test_filters_have_a_cell_for_every_kind_of_index_and_number_of_neighbours():
    recall = {"quantized": {"5": 1.0, "50": 0.75}, "bare": {"5": 0.5, "50": 0.25}}
    one = {"filter": "`word=dog`", "rows": 50, "recall": recall, "short": 2}
    lines = filters_table({"rows": 1000, "layer": 8, "queries": 9, "filters": [one]}).splitlines()
    assert lines[0].startswith("1,000 rows of layer 8, 9 visual tokens")
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|")
    assert lines[4] == "| `word=dog` | 50 | 5.0% | 1.0000 | 0.7500 | 0.5000 | 0.2500 | 2 |"
