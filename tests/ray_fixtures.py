"""A Ray cluster of real worker processes on this machine, for `make test-ray`."""

import contextlib
import signal

import psutil
import pytest

from lensbank.schemas.progress import Silent

ARGUMENTS = {"dtype": "float32", "device": "cpu"}


class Steps(Silent):
    """Calls something at chosen steps of a phase."""

    def __init__(self, at=(), of="Encoding"):
        self.at, self.step, self.phase, self.of, self.notes = dict(at), 0, "", of, []

    def start(self, phase, total, unit):
        self.phase = phase

    def advance(self, count):
        if self.phase == self.of:
            self.step += 1
            self.at.pop(self.step, lambda: None)()

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def ray_cluster():
    """Four CPUs on paper: as many workers. Ray has one cluster at a time, and other modules have other ones."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


class Hunter:
    """Kills workers, drawn by their number.

    Attributes:
        killed: their process ids.
        most: kills in all.
    """

    def __init__(self, most):
        self.killed, self.most = [], most

    def kill(self):
        alive = _workers()
        if alive and len(self.killed) < self.most:
            victim = alive[len(self.killed) * 7919 % len(alive)]
            victim.send_signal(signal.SIGKILL)
            victim.wait()  # or it would be counted twice
            self.killed.append(victim.pid)


def _workers():
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "MapWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found
