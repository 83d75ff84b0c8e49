"""Training of the projector: frozen language model, frozen vision tower, caption loss only.

The schedule follows the clock, so it fits the machine it runs on; a run that was stopped goes on
from its last checkpoint. See demo/PROVENANCE.md.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import AutoTokenizer, LlamaForCausalLM

from demo.features import read_shards
from demo.lean import LeanLlama
from demo.packing import Batch, Packer
from demo.projector import Projector, write_projector

RANDOM_VOCABULARY = 2000
AVERAGE = 0.997
PEAK_RATE = 2e-3
LAST = "last.pt"


@dataclass
class Schedule:
    """What is done when, as functions of the elapsed share of the run."""

    minutes: float
    region_minutes: float = 3.0
    hold_until: float = 0.15
    free_from: float = 0.4

    def regions(self, elapsed: float) -> bool:
        """Whether these are still the first minutes, of single objects with their names."""
        return elapsed < self.region_minutes

    def hold(self, elapsed: float) -> float:
        """How strictly outputs are normalised: fully at first, later not at all."""
        share = elapsed / self.minutes
        return min(1.0, max(0.0, 1 - (share - self.hold_until) / (self.free_from - self.hold_until)))

    def rate(self, elapsed: float) -> float:
        """Learning rate: half a minute of warm-up, then a cosine down to 2 %."""
        share = min(1.0, elapsed / self.minutes)
        return PEAK_RATE * min(1.0, 0.02 + elapsed / 0.5) * (0.02 + 0.49 * (1 + math.cos(math.pi * share)))


@dataclass
class Progress:
    """How far the run is; saved with the weights."""

    elapsed: float = 0.0  # minutes of training, earlier runs included
    step: int = 0
    tokens: int = 0
    pictures: int = 0
    losses: list[float] = field(default_factory=list)


class Trainer:
    """One run: model, data and optimiser."""

    def __init__(self, features: Path, language: Path, out: Path, minutes: float, seed: int) -> None:
        """Load everything; go on from `out` when a checkpoint is there."""
        self.out, self.schedule, self.progress = out, Schedule(minutes), Progress()
        scenes, table = read_shards(features)
        self.features = torch.from_numpy(table)
        model = LlamaForCausalLM.from_pretrained(language, dtype=torch.float32).requires_grad_(False)
        self.embeddings = model.model.embed_tokens.weight.detach()
        self.packer = Packer(AutoTokenizer.from_pretrained(language), scenes, seed)
        self.lean = LeanLlama(model)
        # Compiling needs a C++ compiler; without one the same steps take about twice as long.
        self.forward: Any = torch.compile(self.lean, dynamic=False) if _has_compiler() else self.lean
        self.vocabulary = used_vocabulary(self.packer, len(self.embeddings), seed)
        self.index = torch.full((len(self.embeddings),), -100)
        self.index[self.vocabulary] = torch.arange(len(self.vocabulary))
        self.unembed = (self.embeddings[self.vocabulary] * self.lean.final_norm).bfloat16()
        dim = self.embeddings.shape[1]
        scale = float(self.embeddings[self.vocabulary].norm(dim=-1).mean()) / dim**0.5
        sample = self.features[:: max(1, len(self.features) // 500)].float()
        self.projector = Projector(sample.mean((0, 1)), sample.std((0, 1)) + 0.05, dim, scale)
        self.average = {name: value.clone() for name, value in self.projector.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.projector.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=1e-3)
        self._resume()

    def _resume(self) -> None:
        if not (self.out / LAST).is_file():
            return
        state = torch.load(self.out / LAST, weights_only=True)
        self.projector.load_state_dict(state["projector"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])
        self.packer.rng = np.random.default_rng(self.progress.step)

    def save(self) -> None:
        """Write the running average as FastVLM's layers, and the state to go on from."""
        progress = {k: v for k, v in vars(self.progress).items() if k != "losses"}
        state = {
            "projector": self.projector.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "progress": progress,
        }
        torch.save(state, self.out / "last.part")
        (self.out / "last.part").rename(self.out / LAST)
        smooth = Projector(
            self.projector.mean, self.projector.std, self.projector.second.out_features, self.projector.scale
        )
        smooth.load_state_dict(self.average)
        write_projector(smooth.plain(), self.out / f"projector-{self.progress.step:06d}.safetensors")

    def run(self, every: float) -> None:
        """Train until the schedule ends, saving every `every` minutes."""
        saved = self.progress.elapsed
        while self.progress.elapsed < self.schedule.minutes:
            started = time.monotonic()
            accuracy, drift = self._step(self.packer.pack(self.schedule.regions(self.progress.elapsed)))
            # The first step compiles for a minute: do not let that use up the schedule.
            self.progress.elapsed += min(time.monotonic() - started, 5.0) / 60
            if self.progress.step % 50 == 0:
                self._log(accuracy, drift)
            if self.progress.elapsed - saved > every:
                saved = self.progress.elapsed
                self.save()
        self.save()

    def _step(self, batch: Batch) -> tuple[float, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate(self.progress.elapsed)
        states, log_rms = self._states(batch)
        at = batch.labels >= 0
        target, weight = self.index[batch.labels[at]], batch.weights[at]
        logits = F.linear(F.rms_norm(states[at], (states.shape[-1],), eps=self.lean.eps), self.unembed).float()
        losses = F.cross_entropy(logits, target, ignore_index=-100, reduction="none")
        loss = (losses * weight).sum() / weight.sum()
        self.optimiser.zero_grad()
        (loss + log_rms.pow(2).mean()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.projector.parameters(), 1.0)
        self.optimiser.step()
        for name, value in self.projector.state_dict().items():
            self.average[name].lerp_(value, 1 - min(AVERAGE, self.progress.step / (self.progress.step + 20)))
        self.progress.step += 1
        self.progress.tokens += int(at.sum())
        self.progress.pictures += len(set(batch.visual[:, 2].tolist()))
        self.progress.losses.append(float(losses.detach().mean()))
        named = weight > 1
        accuracy = (logits.detach().argmax(-1) == target)[named].float().mean()
        return float(accuracy), float(log_rms.detach().abs().mean())

    def _states(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """States after the last block, and the log of the visual tokens' scale before it is held."""
        row, column, scene, patch = batch.visual.T
        hold = self.schedule.hold(self.progress.elapsed)
        visual, log_rms = self.projector(self.features[scene, patch].float(), hold)
        embedded = self.embeddings[batch.ids].bfloat16()
        embedded[row, column] = visual.bfloat16()
        cosines, sines = self.lean.rotary(batch.positions)
        return self.forward(embedded, cosines, sines, batch.bias), log_rms

    def _log(self, accuracy: float, drift: float) -> None:
        progress = self.progress
        row = {
            "step": progress.step,
            "minutes": round(progress.elapsed, 2),
            "tokens": progress.tokens,
            "pictures": progress.pictures,
            "loss": round(float(np.mean(progress.losses[-50:])), 4),
            "name_accuracy": round(accuracy, 3),
            "log_rms": round(drift, 3),
        }
        progress.losses = progress.losses[-50:]
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def used_vocabulary(packer: Packer, size: int, seed: int) -> Tensor:
    """Ids that captions use, plus a fixed random sample: the loss's softmax runs over these."""
    used: set[int] = set()
    for scene in packer.scenes[:6000]:
        used |= set(packer.caption_ids(scene))
    for word_ids in (packer._name_ids(thing) for scene in packer.scenes[:6000] for thing in scene.objects):
        used |= word_ids
    used |= {int(i) for i in np.random.default_rng(seed).integers(0, size, RANDOM_VOCABULARY)}
    return torch.tensor(sorted(used))


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
