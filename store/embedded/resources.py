"""What the machine has for writing: cores for its processes, memory for indexes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...schemas.errors import UsageError

#: Environment variable: how many processes write, where the default does not suit.
WRITERS = "LENSBANK_WRITERS"
#: Indexing may take this much memory, on however small a machine ...
_LEAST_MEMORY = 1 << 30
#: ... and this share of what is free, over all banks that are indexed side by side.
_MEMORY_SHARE = 4
#: Bytes of memory for each row that is indexed: payload indexes while they are made (docs/storage.md, "Memory");
#: quantised copies and the graph grow with the width.
_ROW_MEMORY = 3000


def cores() -> int:
    """Cores that this process may use; a batch system often gives it fewer than there are."""
    with suppress(AttributeError, OSError):
        return max(1, len(os.sched_getaffinity(0)))  # not on every system
    return os.cpu_count() or 1


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
            raise UsageError(f"{WRITERS} is {said!r}, expected a number of processes, 1 or more.")
        wanted = int(said)
    return max(1, min(banks, cores() - 1 if wanted is None else wanted))


def indexed_at_once(processes: int, rows: int, dim: int) -> int:
    """Banks that may be indexed side by side, in a share of the memory that is free.

    Args:
        processes: that could.
        rows: that are merged into one segment.
        dim: numbers per vector.
    """
    memory = max(_LEAST_MEMORY, min(_free_memory(), default=0) // _MEMORY_SHARE)
    return max(1, min(processes, memory // (max(1, rows) * (_ROW_MEMORY + dim))))


def _free_memory() -> Iterator[int]:
    """Bytes that may still be had: of the machine, and of the control group where there is one."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) << 10
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # no group, or one without a limit ("max")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file ")))
        yield max(0, limit - int((group / "memory.current").read_text(encoding="ascii")) + cached)
