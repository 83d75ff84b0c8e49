"""Teach a projector that knows drawings to read photographs, too: `python -m demo.photo_fit --help`.

No caption is needed: a cell of a photograph that shows a thing (`demo.photo_cells`) shall come out where the projector
puts the drawings of that thing, and a cell of a drawing where it is. Regression, without the language model: minutes on
one core, in bfloat16. How many cells of the photographs kept back come out nearest to the right concept is printed;
`python -m demo.validate` and the lens on held-out pictures say what it is worth.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from demo.features import read_shards
from demo.packing import patches_under
from demo.projector import apply_projector, read_projector, write_projector
from demo.scenes import Scene
from demo.sprites import load_concepts

PHOTOS, DRAWINGS, BACKGROUND = 1024, 2304, 256
PHOTO_WEIGHT, BACKGROUND_WEIGHT = 2.5, 0.2
PEAK_RATE = 1.5e-3
NORM = 3.3  # of a visual token: text embeddings have 3.2


@dataclass(frozen=True)
class Lesson:
    """What is learned from.

    Attributes:
        cells: of photographs, [n, 1280].
        names: number of the concept of each, [n].
        empty: background cells of photographs, [m, 1280].
        drawings: cells of drawings, [k, 1280].
        targets: where each concept belongs, [concepts, dim].
        nowhere: where background belongs, [dim].
        kept_cells: of photographs that are not learned from, [r, 1280].
        kept_names: number of the concept of each, [r].
    """

    cells: Tensor
    names: Tensor
    empty: Tensor
    drawings: Tensor
    targets: Tensor
    nowhere: Tensor
    kept_cells: Tensor
    kept_names: Tensor


def targets(projector: dict[str, Tensor], scenes: list[Scene], table: Tensor) -> tuple[Tensor, Tensor]:
    """Where the projector puts the drawings of each concept, and what is between them.

    Args:
        projector: of drawings.
        scenes: composed ones.
        table: their features, [scenes, 49, 1280].

    Returns:
        ``[concepts, dim]`` of one length each, and ``[dim]``.
    """
    numbers = {concept.word: number for number, concept in enumerate(load_concepts())}
    dim = projector["linear_2.bias"].shape[0]
    sums, between = torch.zeros(len(numbers), dim), []
    for scene, features in zip(scenes, table, strict=True):
        out = apply_projector(projector, features.float())
        used: set[int] = set()
        for thing in scene.objects:
            own = patches_under(scene, thing)
            sums[numbers[thing.concept.word]] += out[own].sum(0)
            used |= set(own)
        between.append(out[[cell for cell in range(len(out)) if cell not in used]])
    return F.normalize(sums, dim=-1) * NORM, torch.cat(between).mean(0)


def fit(projector: dict[str, Tensor], lesson: Lesson, steps: int, seed: int = 0) -> dict[str, Tensor]:
    """The projector after so many steps of AdamW, its rate falling as a cosine."""
    torch.manual_seed(seed)
    dim, width = projector["linear_1.weight"].shape
    first, second = nn.Linear(width, dim), nn.Linear(dim, dim)
    with torch.no_grad():
        for number, layer in ((1, first), (2, second)):
            layer.weight.copy_(projector[f"linear_{number}.weight"])
            layer.bias.copy_(projector[f"linear_{number}.bias"])
    optimiser = torch.optim.AdamW([*first.parameters(), *second.parameters()], weight_decay=1e-4)
    # Rare things are drawn more often than their number: by its square root.
    rarity = 1 / torch.bincount(lesson.names).clamp(min=20).float().sqrt()
    chance = rarity[lesson.names]
    weight = torch.cat(
        [torch.full((PHOTOS,), PHOTO_WEIGHT), torch.ones(DRAWINGS), torch.full((BACKGROUND,), BACKGROUND_WEIGHT)]
    )
    remain = _in_parts(projector, lesson.drawings)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * min(1, (step + 1) / 50) * (0.52 + 0.5 * math.cos(math.pi * step / steps))
        photo = torch.multinomial(chance, PHOTOS, replacement=True)
        drawn = torch.randint(len(lesson.drawings), (DRAWINGS,))
        empty = torch.randint(len(lesson.empty), (BACKGROUND,))
        wanted = torch.cat(
            [lesson.targets[lesson.names[photo]], remain[drawn].float(), lesson.nowhere.expand(BACKGROUND, -1)]
        )
        shown = torch.cat([lesson.cells[photo], lesson.drawings[drawn], lesson.empty[empty]]).float()
        with torch.autocast("cpu", torch.bfloat16):
            out = second(F.gelu(first(shown)))
        out = out.float()
        away = 1 - F.cosine_similarity(out, wanted, dim=-1)
        loss = ((3 * (out - wanted).square().mean(-1) + away) * weight).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 250 == 0:
            near = 1 - away.detach()
            sys.stderr.write(
                f"step {step}: cosine {near[:PHOTOS].mean():.3f} on photographs, "
                f"{near[PHOTOS : PHOTOS + DRAWINGS].mean():.3f} on drawings\n"
            )
    return {
        "linear_1.weight": first.weight.detach(),
        "linear_1.bias": first.bias.detach(),
        "linear_2.weight": second.weight.detach(),
        "linear_2.bias": second.bias.detach(),
    }


@torch.inference_mode()
def nearest_is_right(projector: dict[str, Tensor], lesson: Lesson) -> float:
    """Share of the kept-back photographs' cells that come out nearest to where their concept belongs."""
    out = F.normalize(_in_parts(projector, lesson.kept_cells).float(), dim=-1)
    nearest = (out @ F.normalize(lesson.targets, dim=-1).T).argmax(-1)
    return (nearest == lesson.kept_names).float().mean().item()


@torch.no_grad()
def _in_parts(projector: dict[str, Tensor], cells: Tensor) -> Tensor:
    """Outputs for very many cells, kept in half the space: [n, 1280] to [n, dim]."""
    return torch.cat([apply_projector(projector, part.float()).half() for part in torch.split(cells, 8192)])


def read_lesson(cells: Path, features: Path, projector: dict[str, Tensor]) -> Lesson:
    """What `demo.photo_cells` and `demo.features` have written."""
    photos = torch.load(cells, weights_only=True)
    scenes, drawn = read_shards(features)
    table = torch.from_numpy(drawn)
    aims, nowhere = targets(projector, scenes, table)
    kept = photos["kept_cells"], photos["kept_names"]
    return Lesson(photos["cells"], photos["names"], photos["background"], table.flatten(0, 1), aims, nowhere, *kept)


def main() -> None:
    """Read the options, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, required=True, help="what demo.photo_cells wrote")
    parser.add_argument("--features", type=Path, required=True, help="what demo.features wrote")
    parser.add_argument("--projector", type=Path, required=True, help="that knows drawings and no photographs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    projector = read_projector(arguments.projector)
    lesson = read_lesson(arguments.cells, arguments.features, projector)
    fitted = fit(projector, lesson, arguments.steps, arguments.seed)
    write_projector(fitted, arguments.out)
    if len(lesson.kept_names):
        before, after = (f"{nearest_is_right(one, lesson):.1%}" for one in (projector, fitted))
        print(f"{len(lesson.kept_names)} cells kept back: {after} nearest to their concept, {before} before")


if __name__ == "__main__":
    main()
