"""What the machine has: cores that may be used, memory that is free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def cores() -> int:
    """Cores that this process may use; a batch system often gives it fewer than there are."""
    with suppress(AttributeError, OSError):
        return max(1, len(os.sched_getaffinity(0)))  # not on every system
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Free bytes of memory, of the machine or of the control group; ``None`` if neither is known."""
    return min(_free_memory(), default=None)


def _free_memory() -> Iterator[int]:
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
