"""Weights that are not where they are used: what accelerate keeps on disk, or in memory beside a GPU.

accelerate leaves a tensor without data (device ``meta``) in the model and fetches the values for each call. Here is
what this program does with such modules beside calling them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def execution_device(module: nn.Module) -> torch.device:
    """Where a module computes, wherever its weights are kept.

    Args:
        module: with parameters.
    """
    for hook in _hooks(module):
        if getattr(hook, "execution_device", None) is not None:
            place = hook.execution_device
            return torch.device("cuda", place) if isinstance(place, int) else torch.device(place)
    return next(module.parameters()).device


def stored_tensors(module: nn.Module, besides: tuple[str, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """The entries of a module's state dict, sorted by name, one in memory at a time.

    Args:
        module: any.
        besides: beginnings of names that are left out.

    Yields:
        Name and tensor; a tensor kept elsewhere is read from there.
    """
    for name, tensor in sorted(module.state_dict().items()):
        if name.startswith(besides):
            continue
        yield name, _fetched(module, name) if tensor.is_meta else tensor


@contextmanager
def resident(module: nn.Module) -> Iterator[None]:
    """Hold a module's weights on its device for as long as it is called again and again.

    Does nothing where they are there already.
    """
    with ExitStack() as held:
        for part in module.modules():
            if any(getattr(hook, "offload", False) for hook in _hooks(part)):
                from accelerate.utils import align_module_device

                held.enter_context(align_module_device(part))
                held.enter_context(_without_fetching(part))
        yield


@contextmanager
def _without_fetching(module: Any) -> Iterator[None]:
    """Call a module's own forward, past accelerate's."""
    fetching = module.forward
    module.forward = module._old_forward
    try:
        yield
    finally:
        module.forward = fetching


def _fetched(module: nn.Module, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    for hook in _hooks(module.get_submodule(owner)):
        weights = getattr(hook, "weights_map", None)
        if weights is not None:
            tensor: Tensor = weights[leaf]
            return tensor
    raise KeyError(name)


def _hooks(module: nn.Module) -> tuple[Any, ...]:
    """What accelerate has hooked onto a module."""
    hook: Any = getattr(module, "_hf_hook", None)
    if hook is None:
        return ()
    return tuple(getattr(hook, "hooks", (hook,)))
