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
from .privacy import without_paths

#: What whoever asked is told where memory ran out.
OUT_OF_MEMORY = {
    "kind": "MemoryError",
    "message": "The machine ran out of memory on this reading.",
    "hint": "Ask for fewer layers, a smaller image or fewer words.",
}


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


def unforeseen(error: Exception, when: str) -> tuple[dict[str, str], str]:
    """The answer to a client about an unexpected error, and the note for the person who runs the server."""
    kind = type(error).__name__
    said = without_paths(str(error).strip().partition("\n")[0])[:300]
    told = {"kind": kind, "message": f"An unexpected error occurred: {kind}.", "hint": "The server's output says more."}
    return told, f"An unexpected error occurred {when}: {kind}: {said}"


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
