"""Reaching a Ray cluster, or starting one of this machine alone; its nodes and what fits on them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..schemas.errors import ClusterError, UsageError
from ..store.server.address import read_address

#: Seconds to wait for the port of a cluster that was named.
CONNECT_SECONDS = 10.0
# What begins a connection of HTTP/2, as gRPC has it: whoever speaks it answers with settings of its own. Ray waits for
# minutes at a port of another kind, its dashboard's for one.
_SETTINGS = 4
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
_EXAMPLE = "Give HOST:PORT as `ray status` shows it (often port 6379), or --ray auto."


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster.

    Attributes:
        cpus: that Ray may give away.
        gpus: the same.
    """

    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Workers:
    """How many processes hold the model, and what each is given.

    Attributes:
        count: of them.
        cpus: of each.
        gpus: of each; 0 computes on the CPU.
    """

    count: int
    cpus: int
    gpus: float

    def line(self) -> str:
        """For people."""
        several = self.count > 1
        return f"{self.count} worker{'s' if several else ''} with {self.each()}{' each' if several else ''}."

    def each(self) -> str:
        """What a worker is given, for people."""
        if self.gpus:
            return f"{self.gpus:g} GPU{'s' if self.gpus > 1 else ''}"
        return f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"


def plan_workers(nodes: Sequence[Node], count: int | None, gpus: float | None) -> Workers:
    """How the model is spread: a worker for every GPU; where there are none, one for every machine, with all its CPUs.

    Args:
        nodes: of the cluster.
        count: of workers, where it was asked for.
        gpus: of each, where it was asked for.

    Raises:
        UsageError: a worker would have whole GPUs and a part of one.
        ClusterError: they do not fit.
    """
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise UsageError(
            f"--ray-gpus {gpus:g} is not possible: a worker has a part of one GPU, or whole GPUs.",
            f"Use --ray-gpus {int(gpus)} or {int(gpus) + 1}.",
        )
    if gpus is None:
        gpus = 1.0 if any(node.gpus >= 1 for node in nodes) else 0.0
    if gpus:
        fit = fitting(nodes, 1, gpus)
        wanted = count or max(1, fit)
        if wanted > fit:
            raise _too_small(nodes, wanted, f"{gpus:g} GPU{'s' if gpus > 1 else ''} and a CPU", fit)
        return Workers(wanted, 1, gpus)
    fit = fitting(nodes, 1, 0.0)
    wanted = count or max(1, sum(node.cpus >= 1 for node in nodes))
    if wanted > fit:
        raise _too_small(nodes, wanted, "a CPU", fit)
    cpus = next(n for n in range(int(max(node.cpus for node in nodes)), 0, -1) if fitting(nodes, n, 0.0) >= wanted)
    return Workers(wanted, cpus, 0.0)


def told_of(workers: Workers, nodes: Sequence[Node], server: str) -> list[str]:
    """What people should know before the work begins.

    Args:
        workers: as planned.
        nodes: of the cluster.
        server: URL of the store.
    """
    lines = [workers.line()]
    if len(nodes) > 1 and (address := read_address(server)).is_local:
        lines.append(
            f"The store is {address.url}: every node looks for that server on itself, and the cluster has {len(nodes)} "
            "nodes. Give --store the name that the server has in the network."
        )
    return lines


def fitting(nodes: Sequence[Node], cpus: int, gpus: float) -> int:
    """Workers with so many CPUs and GPUs that fit; one does not stretch over two machines."""

    def on(node: Node) -> int:
        by_cpus = int(node.cpus // cpus)
        if not gpus:
            return by_cpus
        # A GPU that is shared is shared by whole workers; several go to one worker.
        by_gpus = int(node.gpus) * int(1 / gpus + 1e-9) if gpus < 1 else int(node.gpus // gpus)
        return min(by_cpus, by_gpus)

    return sum(on(node) for node in nodes)


def _too_small(nodes: Sequence[Node], wanted: int, each: str, fit: int) -> ClusterError:
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    machines = f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}"
    workers = f"{wanted} worker{'s' if wanted > 1 else ''}"
    return ClusterError(
        f"{workers} with {each} each would be needed; the cluster has {cpus:g} CPUs and {gpus:g} GPUs on {machines}, "
        f"which is enough for {fit}.",
        f"Use --ray-actors {fit}, or add nodes." if fit else "Use another --ray-gpus (0: on the CPU), or add nodes.",
    )


@contextmanager
def connected(address: str) -> Iterator[Sequence[Node]]:
    """Use a cluster for as long as the block lasts.

    Args:
        address: ``HOST:PORT``; or ``auto`` for the one that this machine belongs to, else one of its own that ends with
            the block.

    Yields:
        Its nodes.

    Raises:
        UsageError: the address is none that can be used.
        ClusterError: Ray is not installed; the cluster cannot be reached.
    """
    ray = _ray()
    joined = bool(ray.is_initialized())  # by the program that calls us: it stays connected
    if not joined:
        with _own_sigterm():
            _join(ray, address)
    try:
        yield alive()
    finally:
        if not joined:
            ray.shutdown()


def alive() -> Sequence[Node]:
    """The nodes that the cluster has now; one that died is among them for some seconds more."""
    resources = [found["Resources"] for found in _ray().nodes() if found["Alive"]]
    return [Node(of.get("CPU", 0.0), of.get("GPU", 0.0)) for of in resources]


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does: Ray would end the process in the middle of what an ingest stores before it leaves."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError(f"Ray is not installed here ({error}).", "Run: pip install 'lensbank[ray]'") from error
    return ray


def _join(ray: Any, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported from here
    # Else it prints tracebacks of its own statistics, which it loses on a busy machine; failed work is raised anyway.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    named = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    try:
        if named and named not in ("auto", "local"):
            _require_answer(named)
            ray.init(address=named, **quiet)
            return
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:  # there is none
            ray.init(address="local", include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        said = str(error).strip().splitlines()
        raise ClusterError(
            f"The Ray cluster {named or address} cannot be used: {said[0] if said else type(error).__name__}", _EXAMPLE
        ) from error


def _require_answer(address: str) -> None:
    """Find out soon whether anybody listens: Ray itself waits for long, and says little.

    Raises:
        UsageError: it is no address of this kind.
        ClusterError: nobody does.
    """
    if "://" in address:
        raise UsageError(
            f"--ray {address!r} is a Ray client's address; an ingest has to run on a node of the cluster.",
            "Log in to a node and use --ray auto, or `ray job submit -- lensbank ingest --ray auto ...`.",
        )
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UsageError(f"--ray {address!r} is not the address of a Ray cluster.", _EXAMPLE)
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS) as there:
            there.sendall(_GREETING)
            said = there.recv(9)  # the header of a frame: three bytes of length, and its kind
        if len(said) < 4 or said[3] != _SETTINGS:
            raise OSError("the process that listens there is not a Ray head")
    except OSError as error:
        raise ClusterError(
            f"No Ray cluster answers at {address} ({error.strerror or error}).",
            f"{_EXAMPLE} On its head node, `ray start --head` starts one.",
        ) from error
