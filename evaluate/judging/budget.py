"""How many requests and tokens may be spent, counted from any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ...schemas.errors import JudgeError


class BudgetSpentError(Exception):
    """A limit is reached; the text says which."""


class Budget:
    """Limits on requests and on tokens, those of earlier runs included.

    Args:
        max_calls: requests, retries included; ``None`` for no limit.
        max_tokens: prompt and completion tokens as the server reports them. Requests that are under
            way when it is reached still count, so it can be passed by what those cost.
        calls: spent before.
        tokens: spent before.
    """

    def __init__(self, max_calls: int | None, max_tokens: int | None, calls: int = 0, tokens: int = 0) -> None:
        """Begin with what was spent."""
        self.max_calls, self.max_tokens = max_calls, max_tokens
        self.calls, self.tokens = calls, tokens
        self._unknown = False
        self._lock = threading.Lock()

    def take_call(self) -> None:
        """Take one request.

        Raises:
            BudgetSpentError: there is none left.
            JudgeError: tokens are limited, and the server has not said what an answer cost.
        """
        with self._lock:
            if self._unknown:
                raise JudgeError(
                    "The server does not report the tokens of its answers, so --max-tokens-total has no effect.",
                    "Use --max-calls.",
                )
            if self.max_calls is not None and self.calls >= self.max_calls:
                raise BudgetSpentError(f"--max-calls {self.max_calls} was reached")
            if self.max_tokens is not None and self.tokens >= self.max_tokens:
                raise BudgetSpentError(f"--max-tokens-total {self.max_tokens} was reached")
            self.calls += 1

    def add_tokens(self, spent: Sequence[int | None]) -> None:
        """Count what an answer cost; ``None`` where the server does not say."""
        with self._lock:
            self._unknown = self._unknown or (self.max_tokens is not None and all(count is None for count in spent))
            self.tokens += sum(count or 0 for count in spent)
