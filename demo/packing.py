"""Training sequences: several pictures in a row, several captions behind each picture.

A *group* is one picture: a trunk (prompt and visual tokens) and branches (captions). A token
sees its own trunk and the earlier tokens of its own branch, nothing else; positions go on from
the trunk, so every caption is computed as if it stood alone behind the picture.

Some groups show only a random part of the visual tokens (at their own positions), so that each
token has to carry what is under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo.captions import QUESTIONS, caption, noun
from demo.scenes import Placed, Scene
from demo.vision import GRID

SEQ, ROWS = 184, 8
BRANCHES = 5
SMALLEST_GROUP = 60
OBJECT_WEIGHT = 2.5
PREFIX = "<|im_start|>user\n"
TAIL = "<|im_end|>\n<|im_start|>assistant\n"
CELL = 1 / GRID


@dataclass
class Batch:
    """Tensors of one step; `visual` lists (row, column, scene, patch) of each visual token."""

    ids: Tensor
    positions: Tensor
    bias: Tensor
    labels: Tensor
    weights: Tensor
    visual: Tensor


@dataclass
class _Row:
    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    visual: list[tuple[int, int, int]] = field(default_factory=list)  # (column, scene, patch)
    count: int = 0

    def add(self, ids: Sequence[int], positions: Sequence[int], branch: int) -> None:
        self.ids += ids
        self.positions += positions
        self.groups += [self.count] * len(ids)
        self.branches += [branch] * len(ids)
        self.labels += [-100] * len(ids)
        self.weights += [0.0] * len(ids)


class Packer:
    """Makes batches of scenes with fresh captions."""

    def __init__(self, tokenizer: Any, scenes: Sequence[Scene], seed: int) -> None:
        """Keep the tokenizer; the generator decides wording, order and what is hidden."""
        self.tokenizer = tokenizer
        self.scenes = scenes
        self.rng = np.random.default_rng(seed)
        self.prefix, self.tail = self.encode(PREFIX), self.encode(TAIL)
        self.newline, self.stop = self.encode("\n"), self.encode("<|im_end|>")
        self.names: dict[str, set[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, special tokens only where it spells them out."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def pack(self, regions: bool) -> Batch:
        """One batch of ROWS sequences; `regions` shows one object at a time with its name alone."""
        rows = []
        for _ in range(ROWS):
            row = _Row()
            smallest = 24 if regions else SMALLEST_GROUP
            while SEQ - len(row.ids) >= smallest:
                scene = int(self.rng.integers(len(self.scenes)))
                (self._add_region if regions else self._add_scene)(row, scene)
            rows.append(row)
        return _to_batch(rows)

    def caption_ids(self, scene: Scene) -> list[int]:
        """Token ids of one fresh caption with its end."""
        return [*self.encode(caption(self.rng, scene)), *self.stop]

    def _add_scene(self, row: _Row, index: int) -> None:
        scene = self.scenes[index]
        room = SEQ - len(row.ids)
        whole = room > 120 and self.rng.random() < 0.5
        patches = list(range(GRID * GRID)) if whole else self._visible(scene, 20 if room < 90 else 32)
        chat = self.rng.random() < 0.5
        question = QUESTIONS[int(self.rng.integers(len(QUESTIONS)))]
        ending = [*self.encode("\n" + question), *self.tail] if chat else self.newline
        self._add_trunk(row, index, patches, ending)
        for branch in range(1, BRANCHES + 1):
            if not self._add_branch(row, scene, branch, self.caption_ids(scene), len(ending)):
                break
        row.count += 1

    def _add_region(self, row: _Row, index: int) -> None:
        scene = self.scenes[index]
        thing = scene.objects[int(self.rng.integers(len(scene.objects)))]
        patches = patches_under(scene, thing)
        self.rng.shuffle(patches)
        self._add_trunk(row, index, sorted(patches[:6]), self.newline)
        self._add_branch(row, scene, 1, [*self.encode(noun(thing.concept.word)), *self.stop], 1)
        row.count += 1

    def _visible(self, scene: Scene, most: int) -> list[int]:
        """A random part of the patches: some of every object's, fewer of the background's."""
        chosen: set[int] = set()
        for thing in scene.objects:
            own = patches_under(scene, thing)
            keep = max(1, round(len(own) * self.rng.uniform(0.25, 0.8)))
            chosen |= set(self.rng.permutation(own)[:keep].tolist())
        others = self.rng.permutation(GRID * GRID).tolist()
        chosen |= set(others[: int(self.rng.integers(2, 14))])
        return sorted(self.rng.permutation(sorted(chosen))[:most].tolist())

    def _add_trunk(self, row: _Row, index: int, patches: list[int], ending: list[int]) -> None:
        start = len(self.prefix)
        row.add(self.prefix, range(start), 0)
        for patch in patches:
            row.visual.append((len(row.ids), index, patch))
            row.add([0], [start + patch], 0)
        row.add(ending, range(start + GRID * GRID, start + GRID * GRID + len(ending)), 0)

    def _add_branch(self, row: _Row, scene: Scene, branch: int, ids: list[int], ending: int) -> bool:
        """Append a caption if it fits.

        The trunk's last token predicts the caption's first. One position has one label, so each
        branch begins with a copy of that token.
        """
        if len(row.ids) + len(ids) > SEQ:
            return False
        trunk_end = len(self.prefix) + GRID * GRID + ending
        last = next(i for i in range(len(row.ids) - 1, -1, -1) if row.branches[i] == 0)
        inputs = [row.ids[last], *ids[:-1]]
        at = len(row.ids)
        row.add(inputs, range(trunk_end - 1, trunk_end - 1 + len(inputs)), branch)
        names = self._names_in(scene)
        row.labels[at:] = ids
        row.weights[at:] = [OBJECT_WEIGHT if i in names else 1.0 for i in ids]
        return True

    def _names_in(self, scene: Scene) -> set[int]:
        return set().union(*(self._name_ids(thing) for thing in scene.objects))

    def _name_ids(self, thing: Placed) -> set[int]:
        """First tokens of a concept's word, as it begins a text or goes on."""
        word = thing.concept.word
        if word not in self.names:
            spellings = (word, " " + word, word.capitalize(), " " + word.capitalize())
            self.names[word] = {self.encode(text)[0] for text in spellings}
        return self.names[word]


