"""What can go wrong between a server and those who ask it, each with its HTTP status."""

from __future__ import annotations

from ..schemas.errors import (
    BankIncompleteError,
    BankNotFoundError,
    InputError,
    LensbankError,
    StoreLockedError,
    UsageError,
)


class RequestError(LensbankError):
    """A request that is refused before anything is read.

    Args:
        status: of HTTP.
        message: what was seen and what was expected.
        hint: what to do next.
    """

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        """Keep the status beside what is said."""
        super().__init__(message, hint)
        self.status = status


class Cancelled(Exception):
    """Nobody wants this reading any more."""


def status_of(error: LensbankError) -> int:
    """The status that tells what kind of thing went wrong: 4xx where another question would do."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, BankNotFoundError):
        return 404
    if isinstance(error, StoreLockedError | BankIncompleteError):
        return 503
    if isinstance(error, UsageError | InputError):
        return 400
    return 500
