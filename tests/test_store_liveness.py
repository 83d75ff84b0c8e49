"""Whether a process is there; asked in one place."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lensbank.store.liveness import is_alive, process_space

ROOT = Path(__file__).resolve().parent.parent


def test_a_process_lives_until_it_has_ended():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_alive(process.pid) and is_alive(os.getpid())
        process.communicate(b"\n")
        assert not is_alive(process.pid)


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1, 2**63, 10**30])
def test_a_number_that_no_process_can_have(pid):
    """0 and -1 mean groups of processes, which are always there; numbers from a record may be anything."""
    assert not is_alive(pid)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
def test_the_same_name_does_not_make_the_same_machine(monkeypatch):
    here = process_space()
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[1]")
    assert process_space() != here, "a container with its own numbers"


def test_processes_are_asked_for_in_one_place_and_pauses_grow_in_one():
    aside = ("tests", "benchmarks", "demo", "docs")
    paths = [path.relative_to(ROOT) for path in ROOT.rglob("*.py")]
    product = [p for p in paths if p.parts[0] not in aside and not p.parts[0].startswith(".")]
    texts = {str(path): (ROOT / path).read_text(encoding="utf-8") for path in product}
    assert [name for name, text in texts.items() if re.search(r"os\.kill\(.*, 0\)", text)] == ["store/liveness.py"]
    growing = r"random\.uniform|\b(\w+) = (min\()?2(\.0)? \* \1\b|\bself\._pause = "
    assert [name for name, text in texts.items() if re.search(growing, text)] == ["schemas/backoff.py"]
