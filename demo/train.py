"""Train the demo model's projector from nothing: `python -m demo.train [--minutes 70]`.

Fetches the language model, the vision tower (pip) and the icon sets (npm), unpacks the language
model, draws the training scenes and stores their features (3 GB), then trains. What is there
already is not made again; a run that was stopped goes on when the same command is given again.
Checkpoints and the log come into OUT; `python -m demo.validate` says which one to take.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from demo.fetch import ICON_PACKAGES, LANGUAGE, VISION, FetchError, cache_dir, fetch, fetch_icons

SCENES = 24_000


def say(text: str) -> None:
    """Report on stderr."""
    print(f"demo.train: {text}", file=sys.stderr)


def make_language(cache: Path) -> Path:
    """The language model and its tokenizer as an ordinary directory."""
    folder = cache / "train" / "language"
    if not (folder / "model.safetensors").is_file():
        say("unpacking the language model")
        from demo.language import load_language_model, load_tokenizer

        gguf = fetch(LANGUAGE, cache)
        folder.mkdir(parents=True, exist_ok=True)
        load_tokenizer(gguf).save_pretrained(folder)
        load_language_model(gguf).save_pretrained(folder)
    return folder


def make_features(cache: Path, scenes: int) -> Path:
    """Drawn scenes as features and ground truth; in a process of its own, which drops the art."""
    folder = cache / "train" / f"features-{scenes}"
    if len(list(folder.glob("features-*.npy"))) < 2:
        icons = find_icons(cache)
        vision = fetch(VISION, cache)
        say(f"drawing {scenes:,} scenes")
        options = ["--icons", icons, "--vision", vision, "--out", folder, "--scenes", scenes]
        subprocess.run([sys.executable, "-m", "demo.features", *map(str, options)], check=True)
    return folder


def find_icons(cache: Path) -> Path:
    """The `@iconify-json` folder, installed with npm unless all sets are there."""
    folder = cache / "npm" / "node_modules" / "@iconify-json"
    wanted = [package.rpartition("@")[0].partition("/")[2] for package in ICON_PACKAGES]
    if all((folder / name / "icons.json").is_file() for name in wanted):
        return folder
    say("fetching the icon sets")
    return fetch_icons(cache / "npm")


def main() -> None:
    """Read the options, prepare what is missing, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="what demo.features wrote (default: made in the cache)")
    parser.add_argument("--language", type=Path, help="directory of the language model (default: made in the cache)")
    parser.add_argument("--out", type=Path, help="for checkpoints and the log (default: train/run in the cache)")
    parser.add_argument("--minutes", type=float, default=70, help="of training")
    parser.add_argument("--every", type=float, default=4, help="minutes between checkpoints")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cache = cache_dir()
    out: Path = arguments.out or cache / "train" / "run"
    try:
        language = arguments.language or make_language(cache)
        features = arguments.features or make_features(cache, arguments.scenes)
    except (FetchError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"demo.train: {error}")
    train(features, language, out, arguments.minutes, arguments.every, arguments.seed)
    say(f"the checkpoints and log.jsonl are in {os.path.relpath(out)}; choose one with python -m demo.validate")


def train(features: Path, language: Path, out: Path, minutes: float, every: float, seed: int) -> None:
    """Train for so many minutes, or what is left of them."""
    import torch

    from demo.memory import keep_freed_memory
    from demo.trainer import Trainer

    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.manual_seed(seed)
    trainer = Trainer(features, language, out, minutes, seed)
    say(f"training for {minutes - trainer.progress.elapsed:.1f} minutes")
    trainer.run(every)


if __name__ == "__main__":
    main()
