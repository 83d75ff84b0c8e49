"""What one `lensbank query IMAGE` takes as a whole process: the start of Python, imports, the model, banks, the answer.

    python -m benchmarks.bench_start [--store STORE] [--beside CHECKOUT STORE] [--many 8,32] [--json FILE] IMAGE...

Processes of this checkout and of another one (an older commit's, made with `git worktree add`, with a copy of the
store of its own, since each leaves files in the system's memory or not) take turns, in the same environment, so that a
busy machine slows both. Modules are compiled once and kept, as those of an installed package are. Processor time (user
and system, all threads) says what was saved where a clock on the wall says what else the machine did; the ratio is of
each pair. One process each reads several images, and one tells its own parts. Where fewer images are named than are
read, they are read again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import shown
from benchmarks.search_table import machine

HERE = Path(__file__).resolve().parent.parent


def whole(checkout: Path, store: str, arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of processors and of the clock, of one process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, str(checkout / "cli.py"), "query", *arguments, "--store", store, "--silent"]
    subprocess.run([*command, "--out", os.devnull], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - began


def parts(store: str, image: str) -> dict[str, tuple[float, float]]:
    """Seconds of processors and of the clock of each part, in this process."""
    from lensbank.commands import collecting

    collecting.put_off()
    taken: dict[str, tuple[float, float]] = {}
    mark = time.process_time(), time.perf_counter()

    def done(part: str) -> None:
        nonlocal mark
        now = time.process_time(), time.perf_counter()
        taken[part] = now[0] - mark[0], now[1] - mark[1]
        mark = now

    import torch

    done(f"import torch {torch.__version__}")
    import transformers
    import transformers.modeling_utils

    done(f"import transformers {transformers.__version__}")
    from lensbank.banks.of_model import computed_in
    from lensbank.models.loading import load_model
    from lensbank.query.options import QueryOptions
    from lensbank.query.pipeline import QuerySession, model_source
    from lensbank.store.opening import open_store

    done("import lensbank and the rest")
    with open_store(store) as opened:
        opened.leave_open()
        source = model_source(opened)
        loaded = load_model(source, need_vision=True, like=computed_in(opened, source))
        done("load the model")
        with QuerySession(opened, loaded, QueryOptions()) as session:
            done(f"open {len(session.banks)} banks")
            session.image(image)
            done("read the image")
    done("close")
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=".cache/demo-store")
    parser.add_argument("--layer", default="4,8,16,24")
    parser.add_argument("--beside", nargs=2, metavar=("CHECKOUT", "STORE"), help="another checkout, and its store")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--parts", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--many", default="8,32", help="images in one process")
    parser.add_argument("images", nargs="+")
    options = parser.parse_args()
    if options.parts:
        print(json.dumps(parts(options.store, options.images[0])))
        return
    arguments = ["--layer", options.layer]
    on = machine()
    checkouts = {"this": (HERE, options.store)}
    if options.beside:
        checkouts["beside"] = (Path(options.beside[0]).resolve(), options.beside[1])
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    with TemporaryDirectory() as compiled:
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(options.rounds + 1):
            for name, (checkout, store) in checkouts.items():
                one = whole(checkout, store, [options.images[0], *arguments], environment)
                if turn:  # the first fills the page cache, and compiles
                    taken[name].append(one)
        many = {
            number: whole(
                HERE,
                options.store,
                [*itertools.islice(itertools.cycle(options.images), int(number)), *arguments],
                environment,
            )
            for number in options.many.split(",")
        }
        command = [sys.executable, "-m", "benchmarks.bench_start", "--store", options.store, "--parts"]
        done = subprocess.run(
            [*command, options.images[0]], check=True, stdout=subprocess.PIPE, text=True, cwd=HERE, env=environment
        )
    result = {
        "command": "python -m benchmarks.bench_start --beside CHECKOUT STORE IMAGE...",
        "machine": on,
        "processes": taken,
        "many": many,
        "parts": json.loads(done.stdout.splitlines()[-1]),
    }
    shown(result, options.json)


if __name__ == "__main__":
    main()
