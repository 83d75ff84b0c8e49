"""Where the driver, the upload or the server is the limit of an ingest by many workers.

    python -m benchmarks.bench_ray_upload [--workers 1,2,4,8,16,32,64] [--forward 1] [--rows 64] [--nowhere]

Workers of a Ray cluster on this machine load no model: they sleep ``--forward`` seconds for each batch, as they would
wait for a GPU, and put ready rows of width 576 into the tests' stand-in for a server (``--nowhere``: nowhere, so that
Ray and the driver alone are measured). None claims a core, and each gets so many batches once it has started.

*Wanted* is what so many workers would give if nothing else were in the way: ``workers x rows / forward``. *Rows/s* is
what came, between the first and the last answer of those that came after every worker had answered once. Processor
time is of those seconds too, per thousand rows: the driver's, the workers' and the server's; memory is what the workers
do not share. The stand-in is one Python process, so a server's own limit is elsewhere.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.ray_machine import Spent, cluster, server
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.payload import TokenPayload
from lensbank.schemas.plans import PlanRecord
from lensbank.store.opening import open_store
from lensbank.store.writing import Permit, Sender

DIM = 576
#: For all workers to start, which takes a core for seconds each.
START_SECONDS = 900
PAYLOAD = TokenPayload(
    token="Ġdog",
    token_id=1,
    word="dog",
    sentence="A dog barks at the old tree.",
    position=1,
    char_start=2,
    char_end=5,
    norm=0.0,
    corpus=("c",),
    document="c.txt:1",
    is_word=True,
).to_dict()


class Simulated:
    """A worker that computes nothing: it waits, and puts ready rows."""

    permit: Permit | None
    forward: float
    rows: int

    def __init__(self) -> None:
        """Nothing is open yet."""
        self._sender: Sender | None = None

    def __call__(self, table: Any) -> Any:
        """As Ray Data calls it: a number of a batch gives the process that has put its rows."""
        import os

        import pyarrow

        time.sleep(self.forward)
        if self.permit is not None:
            self._sender = self._sender or self.permit.open()
            (number,) = table.column("number").to_pylist()
            states = np.random.default_rng(number).standard_normal((self.rows, DIM), np.float32)
            ids = [f"{number:08x}-0000-4000-8000-{row:012x}" for row in range(self.rows)]
            self._sender.put(ids, [PAYLOAD] * self.rows, {1: states}, {1: np.linalg.norm(states, axis=1)})
            self._sender.drain()
        return pyarrow.table({"process": [os.getpid()]})


def simulate(count: int, permit: Permit | None, arguments: argparse.Namespace) -> str:
    """So many workers; a line of what came."""
    import pyarrow
    import ray

    ray.data.DataContext.get_current().wait_for_min_actors_s = START_SECONDS
    told = {"permit": permit, "forward": arguments.forward, "rows": arguments.rows}
    tables = [pyarrow.table({"number": [number]}) for number in range(count * (2 + arguments.batches))]
    dataset = ray.data.from_arrow(tables).map_batches(
        type("Simulated", (Simulated,), told),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=count),
        num_cpus=0,
    )
    answers = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    began, seen, times, spent = time.monotonic(), set[int](), list[float](), Spent()
    with Spent() as whole, ExitStack() as measuring:
        for answer in answers:
            if len(seen) == count:
                times.append(time.monotonic())
                continue
            seen.update(answer.column("process").to_pylist())
            if len(seen) == count:
                measuring.enter_context(spent)
                times, started = [time.monotonic()], time.monotonic() - began
    if len(times) < 2:
        return f"{count:8}  not every worker had answered before the last batch; give more --batches"
    rows = arguments.rows * (len(times) - 1)
    rate = rows / (times[-1] - times[0])
    cost = [1000 * spent.seconds.get(name, 0.0) / rows for name in ("driver", "workers", "ray", "server")]
    wanted = count * arguments.rows / arguments.forward if arguments.forward else float("inf")
    return (
        f"{count:8}{started:9.1f}{wanted:10,.0f}{rate:10,.0f}{rate / arguments.rows:10.1f}"
        + "".join(f"{one:9.2f}" for one in cost)
        + f"{whole.bytes.get('workers', 0) / 1e9:8.1f} GB"
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2,4,8,16,32,64")
    parser.add_argument("--forward", type=float, default=1.0)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--nowhere", action="store_true")
    arguments = parser.parse_args()
    identity = BankIdentity("m", None, "w" * 64, "t" * 64, 1, 2, DIM, "float32", "float32", None, 0)
    print(" workers  started    wanted    rows/s batches/s   driver  workers      ray   server  memory")
    for count in [int(one) for one in arguments.workers.split(",")]:
        if arguments.nowhere:
            with cluster(1):
                print(simulate(count, None, arguments), flush=True)
            continue
        with server() as url, open_store(url) as store:
            plan = PlanRecord("ingest", "k", {"c": "f"}, total=1)
            with store.writer([identity], "m", plan=plan) as writer, cluster(1):
                print(simulate(count, writer.permit(), arguments), flush=True)
                writer.abort()


if __name__ == "__main__":
    main()
