"""Pauses between attempts: each twice as long as the one before, up to a longest."""

from __future__ import annotations

import random


class Backoff:
    """The pauses of one who tries again.

    Args:
        first: the first pause, in seconds.
        longest: no pause is longer.
        spread: the share of each pause that is by lot, 0 to 1, so that several who were refused
            together do not all come back at the same moment.
    """

    def __init__(self, first: float, longest: float, *, spread: float = 0.5) -> None:
        """Nothing has been tried yet."""
        self._pause, self._longest, self._spread = first, longest, spread

    def next(self) -> float:
        """Seconds to wait now; the next pause is twice as long."""
        pause = self._pause * random.uniform(1.0 - self._spread, 1.0)
        self._pause = min(2 * self._pause, self._longest)
        return pause
