"""Memory that ran out, of the machine or of its device: how libraries say so, and what can be given back."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

# What torch's allocators say where the type of the exception does not: on a CPU it is a plain RuntimeError.
_SAID = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out at the root of an error."""
    return any(
        isinstance(cause, torch.OutOfMemoryError | MemoryError)
        or (isinstance(cause, RuntimeError) and any(said in str(cause) for said in _SAID))
        for cause in causes_of(error)
    )


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def release_memory() -> None:
    """Give back what nobody holds any more: tensors in cycles, and what the device's allocator keeps."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
