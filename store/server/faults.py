"""What a failed request to a Qdrant server means: whether to try again, and what to tell a user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "unreachable",
    "busy",
    "broken",
    "too large",
    "inexact",
    "unindexed",
    "full",
    "denied",
    "untrusted",
    "exists",
    "missing",
    "refused",
]

_STATUS: dict[int, Kind] = {
    401: "denied",
    403: "denied",
    404: "missing",
    408: "unreachable",
    409: "exists",
    413: "too large",
    429: "busy",
    500: "broken",
    502: "unreachable",
    503: "unreachable",
    504: "unreachable",
    507: "full",
}
_CODES: dict[str, Kind] = {
    "UNAVAILABLE": "unreachable",
    "DEADLINE_EXCEEDED": "unreachable",
    "CANCELLED": "unreachable",
    "ABORTED": "unreachable",
    "RESOURCE_EXHAUSTED": "busy",
    "INTERNAL": "broken",
    "UNKNOWN": "broken",
    "DATA_LOSS": "broken",
    "UNAUTHENTICATED": "denied",
    "PERMISSION_DENIED": "denied",
    "ALREADY_EXISTS": "exists",
    "NOT_FOUND": "missing",
}
_FULL = re.compile(r"no space left|not enough (disk )?space|no enough disk|out of disk|disk quota", re.IGNORECASE)
_TOO_LARGE = re.compile(
    r"larger than (allowed|max|rate limiter capacity)|payload too large|decoded message length too large|"
    r"please try to split",
    re.IGNORECASE,
)
_INEXACT = re.compile(r"exact search (is )?disabled", re.IGNORECASE)
_UNINDEXED = re.compile(r"index required but not found", re.IGNORECASE)
_UNTRUSTED = re.compile(r"certificate.verify.failed", re.IGNORECASE)
_EXISTS = re.compile(r"already exists", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed request.

    Attributes:
        kind: ``unreachable`` (no answer, or not from the database), ``busy`` (a rate limit),
            ``broken`` (an error inside the server), ``too large`` (a request that must be split),
            ``inexact`` (only approximate search is allowed), ``unindexed`` (a filter's field has no index),
            ``full`` (no disk space), ``denied`` (the key), ``untrusted`` (its certificate), ``exists``,
            ``missing``, ``refused``.
        text: one line, for people.
        retry_after: seconds that the server asks to wait; 0 where it does not say.
    """

    kind: Kind
    text: str
    retry_after: float = 0.0

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in ("unreachable", "busy", "broken")


def read_fault(error: Exception) -> Fault:
    """What an exception of the client means; every exception means something."""
    import grpc
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, ResourceExhaustedResponse):
        return Fault(_by_text(str(error), "busy"), _line(str(error)), float(error.retry_after_s))
    if isinstance(error, UnexpectedResponse):
        text = _said(error)
        kind = _STATUS.get(error.status_code or 0, "refused")
        return Fault(_by_text(text, kind), f"{error.status_code} {text}".strip())
    if isinstance(error, ResponseHandlingException):
        # The connection, or an answer that was cut short.
        text = _line(str(error.source) or type(error.source).__name__)
        return Fault(_by_text(text, "unreachable"), text)
    if isinstance(error, grpc.RpcError):
        name = error.code().name if callable(getattr(error, "code", None)) else "UNKNOWN"
        text = str(error.details() or "") if callable(getattr(error, "details", None)) else ""
        return Fault(_by_text(text, _CODES.get(name, "refused")), _line(f"{name} {text}"))
    lost = isinstance(error, ConnectionError)
    return Fault(_by_text(str(error), "unreachable" if lost else "refused"), _line(str(error) or type(error).__name__))


def _by_text(text: str, kind: Kind) -> Kind:
    """What the words say where the status alone does not."""
    if _FULL.search(text):
        return "full"
    if _TOO_LARGE.search(text):
        return "too large"
    if _UNTRUSTED.search(text):
        return "untrusted"
    if _INEXACT.search(text):
        return "inexact"
    if _UNINDEXED.search(text):
        return "unindexed"
    return "exists" if _EXISTS.search(text) else kind


def _said(error: Any) -> str:
    """The server's own words."""
    try:
        status = error.structured()["status"]
        return _line(str(status["error"] if isinstance(status, dict) else status))
    except Exception:  # anything may stand between us and the server, and answer anything
        return _line(f"{error.reason_phrase or ''} {error.content[:200].decode('utf-8', 'replace')}")


def _line(text: str) -> str:
    return " ".join(text.split())[:300] or "no message"
