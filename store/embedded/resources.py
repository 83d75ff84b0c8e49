"""What the machine has for writing: cores for its processes, memory for indexes."""

from __future__ import annotations

import os

from ...schemas.errors import UsageError
from ...schemas.machine import cores, free_memory

#: Environment variable: how many processes write, where the default does not suit.
WRITERS = "LENSBANK_WRITERS"
#: Indexing may take this much memory, on however small a machine ...
_LEAST_MEMORY = 1 << 30
#: ... and this share of what is free, over all banks that are indexed side by side.
_MEMORY_SHARE = 4
#: Bytes of memory for each row that is indexed: payload indexes while they are made (docs/storage.md, "Memory");
#: quantised copies and the graph grow with the width.
_ROW_MEMORY = 3000


def writing_processes(banks: int, wanted: int | None = None) -> int:
    """Processes that write: one per bank, while a core is left for the encoder.

    Args:
        banks: written together.
        wanted: instead of what :data:`WRITERS` or the number of cores says.

    Raises:
        UsageError: :data:`WRITERS` is no number of processes.
    """
    said = os.environ.get(WRITERS, "").strip()
    if wanted is None and said:
        if not (said.isascii() and said.isdigit() and int(said)):
            raise UsageError(
                f"The environment variable {WRITERS} is {said!r}; expected a number of processes, 1 or more."
            )
        wanted = int(said)
    return max(1, min(banks, cores() - 1 if wanted is None else wanted))


def indexed_at_once(processes: int, rows: int, dim: int) -> int:
    """Banks that may be indexed side by side, in a share of the memory that is free.

    Args:
        processes: that could.
        rows: that are merged into one segment.
        dim: numbers per vector.
    """
    memory = max(_LEAST_MEMORY, (free_memory() or 0) // _MEMORY_SHARE)
    return max(1, min(processes, memory // (max(1, rows) * (_ROW_MEMORY + dim))))