def patches_under(scene: Scene, thing: Placed) -> list[int]:
    """Row-major patches whose centre lies in the object's box (at least the nearest one)."""
    x0, y0, x1, y1 = thing.box
    left, right, top, bottom = x0 / scene.width, x1 / scene.width, y0 / scene.height, y1 / scene.height
    centres = [(i + 0.5) * CELL for i in range(GRID)]
    columns = [i for i, x in enumerate(centres) if left <= x < right]
    rows = [i for i, y in enumerate(centres) if top <= y < bottom]
    columns = columns or [min(GRID - 1, int((left + right) / 2 * GRID))]
    rows = rows or [min(GRID - 1, int((top + bottom) / 2 * GRID))]
    return [row * GRID + column for row in rows for column in columns]


def _to_batch(rows: list[_Row]) -> Batch:
    def table(name: str, fill: float, dtype: torch.dtype) -> Tensor:
        out = torch.full((len(rows), SEQ), fill, dtype=dtype)
        for i, row in enumerate(rows):
            values = getattr(row, name)
            out[i, : len(values)] = torch.tensor(values, dtype=dtype)
        return out

    groups, branches = table("groups", -1, torch.long), table("branches", 0, torch.long)
    visual = torch.tensor([(i, *entry) for i, row in enumerate(rows) for entry in row.visual])
    return Batch(
        ids=table("ids", 0, torch.long),
        positions=table("positions", 0, torch.long),
        bias=_bias(groups, branches),
        labels=table("labels", -100, torch.long),
        weights=table("weights", 0, torch.float32),
        visual=visual,
    )


def _bias(groups: Tensor, branches: Tensor) -> Tensor:
    """Additive mask [rows, 1, seq, seq]: back in time, one's own group, its trunk or one's own branch.

    A branch repeats the trunk's last token as its first, so it must not see the original.
    """
    same = groups[:, :, None] == groups[:, None, :]
    queries, keys = branches[:, :, None], branches[:, None, :]
    following = torch.cat([branches[:, 1:], branches[:, -1:]], 1)
    trunk_end = ((branches == 0) & (following == 1))[:, None, :]
    seen = same & (((keys == 0) & ~((queries > 0) & trunk_end)) | (keys == queries))
    seen &= torch.ones(groups.shape[1], groups.shape[1]).tril().bool()
    seen |= torch.eye(groups.shape[1]).bool()
    return torch.zeros(seen.shape).masked_fill(~seen, -1e4).bfloat16()[:, None]
