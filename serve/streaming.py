"""Layers as they are ready: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Every reader has a place in the job's list of layers and no queue of its own: a slow one costs nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from ..schemas.results import Reading
from .jobs import Job
from .worker import Worker

# Seconds between signs of life, in which a change of the queue is seen, too.
_PULSE = 1.0


def event(name: str, data: str, number: int | None = None) -> bytes:
    """One event; ``data`` is JSON, which has no line ends."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {data}\n\n".encode()


async def events(
    job: Job,
    worker: Worker,
    form: str,
    encode: Callable[[Reading, bool], Any],
    shown: Callable[[str], str],
    start: int,
    stopping: asyncio.Event,
) -> AsyncIterator[bytes]:
    """``state`` at every change, ``answer`` as it is said, ``layer`` for each; then how it has ended.

    Args:
        job: whose.
        worker: that makes it, for its place in the queue.
        form: name of ``encode``.
        encode: a reading of one layer, and whether it may be the first that is sent, as JSON types.
        shown: a text of the model's, as this reader takes it.
        start: layers that this reader has already.
        stopping: set when the server ends; then ``bye`` is the last event.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    leave = job.watch(lambda: loop.call_soon_threadsafe(changed.set))
    sent, told, heard = start, dict[str, Any](), None
    try:
        while True:
            changed.clear()
            over = job.is_over  # before looking: what is there now is all that will be
            how = job.about(await run_in_threadpool(worker.ahead, job))
            about, but_answer = json.dumps(how), {**how, "answer": None}
            if but_answer != told:
                told = but_answer
                yield event("state", about)
            if how["answer"] not in (None, heard):
                heard = str(how["answer"])
                yield event("answer", json.dumps({"answer": shown(heard)}))
            while sent < len(job.parts):
                data = await run_in_threadpool(job.encoded, sent, form, encode)
                sent += 1
                yield event("layer", data, sent)
            if over:
                yield event(job.status, about)
                return
            if stopping.is_set():
                yield event("bye", "{}")
                return
            try:
                await asyncio.wait_for(changed.wait(), _PULSE)
            except TimeoutError:
                yield b": still there\n\n"
    finally:
        leave()
