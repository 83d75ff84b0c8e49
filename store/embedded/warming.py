"""Read what the engine is about to ask for page by page, in long stretches.

The engine tells the system to forget a shard's files when it closes them, and reads its copies of eight bits or fewer
and its flags (a megabyte each, nearly all of it a hole) in single pages, each of which is waited for: thousands of
turns at the disk for a bank that would be read in a few dozen. Nothing here is needed for a shard to open, and whatever
fails is left to the engine. A process that only reads, and ends, need not close its shards: the files then stay in
the system's memory for the next.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

#: The engine reads these whole, however large they are, when it opens a shard.
_WHOLE = "quantized.data"
#: It drops these from memory between opening and reading them; pages that somebody has mapped stay.
_FLAGS = "flags_*.dat"
#: Payload is fetched for the few rows that are found, and lies in files that are mostly holes.
_SPARSE = "page_*.dat"
#: Bytes of any other file: a small one is wanted as a whole.
_SMALL = 64 << 20
# Linux reads no more than a few megabytes for one request.
_AT_ONCE = 1 << 20


def read_ahead(shard: Path) -> None:
    """Have the system read a closed shard's files, without waiting for it; harmless where it cannot.

    Args:
        shard: its folder.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for path in _files(shard):
        if path.match(_SPARSE):
            continue
        with suppress(OSError), open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if path.name == _WHOLE or size <= _SMALL:
                for start in range(0, size, _AT_ONCE):
                    os.posix_fadvise(file.fileno(), start, _AT_ONCE, os.POSIX_FADV_WILLNEED)


@contextmanager
def at_hand(shard: Path) -> Iterator[None]:
    """Keep a shard's files in memory while the engine opens it.

    Args:
        shard: its folder, closed.
    """
    read_ahead(shard)
    with ExitStack() as held:
        if hasattr(mmap, "MAP_POPULATE"):
            for path in _files(shard, _FLAGS):
                with suppress(OSError, ValueError), open(path, "rb", buffering=0) as file:  # ValueError: empty
                    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
                    held.enter_context(mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ))
        yield


def left(shard: object) -> None:
    """Leave a shard that was only read to the end of the process, which has ``gc.freeze()`` called before.

    The engine would close it when nothing refers to it any more: so it refers to itself, until Python next looks for
    such circles.
    """
    circle = [shard]
    circle.append(circle)


def _files(shard: Path, name: str = "*") -> list[Path]:
    with suppress(OSError):
        return [path for path in (shard / "segments").rglob(name) if path.is_file()]
    return []
