"""Where a judge is and how it is asked: checked before anything slow starts, and without a request."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from ...schemas.errors import UsageError

#: The only place a key is taken from.
KEY_VARIABLE = "LENSBANK_JUDGE_KEY"


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Where a judge is, and how it is asked.

    Attributes:
        url: base of the API, e.g. ``https://api.example.com/v1``.
        model: its name there.
        params: further fields of the request, as they are.
        key: sent as a bearer token; ``None`` for servers that need none. Never shown or stored.
        timeout: seconds that one request may take.
        patience: seconds that one question may take, tries and pauses together.
    """

    url: str
    model: str
    params: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    patience: float = 600.0

    @property
    def host(self) -> str:
        """Host and port."""
        return httpx.URL(self.url).netloc.decode("ascii")

    @property
    def is_local(self) -> bool:
        """Whether what is sent stays on this machine."""
        return _is_loopback(httpx.URL(self.url).host)


def checked_settings(
    url: str | None, model: str | None, params: Sequence[str], key: str | None, timeout: float, patience: float
) -> EndpointSettings:
    """The settings, checked as far as that goes without a request.

    Args:
        url: base of the API; ``/chat/completions`` may be left on it.
        model: name of the judge.
        params: ``NAME=VALUE``; a value is JSON where it can be read as that, else text.
        key: as the environment has it.
        timeout: see :class:`EndpointSettings`.
        patience: likewise.

    Raises:
        UsageError: something is missing or cannot be used. No message shows the key.
    """
    if not url or not model:
        raise UsageError(
            "--judge llm needs --judge-url and --judge-model; there is no default endpoint.",
            "Give --judge-url and --judge-model, e.g. --judge-url http://localhost:8080/v1.",
        )
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError(f"--judge-url is not a URL: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"--judge-url needs http:// or https:// and a host; got {url!r}.")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise UsageError(
            "--judge-url contains a user name, a query or a fragment, but it is written into the results.",
            f"Give only scheme, host and path; put a key into the environment variable {KEY_VARIABLE}.",
        )
    base = str(parsed).rstrip("/").removesuffix("/chat/completions")
    key = (key or "").strip() or None
    if key is not None and not re.fullmatch(r"[\x21-\x7e]+", key):
        raise UsageError(
            f"The environment variable {KEY_VARIABLE} contains characters that are not allowed in a key (spaces, or "
            "not ASCII).",
            "Set it anew.",
        )
    if key is not None and parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise UsageError(
            f"The key in {KEY_VARIABLE} would be sent unencrypted: --judge-url is http:// on another machine.",
            "Use https://, or unset the variable if the server needs no key.",
        )
    return EndpointSettings(base, model, _params(params), key, timeout, patience)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _params(texts: Sequence[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"--judge-param {text!r} is not of the form NAME=VALUE.", "Example: --judge-param temperature=0"
            )
        if name.strip() in ("model", "messages", "stream", "n"):
            raise UsageError(f"--judge-param {name.strip()} is set by lensbank and cannot be changed.")
        try:
            params[name.strip()] = json.loads(value)
        except ValueError:
            params[name.strip()] = value
        except RecursionError as error:
            raise UsageError(f"--judge-param {name.strip()} contains JSON that is nested too deeply.") from error
    return params
