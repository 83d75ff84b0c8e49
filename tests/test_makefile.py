"""What make would do, by make -n."""

import os
import shutil
import subprocess
from pathlib import Path

import longest_files
import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def would_run(tmp_path, *settings):
    command = ["make", "-n", "demo", f"VENV={tmp_path}/venv", f"CACHE={tmp_path}/cache", *settings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [line.strip() for line in done.stdout.splitlines()]


def installs(lines):
    return [line.partition("pip install ")[2] for line in lines if "pip install " in line]


def pinned():
    (line,) = [
        line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line.startswith("torch==")
    ]
    return line


def test_by_default_torch_is_the_index_s_and_its_size_is_said_first(tmp_path):
    lines = would_run(tmp_path)
    said = next(number for number, line in enumerate(lines) if "5.2 GB" in line and "TORCH=cpu" in line)
    assert "venv" in lines[said + 1] and "pip install" not in " ".join(lines[:said])
    first, second = installs(lines)
    assert first.endswith("pip") and "--constraint constraints.txt" in second and "torch" not in f"{first}{second}"


def test_the_small_build_comes_from_pytorch_s_own_wheels(tmp_path):
    lines = would_run(tmp_path, "TORCH=cpu")
    assert "5.2 GB" not in "".join(lines)
    _, torch, rest = installs(lines)
    assert torch == f"--quiet --index-url https://download.pytorch.org/whl/cpu {pinned()}"
    assert "--constraint constraints.txt" in rest and "--index-url" not in rest


@pytest.mark.parametrize("asked", ["torch==2.13.0", "--index-url https://example.org/simple torch==2.13.0"])
def test_any_other_torch_is_given_to_pip(tmp_path, asked):
    _, torch, rest = installs(would_run(tmp_path, f"TORCH={asked}"))
    assert torch == f"--quiet {asked}" and "--constraint constraints.txt" in rest


def test_another_index_of_small_builds(tmp_path):
    assert (
        "--index-url https://mirror.example/cpu"
        in installs(would_run(tmp_path, "TORCH=cpu", "CPU_WHEELS=https://mirror.example/cpu"))[1]
    )


def suite(tmp_path, *settings):
    """The command of `make test`."""
    command = ["make", "-n", "test", f"VENV={tmp_path}/venv", *settings]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    (found,) = [line for line in lines if "-m pytest" in line]
    return found


def test_the_files_that_take_long_are_begun_first(tmp_path):
    """Else the plugin begins with those of many tests, and the last one, long, leaves the other processes idle."""
    assert [name for name in longest_files.PLACES if not (ROOT / "tests" / name).is_file()] == []
    assert "--dist loadfile --no-loadscope-reorder" in suite(tmp_path)
    by_length = longest_files.by_length
    assert by_length(Path("test_store_writer.py")) < by_length(Path("test_cli.py")) < by_length(Path(__file__))


def test_the_banks_of_the_tests_are_in_memory_where_there_is_much_of_it(tmp_path, monkeypatch):
    """`df` and `awk` are asked for it; here `df` is one that says so much."""
    place, free = "PYTEST_DEBUG_TEMPROOT=", 20 << 20
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert f"{place}/somewhere " in suite(tmp_path, "TESTS_IN=/somewhere") and place not in suite(tmp_path, "TESTS_IN=")
    for room, there in ((64 << 10, False), (free, True)):
        (tmp_path / "df").write_text(f"#!/bin/sh\necho Filesystem\necho tmpfs {free} 0 {room} 0% /dev/shm\n")
        (tmp_path / "df").chmod(0o755)
        (tmp_path / "meminfo").write_text(f"MemTotal: {free} kB\nMemAvailable: {free} kB\n")
        assert (f"{place}/dev/shm " in suite(tmp_path, f"MEMORY={tmp_path}/meminfo")) == there
