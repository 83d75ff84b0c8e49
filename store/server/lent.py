"""Banks that others may write, too, under the claim of one holder: for a while after that has ended, they still may.

They look at the claim now and then (:mod:`store.server.permits`), and as long as the last look is good they write. A
mark in the metadata says so. It is there before the first of them is let in, and names a time when the holder lets go
in the middle of the work. Who takes a bank with a mark waits until none of them can be writing: a late row might be
that of an image that has changed since. A holder who has finished removes the mark: all their work was answered.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from ...schemas.errors import GaveUpError
from .connection import Connection

#: The key of the mark: how long a look is good for, and until when, in seconds since the epoch, where that is known.
LENT_KEY = "lensbank_lent"
#: What is added: a request takes a while, and clocks of two machines differ.
MARGIN_SECONDS = 1.0
# Whatever a damaged mark says.
_LONGEST = 120.0


def mark(seconds: float, *, ended: bool = False) -> dict[str, Any]:
    """Metadata of a bank that others may write.

    Args:
        seconds: how long a look at the claim is good for.
        ended: whether the claim ends now.
    """
    return {
        LENT_KEY: {"seconds": seconds, **({"until": round(time.time() + seconds + MARGIN_SECONDS, 3)} if ended else {})}
    }


def wait_for_others(connection: Connection, names: Sequence[str]) -> None:
    """Return when nobody writes banks any more under a claim that was there before; they have just been taken.

    Raises:
        GaveUpError: somebody has asked for an end meanwhile.
        StoreError: a request failed.
    """
    marks = {name: (connection.metadata(name) or {}).get(LENT_KEY) for name in names}
    marks = {name: mark for name, mark in marks.items() if mark is not None}
    if not marks:
        return
    left, first = max(map(_left, marks.values())), next(iter(marks))
    if left > 0:
        said = f"Workers of an earlier run may still be writing bank {first} on {connection.address}"
        connection.say(f"{said}; in {max(1, round(left))} s they have stopped.")
        if connection.gives_up(left):
            raise GaveUpError(f"{said}.")
    for name in marks:
        connection.update_metadata(name, {LENT_KEY: None})


def _left(mark: Any) -> float:
    """Seconds that a mark asks for, by clocks of two machines: never more than a look is good for."""
    try:
        seconds = min(float(mark["seconds"]) + MARGIN_SECONDS, _LONGEST)
        return min(seconds, float(mark.get("until", math.inf)) - time.time())
    except (AttributeError, KeyError, TypeError, ValueError):  # of a hand, or damaged
        return _LONGEST
