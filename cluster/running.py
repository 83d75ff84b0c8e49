"""Giving work to the workers of a Ray cluster and taking their answers; nothing is scheduled here."""

from __future__ import annotations

import logging
import pickle
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..schemas.errors import ClusterError
from ..schemas.version import tool_version
from .connecting import Workers
from .waiting import READING, Note, Watch
from .workers import ANSWER, WORK, Failed, Worker, as_table

_LOOK_SECONDS = 1.0
_TASK = Workers(1, 1, 0.0)  # what Ray gives to one
_WHOLE_BLOCKS: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}


def by_workers(workers: Workers, kind: type[Worker], work: Iterable[Any], note: Note) -> Iterator[Any]:
    """Let actors do work; one that died is started again and given the same once more.

    Args:
        workers: how many, and what each is given.
        kind: of the actors (:func:`cluster.workers.worker_class`).
        work: pieces, each of which is pickled and goes to one of them.
        note: told what is waited for where nothing comes for long.

    Yields:
        Their answers, as they come; ``None`` where none has come for a while.

    Raises:
        LensbankError: a worker's.
        ClusterError: Ray could not do it.
    """
    import ray

    with failures():
        # Put away one by one: the object store keeps on disk what memory does not hold.
        tables = [ray.put(as_table(WORK, [one])) for one in work]
        done = ray.data.from_arrow_refs(tables).map_batches(
            kind,
            **_WHOLE_BLOCKS,
            compute=ray.data.ActorPoolStrategy(size=workers.count),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus or None,
        )
        yield from _patiently(_answers(done), Watch(workers, note))


def by_tasks(function: Callable[[Any], Any], work: Iterable[Any], note: Note) -> Iterator[Any]:
    """Let tasks do work that needs no model: of each piece what ``function`` returns, as it comes.

    Args:
        function: of the work.
        work: pieces of it.
        note: as of :func:`by_workers`.

    Raises:
        LensbankError: a task's.
        ClusterError: Ray could not do it.
    """
    import ray

    with failures():
        if not (tables := [as_table(WORK, [one]) for one in work]):
            return
        answers = _answers(ray.data.from_arrow(tables).map_batches(_each(function), **_WHOLE_BLOCKS))
        yield from (answer for answer in _patiently(answers, Watch(_TASK, note, READING)) if answer is not None)


def _each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As a function of Ray Data: a table of work gives one of answers."""

    def choose(table: Any) -> Any:
        return as_table(ANSWER, [function(pickle.loads(one.as_py())) for one in table.column(WORK)])

    return choose


def on_a_worker(workers: Workers, note: Note, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run something once, with what a worker is given.

    Args:
        workers: what each is given.
        note: as of :func:`by_workers`.
        work: to run.
        arguments: of it.

    Raises:
        LensbankError: what it raised there.
        ClusterError: Ray could not do it.
    """
    import ray

    with failures():
        task = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus, max_calls=1)(work)
        return _awaited(task.remote(*arguments), Watch(replace(workers, count=1), note))


def in_a_task(note: Note, work: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Begin something that needs no model; what is returned waits for it, and raises what :func:`on_a_worker` does."""
    import ray

    begun = ray.remote(work).remote(*arguments)

    def finish() -> Any:
        with failures():
            return _awaited(begun, Watch(_TASK, note, READING))

    return finish


def _awaited(begun: Any, watch: Watch) -> Any:
    import ray

    while not ray.wait([begun], timeout=_LOOK_SECONDS)[0]:
        watch.look(answered=False)
    return good(ray.get(begun))


def _answers(dataset: Any) -> Iterator[Any]:
    """The answers of a dataset, as they come.

    Raises:
        LensbankError: a worker's.
    """
    for table in dataset.iter_batches(prefetch_batches=0, **_WHOLE_BLOCKS):
        for one in table.column(ANSWER):
            yield good(pickle.loads(one.as_py()))


def good(answer: Any) -> Any:
    """An answer that is none of an error.

    Raises:
        LensbankError: it is a worker's error.
    """
    if isinstance(answer, Failed):
        raise answer.as_error()
    return answer


def _patiently(answers: Iterator[Any], watch: Watch) -> Iterator[Any]:
    """The same, with ``None`` where none has come for a while.

    What is still to come when nobody asks any more is let go by its thread.
    """
    found: queue.Queue[tuple[Any, BaseException | None, bool]] = queue.Queue()
    left = threading.Event()

    def read() -> None:
        try:
            for answer in answers:
                found.put((answer, None, False))
                if left.is_set():
                    return
        except BaseException as error:
            found.put((None, error, True))
        else:
            found.put((None, None, True))

    threading.Thread(target=read, name="lensbank-answers", daemon=True).start()
    try:
        while True:
            try:
                answer, error, ended = found.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                watch.look(answered=False)
                yield None
                continue
            watch.look(answered=True)
            if error is not None:
                raise error
            if ended:
                return
            yield answer
    finally:
        left.set()


@contextmanager
def failures() -> Iterator[None]:
    """Turn what Ray raises into one sentence, and keep its own bars and logs away from ours.

    Raises:
        ClusterError: Ray could not do it.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    except (ray.exceptions.RayError, ray.exceptions.RaySystemError) as error:
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ClusterError(
            f"The workers of the cluster failed: {last[0].strip()}",
            "Ray's dashboard and its logs (/tmp/ray/session_latest/logs) say more. Rerun the same command to continue.",
        ) from error


def require_same_tool(theirs: str) -> None:
    """Refuse workers of another version: what they write might be other rows.

    Raises:
        ClusterError: they are.
    """
    if theirs != tool_version():
        raise ClusterError(
            f"The workers have {theirs}, this is {tool_version()}.", "Install the same version on every node."
        )
