"""In which precision a model computes where none is asked for: measured, not believed.

A processor may announce bfloat16 and be slower in it than in float32. So one block of the model's shape runs in both,
which takes a fraction of a second, before the weights are read.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel

from ...schemas.machine import free_memory
from ...schemas.units import show_bytes
from .devices import DTYPES, has_native_bfloat16, has_own

#: float32 is kept unless bfloat16 takes less than this share of its time: it is the more exact of the two, and a choice
#: that hangs on noise would not be the same the next time.
_FASTER = 0.85
#: Cosine of a token's state in bfloat16 with that in float32, at least; rounding leaves more than 0.999.
_GOOD_ENOUGH = 0.99
#: Blocks of fewer numbers are done before it matters.
_SMALL_BLOCK = 500_000
#: Share of the free memory that weights may take.
_MEMORY_SHARE = 0.7
# Enough tokens for the products to take the time, not the reading of weights; fewer where a block is large.
_SENTENCES, _LENGTH_CPU, _LENGTH_LARGE, _LENGTH_GPU = 8, 12, 4, 256
_LARGE_BLOCK = 20_000_000
_ROUNDS, _PATIENCE_SECONDS = 5, 0.3
_POOL = 1_000_003  # prime, so that no two rows of a weight are alike


@dataclass(frozen=True, slots=True)
class Precision:
    """What was chosen, and why.

    Attributes:
        dtype: to compute in.
        milliseconds: of one block, by dtype; empty where nothing was measured.
        reason: for people, one sentence.
    """

    dtype: torch.dtype
    reason: str
    milliseconds: Mapping[str, float] = field(default_factory=dict)


def choose_precision(config: Any, device: torch.device, like: str | None = None) -> Precision:
    """The faster of the precisions that a device has, if its states are good enough.

    Args:
        config: of the model, transformers' own.
        device: where it will run.
        like: dtype of banks to compare with, which rounds as they do: taken unmeasured where the device has it.
    """
    if not has_native_bfloat16(device):
        return Precision(torch.float32, "Computing in float32: this device does not support bfloat16.")
    if like in DTYPES and like != "float32" and has_own(like, device):
        return kept(DTYPES[like])
    try:
        size = sum(p.numel() for p in _one_block(config, torch.device("meta")).parameters())  # takes no memory
    except Exception:  # an architecture that cannot be laid out by its configuration alone
        return Precision(
            torch.bfloat16,
            "Computing in bfloat16: this device supports it, and the speed of a block could not be measured.",
        )
    needed, free = 4 * size * _depth(config), _free(device)
    if free is not None and needed > _MEMORY_SHARE * free:
        return Precision(
            torch.bfloat16,
            f"Computing in bfloat16: the blocks take {show_bytes(needed)} in float32, and only {show_bytes(free)} are "
            "free.",
        )
    if like == "float32":
        return kept(torch.float32)
    if size < _SMALL_BLOCK:
        return Precision(
            torch.float32, "Computing in float32: the blocks are so small that their speed was not measured."
        )
    block = _one_block(config, device)
    for parameter in block.parameters():
        parameter.data = _filled(parameter.data)
    return _faster(block, size, int(config.get_text_config().hidden_size), device)


def kept(dtype: torch.dtype) -> Precision:
    """The precision that banks have already."""
    return Precision(dtype, f"Computing in {str(dtype).removeprefix('torch.')}, like the model's banks in the store.")


def _faster(block: nn.Module, size: int, width: int, device: torch.device) -> Precision:
    """Run the block in both precisions by turns, and compare."""
    on_cpu = device.type == "cpu"
    length = _LENGTH_GPU if not on_cpu else _LENGTH_LARGE if size > _LARGE_BLOCK else _LENGTH_CPU
    states = _filled(torch.empty(_SENTENCES, length, width, device=device)) * 50
    blocks = {"float32": block, "bfloat16": copy.deepcopy(block).to(torch.bfloat16)}
    inputs = {"float32": states, "bfloat16": states.to(torch.bfloat16)}
    best = dict.fromkeys(blocks, float("inf"))
    with torch.inference_mode(), _one_thread() if on_cpu else nullcontext():
        outputs = {name: _run(each, inputs[name]).float() for name, each in blocks.items()}  # and warms up
        began = _now(device)
        for number in range(_ROUNDS):
            if number and _now(device) - began > _PATIENCE_SECONDS:
                break
            for name, each in blocks.items():
                start = _now(device)
                _run(each, inputs[name])
                best[name] = min(best[name], 1000 * (_now(device) - start))
        alike = float(nn.functional.cosine_similarity(outputs["float32"], outputs["bfloat16"], dim=-1).min())
    return judged(best, alike)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread's processor time is the same whatever else the machine does; a clock's is not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def judged(milliseconds: Mapping[str, float], alike: float) -> Precision:
    """What follows from both times and the least cosine between both states (NaN where one is not finite)."""
    times = ", ".join(f"{took:.2f} ms in {name}" for name, took in milliseconds.items())
    if not alike >= _GOOD_ENOUGH:
        reason = (
            f"Computing in float32: states in bfloat16 are not accurate enough (cosine {alike:.3f}; a block: {times})."
        )
        return Precision(torch.float32, reason, milliseconds)
    faster = milliseconds["bfloat16"] < _FASTER * milliseconds["float32"]
    dtype = torch.bfloat16 if faster else torch.float32
    name = str(dtype).removeprefix("torch.")
    why = (
        "which is the faster one"
        if milliseconds[name] == min(milliseconds.values())
        else "which is about as fast and more accurate"
    )
    return Precision(dtype, f"Computing in {name}, {why} (measured: a block takes {times}).", milliseconds)


def _one_block(config: Any, device: torch.device) -> nn.Module:
    """A language model of one block of the right shape; its weights are whatever the memory holds."""
    from transformers.initialization import no_init_weights

    made: Any = AutoModel
    text = copy.deepcopy(config.get_text_config())
    text.num_hidden_layers = 1
    if getattr(text, "layer_types", None):
        text.layer_types = list(text.layer_types)[:1]
    text.vocab_size, text.pad_token_id = 8, None
    with no_init_weights(), device:
        block: nn.Module = made.from_config(text, dtype=torch.float32)
    return block.eval()


def _filled(tensor: Tensor) -> Tensor:
    """Small numbers; drawing as many as a block of 7 B has would take seconds."""
    chance = torch.Generator().manual_seed(0)
    pool = (torch.rand(_POOL, generator=chance) - 0.5).mul_(0.04).to(tensor.device)
    count = tensor.numel()
    return pool.repeat(-(-count // _POOL))[:count].reshape(tensor.shape)


def _run(block: nn.Module, states: Tensor) -> Tensor:
    output: Tensor = block(inputs_embeds=states, use_cache=False).last_hidden_state
    return output


def _now(device: torch.device) -> float:
    if device.type == "cpu":
        return time.thread_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _depth(config: Any) -> int:
    return int(config.get_text_config().num_hidden_layers)


def _free(device: torch.device) -> int | None:
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()
