"""Closed, full and abandoned standard streams: a line and a documented exit code, and no file takes their place."""

import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from lensbank.commands import streams

PROGRAM = f"{sys.executable} -m lensbank"
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def shell(tmp_path):
    """Run a command line with redirections in it; its exit code, and what was said on stderr."""

    def run(line, stdin=subprocess.DEVNULL):
        command = ["bash", "-o", "pipefail", "-c", f"{{ {line.replace('lensbank', PROGRAM, 1)}; }} 2>>said"]
        done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, stdin=stdin, timeout=60)
        said = (tmp_path / "said").read_text()
        assert "Traceback" not in said and "ignored" not in said and "unexpected error" not in said, said
        (tmp_path / "said").unlink()
        return done.returncode, said

    return run


@pytest.mark.parametrize("redirection", [">&-", ">&- <&-"])
def test_a_result_with_nowhere_to_go_is_refused_before_the_work(shell, tmp_path, redirection):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    for command in ("banks list", "banks show", "query a.png --model no/model", "inspect a.png --model no/model"):
        code, said = shell(f"lensbank {command} {redirection}")
        assert code == 2 and said.startswith("Error: Standard output is closed") and said.count("\n") == 1


@pytest.mark.parametrize("command", ["query - --model nothing/here", "ingest - --model nothing/here --layer 1"])
def test_a_closed_standard_input_is_an_error_of_one_line(shell, command):
    code, said = shell(f"lensbank {command} <&-")
    assert code == 1 and "Standard input (-) is closed" in said and said.count("\n") == 1


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&1 | true"])
def test_what_nobody_can_be_told_changes_no_exit_code(shell, redirection):
    assert shell(f"lensbank banks list --store ftp://host {redirection}") == (2, "")
    assert shell(f"lensbank bogus {redirection}") == (2, "")
    assert shell(f"lensbank --version {redirection}")[0] == 0


@pytest.mark.parametrize("command", ["--help", "--version", "query --help", "banks list --store none"])
def test_a_full_disk_is_an_error_of_one_line(shell, command):
    code, said = shell(f"lensbank {command} > /dev/full")
    assert code == 1 and said.startswith("Error: ") and said.count("\n") == 1


def test_no_file_is_opened_in_the_place_of_a_closed_stream(tmp_path):
    """What a library writes to "stderr" would go into it."""
    code = (
        "import os, sys; from lensbank.commands.streams import keep_streams; keep_streams(); "
        f"number = os.open({str(tmp_path / 'bank')!r}, os.O_CREAT | os.O_WRONLY); "
        "sys.stderr.write('lost'); sys.stderr.flush(); sys.exit(number)"
    )
    command = f"{sys.executable} -c {subprocess.list2cmdline([code])} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], timeout=60).returncode > 2
    assert (tmp_path / "bank").read_bytes() == b""


def test_a_current_folder_that_was_deleted_is_named(shell):
    code, said = shell("mkdir gone; cd gone; rmdir ../gone; lensbank banks list")
    assert code == 2 and "Error: The current folder does not exist any more." in said and "Traceback" not in said


@pytest.mark.parametrize("name", ["logging", "lensbank.commands.transfer"])
def test_an_interruption_of_the_first_imports_shows_no_traceback(name):
    code = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *more):\n"
        f"        if name == {name!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "import lensbank.cli"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGINT and done.stderr == b""


def test_the_command_line_leaves_the_signals_of_a_program_that_imports_it():
    code = (
        "import signal; before = signal.getsignal(signal.SIGINT); import lensbank.cli; "
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_message_that_is_lost_raises_nothing():
    class Full:
        encoding = "utf-8"

        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            self.write("")

    stream = streams._Forgiving(Full())
    assert stream.write("abc") == 3 and stream.encoding == "utf-8"
    stream.flush()
