"""What the benchmarks of Ray share: a server, a cluster of this machine, and what its processes take."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_SAMPLE_SECONDS = 1.0


def of_the_tests(module: str) -> Any:
    """A module of the tests' folder."""
    folder = str(Path(__file__).resolve().parent.parent / "tests")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return import_module(module)


@contextmanager
def server() -> Iterator[str]:
    """The tests' stand-in."""
    with of_the_tests("standins").StandIn() as stand_in:
        yield stand_in.url


@contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """Ray on this machine, which is told that it has so many CPUs; its workers run at the priority of this process.

    By default Ray makes them give way to others (``nice`` 15), which on a busy machine measures the others.
    """
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
    import ray

    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


class Spent:
    """Processor time and memory of this process and those below it, while the block lasts.

    Processes that end are counted as they were last seen, once a second; what the looking itself takes is not counted.
    Memory is what no file backs.

    Attributes:
        seconds: of ``driver``, ``workers``, ``server`` and ``ray`` (its own services and idle workers).
        bytes: likewise, the most at a time.
    """

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self.seconds: Mapping[str, float] = Counter()
        self.bytes: Mapping[str, int] = Counter()
        self._began: dict[int, float] = {}
        self._last: dict[int, tuple[str, float]] = {}
        self._looking = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._look()
        self._began, self._looking = {pid: seconds for pid, (_, seconds) in self._last.items()}, 0.0
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Count."""
        self._stop.set()
        self._thread.join()
        self._look()
        found: Counter[str] = Counter({"driver": -self._looking})
        for pid, (name, seconds) in self._last.items():
            found[name] += seconds - self._began.get(pid, 0.0)  # type: ignore[assignment]
        self.seconds = found

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        import psutil

        began, here, memory = time.thread_time(), psutil.Process(), Counter[str]()
        for process in [here, *here.children(recursive=True)]:
            with suppress(psutil.Error):
                name = "driver" if process == here else _name(process)
                times = process.cpu_times()
                self._last[process.pid] = (name, times.user + times.system)
                used = process.memory_info()
                memory[name] += used.rss - used.shared
        self.bytes = {name: max(memory[name], self.bytes.get(name, 0)) for name in {*memory, *self.bytes}}
        self._looking += time.thread_time() - began


def _name(process: Any) -> str:
    command = " ".join(process.cmdline())
    if "MapWorker" in command:
        return "workers"
    return "server" if "standin_server" in command else "ray"


def is_worker(process: Any) -> bool:
    """Whether it is an actor of Ray Data."""
    import psutil

    try:
        return _name(process) == "workers"
    except psutil.Error:
        return False
