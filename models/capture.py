"""Hidden states of chosen layers, taken with hooks: the only place that registers any.

Layer 0 is what enters the first block; layer k is the output of block k, before the final norm.
(The last entry of transformers' ``hidden_states`` is after the final norm, hence the hooks.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..schemas.errors import ModelError
from .layers import LanguageModel, check_layers


class _StopForwardError(BaseException):
    """Leaves the forward pass; a ``BaseException`` so that no model code swallows it."""


@contextmanager
def capture_hidden_states(
    lm: LanguageModel, layers: Iterable[int], stop_early: bool = True
) -> Iterator[dict[int, Tensor]]:
    """Record hidden states while one forward pass runs in the ``with`` body.

    The body must hold the forward call and nothing after it: with ``stop_early`` the pass is left
    by an exception as soon as the deepest layer is there, so deeper blocks and the LM head never
    run and the call returns nothing::

        with torch.inference_mode(), capture_hidden_states(lm, [4, 8]) as states:
            lm.module(input_ids=ids, attention_mask=mask, use_cache=False)
        states[8]  # [batch, seq, dim]

    Args:
        lm: the language model, alone or inside a VLM whose forward is called.
        layers: layer numbers, 0 to ``lm.n_layers``.
        stop_early: leave the forward pass after the deepest layer.

    Yields:
        Filled during the pass: layer → ``[batch, seq, dim]`` as the block emitted it: on the
        model's device, in its dtype, detached, padding included.

    Raises:
        LayerError: a layer that does not exist.
        ModelError: a layer that did not fire, or fired twice.
    """
    wanted = check_layers(layers, lm.n_layers)
    states: dict[int, Tensor] = {}
    stop = _StopForwardError()

    def record(layer: int, value: object) -> None:
        if layer in states:
            raise ModelError(f"Layer {layer} ran twice; expected one forward pass inside the capture.")
        states[layer] = _as_states(layer, value).detach()
        if stop_early and layer == wanted[-1]:
            raise stop

    handles = [_hook(lm.blocks, layer, record) for layer in wanted]
    try:
        yield states
    except _StopForwardError as signal:
        # Another capture's signal is not ours to swallow.
        if signal is not stop:
            raise
    finally:
        # The signal knows the frames it went through, and they hold the pass's tensors: let go of them here, not
        # when the garbage collector next comes by.
        stop.__traceback__ = None
        for handle in handles:
            handle.remove()
    missing = [layer for layer in wanted if layer not in states]
    if missing:
        raise ModelError(
            f"Layer {', '.join(map(str, missing))} did not run; expected one forward pass of the model.",
            "The model skips blocks or runs them in another module: it is not supported.",
        )


@contextmanager
def capture_every_pass(lm: LanguageModel, layers: Iterable[int]) -> Iterator[dict[int, list[Tensor]]]:
    """Record hidden states of every forward pass in the ``with`` body, as of a generation with a cache.

    Args:
        lm: as of :func:`capture_hidden_states`.
        layers: layer numbers, 0 to ``lm.n_layers``.

    Yields:
        Filled during the passes: layer → ``[batch, seq, dim]`` of each of them, as the block emitted it.

    Raises:
        LayerError: a layer that does not exist.
    """
    states: dict[int, list[Tensor]] = {layer: [] for layer in check_layers(layers, lm.n_layers)}

    def record(layer: int, value: object) -> None:
        states[layer].append(_as_states(layer, value).detach())

    handles = [_hook(lm.blocks, layer, record) for layer in states]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _hook(blocks: nn.ModuleList, layer: int, record: Callable[[int, object], None]) -> Any:
    """Hook block ``layer``'s output, or for layer 0 the first block's input."""
    if layer > 0:
        return blocks[layer - 1].register_forward_hook(lambda _module, _args, output: record(layer, output))

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        record(0, args[0] if args else kwargs.get("hidden_states"))

    return blocks[0].register_forward_pre_hook(before, with_kwargs=True)


def _as_states(layer: int, value: object) -> Tensor:
    """The hidden states in a block's output: a tensor, or the first entry of a tuple."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if not isinstance(value, Tensor) or value.ndim != 3:
        seen = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ModelError(f"Layer {layer} gave {seen}; expected hidden states [batch, seq, dim].")
    return value


@contextmanager
def changed_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Give whoever calls a module something made of its output in its place; for experiments.

    Args:
        module: any part of a model.
        change: of the module's output, a tensor.
    """
    handle = module.register_forward_hook(lambda _module, _inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()
