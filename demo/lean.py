"""The frozen language model as a lean, compilable function of input embeddings.

Training spends nearly all its time in the frozen model's forward and backward. Folding the
norm weights into the projections, fusing q/k/v and gate/up, and compiling one fixed shape
makes it about three times as fast on a CPU with bfloat16 matrix units. The result is the same model
up to bfloat16 rounding (a test compares them).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import LlamaForCausalLM


class LeanLlama(nn.Module):
    """A Llama decoder without gradients for its weights.

    Args:
        model: the full model, whose weights are read, not kept.
        dtype: of the matrix products.
    """

    def __init__(self, model: LlamaForCausalLM, dtype: torch.dtype = torch.bfloat16) -> None:
        """Fold and fuse the weights."""
        super().__init__()
        config: Any = model.config
        self.heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads)
        self.head_dim = int(config.hidden_size) // self.heads
        self.eps = float(config.rms_norm_eps)
        self.theta = float(config.rope_parameters["rope_theta"])
        self.layers = [_fold(layer, dtype) for layer in model.model.layers]
        self.final_norm = model.model.norm.weight.detach().float()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        """The state after the last block, before the final norm.

        Args:
            x: input embeddings [batch, seq, dim].
            cos: rotary cosines [batch, 1, seq, head_dim / 2].
            sin: rotary sines, likewise.
            bias: additive attention mask [batch, 1, seq, seq].
        """
        for qkv, out, gate_up, down in self.layers:
            x = x + F.linear(self._attend(F.linear(_norm(x, self.eps), qkv), cos, sin, bias), out)
            gate, up = F.linear(_norm(x, self.eps), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return x

    def _attend(self, qkv: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        batch, seq, _ = qkv.shape
        h, k, d = self.heads, self.kv_heads, self.head_dim
        split = qkv.view(batch, seq, h + 2 * k, d).transpose(1, 2)
        a, b = split[:, : h + k, :, : d // 2], split[:, : h + k, :, d // 2 :]
        rotated = torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
        queries = rotated[:, :h].reshape(batch * k, h // k * seq, d)
        keys = rotated[:, h:].reshape(batch * k, seq, d)
        weights = torch.bmm(queries, keys.transpose(1, 2)).view(batch, h, seq, seq) * d**-0.5 + bias
        weights = weights.float().softmax(-1).to(qkv.dtype).view(batch * k, h // k * seq, seq)
        mixed = torch.bmm(weights, split[:, h + k :].reshape(batch * k, seq, d))
        return mixed.view(batch, h, seq, d).transpose(1, 2).reshape(batch, seq, h * d)

    def rotary(self, positions: Tensor, dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, Tensor]:
        """Cosines and sines [batch, 1, seq, head_dim / 2] for positions [batch, seq]."""
        frequencies = self.theta ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        angles = positions[:, None, :, None].float() * frequencies
        return angles.cos().to(dtype), angles.sin().to(dtype)


def _norm(x: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), eps=eps)


def _fold(layer: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    attention, mlp = layer.self_attn, layer.mlp
    first, second = layer.input_layernorm.weight.float(), layer.post_attention_layernorm.weight.float()
    qkv = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]).float() * first
    gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).float() * second
    out, down = attention.o_proj.weight, mlp.down_proj.weight
    return _narrow(qkv, dtype), _narrow(out, dtype), _narrow(gate_up, dtype), _narrow(down, dtype)


def _narrow(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.detach().to(dtype).contiguous()
