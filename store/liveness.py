"""Whether a process is still there, and which processes this one can know of."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; where nobody can say, it does.

    Args:
        pid: its number. Another process may have got it since: then the answer is that one's.
    """
    if pid <= 0:  # to the system that means a group of processes
        return False
    if os.name == "nt":  # pragma: no cover - there, asking would end it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def process_space() -> str:
    """What must be equal for a process number to mean the same process here and there.

    A machine's name is not enough: containers may share it, and many machines are called
    ``localhost``. On Linux the boot and the namespace of process numbers are named as well.
    """
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux, or hidden
        pass
    return " ".join(parts)
