"""What an index spends on an image where the server searches its text bank, and where a local copy of it is searched.

    python -m benchmarks.bench_index_copies --model DIR --store FOLDER --layer 8 [--server http://host:6333] PHOTOS...

The text bank of one layer is copied from a folder to a server. Each image goes through the model once; its visual
tokens are then asked of the server and of a local copy, in turn, as an index asks. Without ``--server`` the server is
the tests' stand-in, a Python process in front of the embedded engine, which is no fair peer. The bank is dropped at the
end.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.bench_local_copy import server_of
from benchmarks.search_table import machine
from lensbank.banks.interrupts import Interruption
from lensbank.banks.local_copies import with_local_copies
from lensbank.banks.transfer import Transfer
from lensbank.images.sets import gather
from lensbank.models.loading import LoadedModel, load_model
from lensbank.query.asking import ask_image
from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store
from lensbank.store.store import Store


def measure(server: Store, copies: Store, loaded: LoadedModel, layer: int, photos: list[Path]) -> dict[str, float]:
    """Median seconds of an image: in the model, searched by the server, searched in the copy; and of copying."""
    asked = QueryOptions(layers=(layer,), bank_layers=(layer,), distinct="word", recall_check=False)
    began, taken = time.perf_counter(), {"model": list[float](), "server": list[float](), "copy": list[float]()}
    with QuerySession(copies, loaded, asked) as copy, QuerySession(server, loaded, asked) as there:
        copying = time.perf_counter() - began
        for image in gather(photos).images:
            began = time.perf_counter()
            states = ask_image(loaded, image.path, [layer], asked).states
            taken["model"].append(time.perf_counter() - began)
            for name, session in (("server", there), ("copy", copy)):
                began = time.perf_counter()
                session.vectors(states, silent=True)
                taken[name].append(time.perf_counter() - began)
    # the first image warms everything up
    return {**{name: statistics.median(one[1:]) for name, one in taken.items()}, "copying": copying}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path, help="two images at least")
    parser.add_argument("--model", required=True)
    parser.add_argument("--store", required=True, help="folder with text banks of the model")
    parser.add_argument("--layer", type=int, default=8)
    parser.add_argument("--server", help="URL of a Qdrant server; default: the tests' stand-in")
    options = parser.parse_args()
    loaded = load_model(options.model, need_vision=True)
    with (
        server_of(options.server) as url,
        tempfile.TemporaryDirectory() as cache,
        open_store(options.store) as folder,
        open_store(url) as server,
    ):
        (bank,) = [info for info in folder.list() if info.record.identity.layer == options.layer]
        if bank.name in {info.name for info in server.list()}:  # it would be dropped at the end
            parser.error(f"{url} has a bank {bank.name} already")
        try:
            with Interruption() as interruption:
                Transfer(folder, server, Silent(), interruption).run([bank])
            copies = with_local_copies(server, Silent(), True, cache)
            found = measure(server, copies, loaded, options.layer, options.photos)
        finally:
            server.drop(bank.name)
    who = "the server" if options.server else "the stand-in"
    model, there, here = found["model"], found["server"], found["copy"]
    print(f"{bank.rows:,} rows x {bank.record.identity.dim}, {machine()}")
    print(f"an image in the model: {model:.2f} s; searched by {who}: {there:.3f} s, in a local copy: {here:.3f} s")
    print(f"the search is {there / here:.1f} times as fast, all of it {(model + there) / (model + here):.2f} times")
    print(f"copying the bank, once: {found['copying']:.1f} s")


if __name__ == "__main__":
    main()
