"""Run the commands of docs/image-banks.md on the demo and write what they print: `python docs/make_image_banks.py`.

Needs the demo's model and banks (`make demo-bank`). The image banks go into a copy of the store.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "image-banks.md"
CACHE = ROOT / ".cache"
FOLDER = CACHE / "image-banks"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def prepare() -> None:
    """A store with the demo's text banks, and the annotations of the pictures."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    shutil.copytree(CACHE / "demo-store", FOLDER / "store")
    write = [sys.executable, "-m", "demo.annotations", "--out", str(FOLDER / "annotations.json")]
    subprocess.run(write, cwd=ROOT, check=True)


def printed(command: str) -> str:
    """What a command prints, without the store's size and times, which differ from machine to machine."""
    words = [sys.executable, "-m", "lensbank", *shlex.split(command)[1:], "--store", str(FOLDER / "store"), "--silent"]
    if "index" in words or "--text" in words or "--like" in words:
        words += ["--model", str(CACHE / "demo-model")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    kept = [line for line in done.stdout.rstrip().splitlines() if not line.startswith("Next:")]
    return re.sub(r" in [\d.]+ s;", ";", "\n".join(kept)) + "\n"


def fill(block: re.Match[str]) -> str:
    """A block with what its commands print below each."""
    commands = [line for line in block[1].splitlines() if line.startswith("$ ")]
    return "```console\n" + "\n".join(f"{line}\n{printed(line[2:])}" for line in commands) + "```"


if __name__ == "__main__":
    prepare()
    PAGE.write_text(_BLOCK.sub(fill, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
