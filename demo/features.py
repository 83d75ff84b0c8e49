"""Training scenes, drawn once: their image features and ground truth on disk.

`python -m demo.features --icons DIR --vision FILE --out DIR --scenes 24000` writes
`features-K.npy` (scenes, 49, 1280) float16 and `scenes-K.jsonl` for K = 0, 1: one per
worker process. The vision tower is frozen, so training never needs the pictures again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from demo.scenes import Placed, Scene, compose
from demo.sprites import TRAIN_STYLES, Sprite, load_concepts, load_sprites
from demo.vision import FEATURES, GRID, features, load_vision_tower, preprocess

WORKERS = 2
BATCH = 32


def write_shard(shard: int, *, count: int, icons: Path, vision: Path, out: Path, seed: int) -> None:
    """Draw `count` scenes of the training styles and store their features and ground truth."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, shard])
    sprites = load_sprites(icons, TRAIN_STYLES)
    tower: Any = load_vision_tower(vision)
    tower.to(memory_format=torch.channels_last)
    partial_file = out / f"features-{shard}.part"
    shape = (count, GRID * GRID, FEATURES)
    table = np.lib.format.open_memmap(partial_file, "w+", dtype=np.float16, shape=shape)
    with (out / f"scenes-{shard}.jsonl").open("w", encoding="utf-8") as lines, torch.autocast("cpu", torch.bfloat16):
        for start in range(0, count, BATCH):
            made = [_draw(rng, sprites) for _ in range(min(BATCH, count - start))]
            table[start : start + len(made)] = features(tower, np.stack([pixels for pixels, _ in made]))
            lines.writelines(json.dumps(scene_to_dict(scene)) + "\n" for _, scene in made)
    table.flush()
    partial_file.rename(out / f"features-{shard}.npy")


def read_shards(folder: Path) -> tuple[list[Scene], NDArray[np.float16]]:
    """All scenes of a folder and their features (scenes, 49, 1280)."""
    by_word = {concept.word: concept for concept in load_concepts()}
    scenes: list[Scene] = []
    parts = []
    for path in sorted(folder.glob("features-*.npy")):
        parts.append(np.load(path))
        lines = (folder / f"scenes-{path.stem.split('-')[1]}.jsonl").read_text(encoding="utf-8").splitlines()
        scenes += [_scene_from_dict(json.loads(line), by_word) for line in lines]
    if not parts:
        raise FileNotFoundError(f"no features-*.npy in {folder}; run `python -m demo.features --out {folder}` first")
    return scenes, np.concatenate(parts)


def scene_to_dict(scene: Scene) -> dict[str, Any]:
    """A scene's ground truth as plain JSON."""
    objects = [{"word": placed.concept.word, "box": list(placed.box)} for placed in scene.objects]
    return {"width": scene.width, "height": scene.height, "background": scene.background, "objects": objects}


def _scene_from_dict(row: dict[str, Any], by_word: dict[str, Any]) -> Scene:
    objects = tuple(Placed(by_word[item["word"]], tuple(item["box"])) for item in row["objects"])
    return Scene(row["width"], row["height"], row["background"], objects)


def _draw(rng: np.random.Generator, sprites: Sequence[Sprite]) -> tuple[NDArray[np.float32], Scene]:
    image, scene = compose(rng, sprites)
    return preprocess(image), scene


def main() -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--icons", type=Path, required=True, help="node_modules/@iconify-json")
    parser.add_argument("--vision", type=Path, required=True, help="the efficientnet-lite0 .pth")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    work = partial(
        write_shard,
        count=arguments.scenes // WORKERS,
        icons=arguments.icons,
        vision=arguments.vision,
        out=arguments.out,
        seed=arguments.seed,
    )
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        pool.map(work, range(WORKERS))


if __name__ == "__main__":
    main()
