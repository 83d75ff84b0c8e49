"""The HTTP interface: docs/serve.md and ``/openapi.json`` describe it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..schemas.errors import LensbankError
from ..schemas.results import LENSES, Reading
from ..show.chips import readable
from ..show.outputs import render
from ..show.pictures import data_url
from ..show.report_data import pack
from .api_page import description_page
from .bodies import bounded_body, json_body
from .explorer import explorer
from .failures import OUT_OF_MEMORY, RequestError, status_of, unforeseen
from .guard import Guard
from .jobs import Job
from .openapi import description
from .questions import question_of
from .service import Service
from .streaming import events
from .wording import described

Endpoint = Callable[[Request], Awaitable[Response]]

_FORMS = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
}
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Longer waits are cut by proxies, and by people.
_LONGEST_WAIT = 60.0
# Readings in one saved page, beside the first.
_TOGETHER = 11
_STREAM = {"cache-control": "no-store", "x-accel-buffering": "no"}
_API_PAGE = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def application(service: Service, stopping: asyncio.Event) -> Guard:
    """The whole server as an ASGI application.

    Args:
        service: what answers.
        stopping: set when the server ends.
    """
    handlers = Handlers(service, stopping)
    routes = [
        Route("/", handlers.door, methods=["GET"]),
        Route("/openapi.json", handlers.openapi, methods=["GET"]),
        Route("/api", handlers.api, methods=["GET"]),
        Route("/api/server", handlers.server, methods=["GET"]),
        Route("/api/find", handlers.find, methods=["GET"]),
        Route("/api/indexed", handlers.indexed, methods=["GET"]),
        Route("/api/indexed/{image}", handlers.bring, methods=["POST"]),
        Route("/api/contexts", handlers.contexts, methods=["GET"]),
        Route("/api/images", handlers.upload, methods=["POST"]),
        Route("/api/images/{image}", handlers.image, methods=["GET"]),
        Route("/api/readings", handlers.ask, methods=["POST"]),
        Route("/api/readings/{reading}", handlers.reading, methods=["GET"]),
        Route("/api/readings/{reading}", handlers.cancel, methods=["DELETE"]),
        Route("/api/readings/{reading}/about", handlers.about, methods=["GET"]),
        Route("/api/readings/{reading}/events", handlers.events, methods=["GET"]),
    ]
    failures: dict[Any, Any] = {
        LensbankError: _failed,
        HTTPException: _not_here,
        MemoryError: _short,
        Exception: handlers.broken,
    }
    return Guard(Starlette(routes=routes, exception_handlers=failures), service.settings)


class Handlers:
    """One method for each route."""

    def __init__(self, service: Service, stopping: asyncio.Event) -> None:
        """See :func:`application`."""
        self._service, self._stopping = service, stopping

    async def door(self, request: Request) -> Response:
        """The explorer."""
        return await run_in_threadpool(explorer)

    async def openapi(self, request: Request) -> Response:
        """The description of all this."""
        return JSONResponse(description(self._service.settings))

    async def api(self, request: Request) -> Response:
        """The same for people."""
        page = description_page(description(self._service.settings))
        return HTMLResponse(page, headers={"content-security-policy": _API_PAGE})

    async def server(self, request: Request) -> Response:
        """Models, lenses and bounds."""
        return JSONResponse(self._service.about())

    async def find(self, request: Request) -> Response:
        """Indexed images with a word."""
        query = request.query_params
        lens, top_k = query.get("lens", "latent"), _number(query, "top_k", 20, 1, 200)
        if lens not in LENSES:
            raise RequestError(400, "This lens does not exist.", f"Choose from {', '.join(LENSES)}.")
        words, where, model = query.getlist("word"), query.getlist("where"), self._model(query)
        return JSONResponse(
            await run_in_threadpool(self._service.lookups.find, words, lens, where, top_k, model, query.getlist("bank"))
        )

    async def contexts(self, request: Request) -> Response:
        """A corpus token's other contexts."""
        query = request.query_params
        model = self._model(query) or next(iter(self._service.models))
        layer, token = (_number(query, name, None, 0, 10**9) for name in ("layer", "token_id"))
        limit = _number(query, "limit", 20, 1, 200)
        return JSONResponse(await run_in_threadpool(self._service.lookups.contexts, model, layer, token, limit))

    async def indexed(self, request: Request) -> Response:
        """Images of the store's image banks."""
        query, lookups = request.query_params, self._service.lookups
        limit, after = _number(query, "limit", 40, 1, 200), query.get("after")
        if after is not None and not _ID.fullmatch(after):
            raise RequestError(400, "after takes the value of next from an earlier page.", "Leave it out to begin.")
        model, name, banks = self._model(query), query.get("name", ""), query.getlist("bank")
        return JSONResponse(await run_in_threadpool(lookups.indexed, model, limit, after, name, banks))

    async def bring(self, request: Request) -> Response:
        """Take one of them from its file, as if it had been uploaded."""
        image, most = request.path_params["image"], self._service.settings.max_bytes
        data, name = await run_in_threadpool(self._service.lookups.indexed_file, image, most)
        return await self._taken(data, name)

    async def upload(self, request: Request) -> Response:
        """Take an image file: its bytes are the body."""
        settings = self._service.settings
        data = await bounded_body(request, settings.max_bytes, settings.body_seconds)
        return await self._taken(data, request.query_params.get("name", "image"))

    async def _taken(self, data: bytes, name: str) -> Response:
        upload = await run_in_threadpool(self._service.uploads.add, data, name)
        return JSONResponse(upload.to_dict(), 201, {"location": f"/api/images/{upload.sha256}"})

    async def image(self, request: Request) -> Response:
        """A small picture of an uploaded image."""
        upload = self._service.uploads.get(request.path_params["image"])
        return Response(upload.picture, media_type=f"image/{upload.kind}")

    async def ask(self, request: Request) -> Response:
        """Queue a reading."""
        settings = self._service.settings
        body = await json_body(request, settings.max_body, settings.body_seconds)
        job = self._service.ask(question_of(body, settings, list(self._service.models)))
        return JSONResponse(await self._about(job), 202, {"location": f"/api/readings/{job.id}"})

    async def reading(self, request: Request) -> Response:
        """How far a reading is (202); once it is done, the reading (200)."""
        job = self._service.shelf.get(request.path_params["reading"])
        form, wait = request.query_params.get("format", "json"), _seconds(request.query_params.get("wait", "0"))
        if form not in _FORMS:
            raise RequestError(400, "This format does not exist.", f"Choose from {', '.join(_FORMS)}.")
        await self._until_over(job, wait)
        if job.status == "failed":
            return JSONResponse(await self._about(job), job.error_status)
        if job.status == "cancelled":
            return JSONResponse(await self._about(job), 410)
        if job.status != "done":
            return JSONResponse(await self._about(job), 202)
        others = [self._service.shelf.get(name) for name in request.query_params.getlist("with")[:_TOGETHER]]
        readings = [each.reading() for each in (job, *others) if each.status == "done"]
        shown = await run_in_threadpool(_rendered, readings, form)
        name = "reading." + form
        headers = (
            {"content-disposition": f'attachment; filename="{name}"'} if "download" in request.query_params else {}
        )
        # Even if a browser opened it, the saved page may ask this server for nothing.
        headers["content-security-policy"] = "sandbox"
        return Response(shown, media_type=_FORMS[form], headers=headers)

    async def about(self, request: Request) -> Response:
        """How far a reading is, and what was asked."""
        return JSONResponse(await self._about(self._service.shelf.get(request.path_params["reading"])))

    async def cancel(self, request: Request) -> Response:
        """Nobody wants this reading any more."""
        job = self._service.shelf.get(request.path_params["reading"])
        job.cancel()
        return JSONResponse(await self._about(job))

    async def events(self, request: Request) -> Response:
        """Layers as they are ready."""
        job = self._service.shelf.get(request.path_params["reading"])
        form = request.query_params.get("form", "json")
        if form not in _ENCODERS:
            raise RequestError(400, "This format does not exist.", f"Choose from {', '.join(_ENCODERS)}.")
        seen = request.headers.get("last-event-id", "0")  # a browser that comes back after a broken connection
        start = job.first_for(int(seen) if seen.isdecimal() and len(seen) < 9 else 0)
        encode, shown = _ENCODERS[form]
        stream = events(job, self._service.worker, form, encode, shown, start, self._stopping)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_STREAM)

    async def broken(self, request: Request, error: Exception) -> Response:
        """An unexpected error: noted for the person who runs the server, and answered to the client."""
        told, note = unforeseen(error, "while answering")
        self._service.note(note)
        return JSONResponse({"error": told}, 500)

    def _model(self, query: QueryParams) -> str | None:
        """The model that is named; ``None`` where none is."""
        model, models = query.get("model"), self._service.models
        if model is not None and model not in models:
            raise RequestError(400, "This server has no such model.", f"It has {', '.join(models)}.")
        return model

    async def _about(self, job: Job) -> dict[str, Any]:
        return job.about(await run_in_threadpool(self._service.worker.ahead, job))

    async def _until_over(self, job: Job, seconds: float) -> None:
        if job.is_over or not seconds:
            return
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        leave = job.watch(lambda: loop.call_soon_threadsafe(changed.set))
        try:
            async with asyncio.timeout(seconds):
                while not job.is_over and not self._stopping.is_set():
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return
        finally:
            leave()


