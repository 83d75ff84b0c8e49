"""Failed requests as errors that say what to do."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from ...schemas.errors import StoreError, StoreFullError
from .address import KEY_VARIABLE
from .faults import Fault


class TooLargeError(StoreError):
    """A request that the server takes only in smaller pieces."""


class InexactOnlyError(StoreError):
    """The server's strict mode forbids what is exact."""


class IndexLimitError(StoreError):
    """Strict mode allows fewer payload indexes than a bank needs."""


class CollectionExistsError(StoreError):
    """A collection of that name is there."""


class DeniedError(StoreError):
    """The key may not do this."""


class UntrustedError(StoreError):
    """The server's certificate is not one to trust."""


class MissingError(StoreError):
    """Nothing of that name is there."""


def refusal(fault: Fault, address: str, text: str, waited: float, reached: bool) -> StoreError:
    """The error that tells of a fault.

    Args:
        fault: what failed.
        address: of the server.
        text: the fault's, without keys, as a sentence.
        waited: seconds.
        reached: whether the server has answered this connection before.
    """
    server = f"The Qdrant server {address}"
    errors: dict[str, tuple[type[StoreError], str, str | None]] = {
        "too large": (TooLargeError, f"{server} finds a request too large: {text}", None),
        "exists": (CollectionExistsError, f"{server} refuses: {text}", None),
        "inexact": (
            InexactOnlyError,
            f"The strict mode of {server[0].lower()}{server[1:]} forbids exact search: {text}",
            "Use --approximate --no-recall-check, or allow it there (search_allow_exact).",
        ),
        "full": (
            StoreFullError,
            f"The disk of the Qdrant server {address} is full: {text}",
            "Free some space there, then run the same command again: it goes on where it stopped.",
        ),
        "denied": (
            DeniedError,
            f"{server} refuses the key: {text}",
            f"Set {KEY_VARIABLE} to a key that may do this.",
        ),
        "unindexed": (
            StoreError,
            f"{server} filters by indexed fields only, and a field of the filter has no index there: {text}",
            "Leave that field out of --where, give it a payload index of that type on the server, or allow such "
            "filters there (unindexed_filtering_retrieve).",
        ),
        "untrusted": (
            UntrustedError,
            f"The certificate of the Qdrant server {address} cannot be trusted: {text}",
            "Give the certificates that sign it: --server ca-file=FILE.",
        ),
        "missing": (MissingError, f"{server} refuses: {text}", "See the server's log."),
    }
    if fault.kind in errors:
        kind, message, hint = errors[fault.kind]
        return kind(message, hint) if hint else kind(message)
    if not fault.passing:
        return StoreError(f"{server} refuses: {text}", "See the server's log.")
    after = f" for {waited:.0f} s" if waited >= 1 else ""
    hint = f"Check that it runs and that {KEY_VARIABLE} holds its key, if it has one."
    if (parts := urlsplit(address)).port is None:
        asked = urlunsplit(parts._replace(netloc=f"{parts.netloc}:6333"))
        hint = f"Port 6333 was asked ({asked}), as the address names none. {hint}"
    if reached:
        hint = "When it answers again, run the same command: it goes on where it stopped."
    return StoreError(f"{server} failed{after}: {text}", hint)
