"""What clients send, never more of it than is allowed, and never for longer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from .failures import RequestError


async def bounded_body(request: Request, limit: int, seconds: float) -> bytes:
    """A request's body.

    Args:
        request: whose body was not read yet.
        limit: bytes.
        seconds: for all of it to arrive.

    Raises:
        RequestError: 413 too large, 408 too slow, 400 cut off.
    """
    too_large = RequestError(413, f"More than {limit:,} bytes were sent.", "Send a smaller file.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise RequestError(408, f"The request did not arrive within {seconds:g} seconds.", "Send it again.") from None
    except ClientDisconnect:
        raise RequestError(400, "The connection ended in the middle of the request.", "Send it again.") from None
    return bytes(body)


async def json_body(request: Request, limit: int, seconds: float) -> Any:
    """A request's body as JSON. Its type must be said: forms of other sites cannot send that unasked.

    Raises:
        RequestError: 415 another type, 400 no JSON; see :func:`bounded_body`.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "Send the question as application/json.", "Set the Content-Type.")
    body = await bounded_body(request, limit, seconds)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "The request is not JSON.", "Check its brackets and quotes, and send UTF-8.") from None
