"""What an image takes in memory, beside the estimate that `inspect` and `query` print.

    python -m benchmarks.compare_memory --model .cache/demo-model demo/data/images/scene_14.png

The measured figure is what torch held at once during a pass beyond what it held before: on a CPU by its profiler's
record of every allocation, on a GPU by its allocator's own peak. Weights are not in it, nor what is not torch's.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from lensbank.models.loading import load_model
from lensbank.models.machine.memory import estimate_memory
from lensbank.models.states import visual_states
from lensbank.models.visual_tokens import prepare_image


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    loaded = load_model(options.model, device=options.device, dtype=options.dtype, need_vision=True)
    visual = prepare_image(loaded, Image.open(options.image).convert("RGB"))
    for layers in ((loaded.lm.n_layers,), tuple(range(loaded.lm.n_layers + 1))):
        needed = estimate_memory(loaded, visual.inputs, len(visual.tokens), layers)
        expected = needed.activations + needed.states
        measured = peak(loaded.device, lambda kept=layers: visual_states(loaded, visual, kept))  # type: ignore[misc]
        print(
            f"{loaded.name}, {loaded.dtype_name}, {len(visual.tokens)} visual tokens, {len(layers)} layers: "
            f"measured {measured / 2**20:.1f} MiB, estimated {expected / 2**20:.1f} MiB ({measured / expected:.0%})"
        )
    return 0


def peak(device: torch.device, call: Callable[[], object]) -> int:
    """Most bytes that torch held at once during a call, beyond what it held before."""
    call()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return int(torch.cuda.max_memory_allocated(device) - before)
    # oneDNN's kernels take scratch memory of their own, megabytes on some processors, which the record would count:
    # the estimate is of tensors.
    backend: Any = torch.backends.mkldnn
    usual, backend.enabled = backend.enabled, False
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            call()
    finally:
        backend.enabled = usual
    results: Any = found.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


if __name__ == "__main__":
    raise SystemExit(main())
