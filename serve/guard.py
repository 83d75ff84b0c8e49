"""Who may ask: the door of the server, before anything else looks at a request.

The server is not meant for the web: it trusts whoever brings the token, and no page of another site may make a browser
ask on its behalf. Four checks, each for a way in: the Host header (DNS rebinding: a foreign name that suddenly means
this machine), Origin and Sec-Fetch-Site (forged requests), and the token (other users, other machines).
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .failures import RequestError
from .settings import ServeSettings

#: Of every answer. What a page may do is said with the page.
SECURE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_CLOSED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_ASK = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>lensbank</title><h1>lensbank</h1><p>This page needs its token: open the whole address that "
    "<code>lensbank serve</code> has printed, with <code>?token=</code> at its end.</p></html>"
)


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        """Around ``app``."""
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on; as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            careful = _careful(send, self._settings.send_seconds)
            answer = self._answer(scope)
            try:
                await (answer or self._app)(scope, receive, careful)
            except TimeoutError:  # a reader that takes nothing any more: the connection is given up
                return

    def _answer(self, scope: Scope) -> Response | None:
        """What is said instead of what was asked for; ``None`` lets it pass."""
        headers, query = Headers(scope=scope), QueryParams(scope["query_string"])
        try:
            require_own_host(headers.get("host", ""), self._settings)
            require_own_origin(headers, scope["method"])
            at_door = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
            if at_door and self._settings.token is not None and "token" in query:
                return self._enter(scope, query["token"])
            if not self._may(scope, headers):
                if at_door:
                    return HTMLResponse(_ASK, 401)
                raise RequestError(
                    401,
                    "The token is missing or wrong.",
                    "Send the header Authorization: Bearer TOKEN.",
                )
        except RequestError as error:
            return refusal(error)
        return None

    def _enter(self, scope: Scope, given: str) -> Response:
        """The token leaves the address, where histories and screens would show it, for a cookie."""
        if not self._is_token(given):
            return HTMLResponse(_ASK, 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(cookie_name(scope), given, httponly=True, samesite="lax", path="/")
        return answer

    def _may(self, scope: Scope, headers: Headers) -> bool:
        if self._settings.token is None:
            return True
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._is_token(value.strip())
        return self._is_token(cookie_parser(headers.get("cookie", "")).get(cookie_name(scope), ""))

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), (self._settings.token or "").encode("utf-8"))


def cookie_name(scope: MutableMapping[str, Any]) -> str:
    """Of this server: cookies are shared by all ports of a host."""
    server = scope.get("server")
    return f"lensbank-{server[1] if server else 0}"


def refusal(error: RequestError) -> JSONResponse:
    """An error as clients see it."""
    told = {"kind": "RequestError", "message": error.message, "hint": error.hint}
    headers = {"retry-after": "10"} if error.status == 503 else None
    return JSONResponse({"error": told}, error.status, headers)


def require_own_host(host: str, settings: ServeSettings) -> None:
    """Refuse names that are not this server's: whoever owns a name can make it mean this machine. Addresses cannot lie.

    Raises:
        RequestError: 421, another name.
    """
    name = (urlsplit(f"//{host}").hostname or "") if _readable(host) else ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        known = {"localhost", settings.host.lower(), *(each.lower() for each in settings.allowed_hosts)}
        if name not in known:
            raise RequestError(
                421,
                "The request names a host that this server does not know.",
                "Use its address as printed, or start it with --allow-host NAME.",
            ) from None


def _readable(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").port is not None or ":" not in host.rpartition("]")[2]
    except ValueError:
        return False


def require_own_origin(headers: Headers, method: str) -> None:
    """Refuse what a page of another site makes a browser ask; following a link to a page is allowed.

    Raises:
        RequestError: 403.
    """
    navigates = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    origin = headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    if foreign or (headers.get("sec-fetch-site") in ("cross-site", "same-site") and not navigates):
        raise RequestError(403, "Pages of other sites cannot use this server.", "Use its own page, or a program.")


def _careful(send: Send, seconds: float) -> Send:
    """Headers on every answer, and no waiting for ever for a reader."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            added = {**SECURE, "content-security-policy": _CLOSED}
            extra = [(k.encode(), v.encode()) for k, v in added.items() if k.encode() not in given]
            message = {**message, "headers": [*message["headers"], *extra]}
        async with asyncio.timeout(seconds):
            await send(message)

    return sent
