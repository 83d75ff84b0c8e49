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
        "too large": (TooLargeError, f"{server} rejected a request because it is too large: {text}", None),
        "exists": (CollectionExistsError, f"{server} refuses: {text}", None),
        "inexact": (
            InexactOnlyError,
            f"The strict mode of {server[0].lower()}{server[1:]} forbids exact search: {text}",
            "Use --approximate --no-recall-check, or allow exact search on the server (search_allow_exact).",
        ),
        "full": (
            StoreFullError,
            f"The disk of the Qdrant server {address} is full: {text}",
            "Free some space on the server, then run the same command again: it continues where it stopped.",
        ),
        "denied": (
            DeniedError,
            f"{server} rejected the key: {text}",
            f"Set the environment variable {KEY_VARIABLE} to a key with this permission.",
        ),
        "unindexed": (
            StoreError,
            f"{server} filters by indexed fields only, and a field of the filter has no index: {text}",
            "Leave that field out of --where, create a payload index of that type on the server, or allow such "
            "filters on the server (unindexed_filtering_retrieve).",
        ),
        "untrusted": (
            UntrustedError,
            f"The certificate of the Qdrant server {address} is not trusted: {text}",
            "Give the certificates of the authority that signed it: --server ca-file=FILE.",
        ),
        "missing": (MissingError, f"{server} refuses: {text}", "See the server's log."),
    }
    if fault.kind in errors:
        kind, message, hint = errors[fault.kind]
        return kind(message, hint) if hint else kind(message)
    if not fault.passing:
        return StoreError(f"{server} refuses: {text}", "See the server's log.")
    after = f" for {waited:.0f} s" if waited >= 1 else ""
    hint = f"Check that the server runs, and that {KEY_VARIABLE} holds its key if it has one."
    if (parts := urlsplit(address)).port is None:
        asked = urlunsplit(parts._replace(netloc=f"{parts.netloc}:6333"))
        hint = f"The address names no port, so lensbank used port 6333 ({asked}). {hint}"
    if reached:
        hint = "When the server answers again, run the same command: it continues where it stopped."
    return StoreError(f"{server} failed{after}: {text}", hint)
