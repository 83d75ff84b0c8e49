"""What the hostile tests share: how many examples, how long one may take, and bytes that are nearly right."""

import faulthandler
import os
import random
from contextlib import contextmanager

from hypothesis import HealthCheck, settings

#: Exit codes that docs/cli.md knows.
CODES = {0, 1, 2, 130, 143}
SECONDS = 60
_LONG = "HOSTILE_EXAMPLES" in os.environ


def many(share: float = 1.0, few: int = 40) -> settings:
    """A few examples, the same each time, in the suite; else a share of as many as are asked for, and their seeds."""
    count = max(few, int(int(os.environ["HOSTILE_EXAMPLES"]) * share)) if _LONG else few
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=not _LONG,
        print_blob=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def bounded():
    """End the process with a traceback of all its threads where one example hangs."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Bytes with a few faults: bits flipped, parts cut, zeroed, doubled, moved, or replaced by others."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, other = (rng.randrange(max(1, len(data))) for _ in range(2))
        end = at + rng.choice([1, 4, 64, len(data)])
        kind = rng.choice(["flip", "flip", "cut", "truncate", "zero", "ones", "double", "junk", "swap", "number"])
        if kind == "flip" and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del data[at:end]
        elif kind == "truncate":
            del data[at:]
        elif kind in ("zero", "ones"):
            data[at:end] = (b"\0" if kind == "zero" else b"\xff") * len(data[at:end])
        elif kind == "double":
            data[at:at] = data[at : at + 64]
        elif kind == "junk":
            data[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == "swap":
            data[at : at + 16], data[other : other + 16] = data[other : other + 16], data[at : at + 16]
        else:  # a count or a size, of either byte order
            number = rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
            data[at : at + 4] = number.to_bytes(4, rng.choice(["little", "big"]))
    return bytes(data)
