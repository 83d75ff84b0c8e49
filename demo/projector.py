"""FastVLM's projector as it is trained here, and its files."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demo.vision import FEATURES


class Projector(nn.Module):
    """FastVLM's projector (1280 -> dim -> gelu -> dim), trained on standardised features.

    The standardisation and the output scale are folded into plain linear layers by :meth:`plain`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, dim: int, scale: float) -> None:
        """Keep the features' statistics and the root mean square of a text embedding (`scale`)."""
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, dim), nn.Linear(dim, dim)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.scale = scale

    def forward(self, x: Tensor, hold: float) -> tuple[Tensor, Tensor]:
        """Outputs at text scale, and the log of their root mean square before it is held.

        Args:
            x: features [..., 1280].
            hold: 1 normalises every output, 0 leaves it as it is.
        """
        out = self.second(F.gelu(self.first((x - self.mean) / self.std)))
        log_rms = out.pow(2).mean(-1, keepdim=True).clamp_min(1e-8).log() / 2
        return out * (-hold * log_rms).exp() * self.scale, log_rms

    @torch.no_grad()
    def plain(self) -> dict[str, Tensor]:
        """The same function as FastVLM's own two layers (outputs not held)."""
        first = self.first.weight / self.std
        return {
            "linear_1.weight": first,
            "linear_1.bias": self.first.bias - first @ self.mean,
            "linear_2.weight": self.second.weight * self.scale,
            "linear_2.bias": self.second.bias * self.scale,
        }


def write_projector(tensors: dict[str, Tensor], path: Path) -> None:
    """Save FastVLM projector tensors as bfloat16 safetensors, atomically."""
    partial = path.with_suffix(".part")
    save_file({name: tensor.detach().bfloat16().contiguous() for name, tensor in tensors.items()}, partial)
    partial.rename(path)


def read_projector(path: Path) -> dict[str, Tensor]:
    """A committed or checkpointed projector, in float32."""
    return {name: tensor.float() for name, tensor in load_file(path).items()}


def apply_projector(tensors: dict[str, Tensor], features: Tensor) -> Tensor:
    """What FastVLM computes from features [..., 1280]: visual tokens [..., dim]."""
    hidden = F.gelu(F.linear(features, tensors["linear_1.weight"], tensors["linear_1.bias"]))
    return F.linear(hidden, tensors["linear_2.weight"], tensors["linear_2.bias"])