def _as_json(part: Reading, first: bool) -> Any:
    return part.to_dict()


def _as_page(part: Reading, first: bool) -> Any:
    """As the page holds readings; the pictures come with the first layer alone."""
    return pack([part], [[None if one is None or not first else data_url(one) for one in part.pictures]])


#: Of a layer, and of the model's answer.
_ENCODERS: dict[str, tuple[Callable[[Reading, bool], Any], Callable[[str], str]]] = {
    "json": (_as_json, str),
    "page": (_as_page, readable),
}


def _rendered(readings: Sequence[Reading], form: str) -> str | bytes:
    return render(readings, [reading.pictures for reading in readings], form)[0]


def _number(query: QueryParams, name: str, usual: int | None, least: int, most: int) -> int:
    text = query.get(name, "" if usual is None else str(usual))
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and least <= int(text) <= most):
        raise RequestError(400, f"{name} takes a whole number.", f"Give {least:,} to {most:,}.")
    return int(text)


def _seconds(text: str) -> float:
    try:
        wait = float(text)
    except ValueError:
        wait = -1.0
    if not 0 <= wait <= _LONGEST_WAIT:
        raise RequestError(400, "wait takes a number of seconds.", f"Give 0 to {_LONGEST_WAIT:g}.")
    return wait


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, LensbankError)
    status = status_of(error)
    headers = {"retry-after": "10"} if status == 503 else None
    return JSONResponse({"error": described(error)}, status, headers)


async def _short(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": OUT_OF_MEMORY}, 503, {"retry-after": "10"})


async def _not_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {404: "There is nothing at this address.", 405: "That cannot be done here."}
    message = said.get(error.status_code, "The request cannot be answered.")
    told = {"kind": "RequestError", "message": message, "hint": "See /api for the list of addresses."}
    return JSONResponse({"error": told}, error.status_code, error.headers)
