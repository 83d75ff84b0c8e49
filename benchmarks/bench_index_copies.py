"""How long an index reads images where the server searches its text bank, and where a local copy of it is searched.

    python -m benchmarks.bench_index_copies --model DIR --store FOLDER --layer 8 [--server http://host:6333] PHOTOS...

The text bank of one layer is copied from a folder to a server; then the same images are indexed twice, as `lensbank
index` does, without and with `--local-copy`. The model is in memory and the session is open before the clock starts, so
a difference is of the search alone; copying has a figure of its own. Without ``--server`` the server is the tests'
stand-in, a Python process in front of the embedded engine, which is no fair peer. All banks are dropped at the end.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.bench_local_copy import server_of
from benchmarks.search_table import machine
from lensbank.banks.interrupts import Interruption
from lensbank.banks.local_copies import with_local_copies
from lensbank.banks.transfer import Transfer
from lensbank.images.index import run
from lensbank.images.options import IndexOptions
from lensbank.images.sets import gather
from lensbank.models.loading import LoadedModel, load_model
from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store
from lensbank.store.store import Store


def indexed(store: Store, loaded: LoadedModel, layer: int, photos: list[str], name: str) -> tuple[float, float]:
    """Seconds of opening the session, copies made, and of indexing."""
    began = time.perf_counter()
    asked = QueryOptions(layers=(layer,), bank_layers=(layer,), distinct="word", recall_check=False)
    with QuerySession(store, loaded, asked) as session:
        opened = time.perf_counter() - began
        images = gather([Path(photo) for photo in photos], name)
        run(session, images, store, IndexOptions(again=True))  # the first one warms up, and makes the bank
        began = time.perf_counter()
        summary = run(session, images, store, IndexOptions(again=True))
        assert summary.written == len(images.images), summary.odd
        return opened, time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+")
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
        before = {info.name for info in server.list()}
        (bank,) = [info for info in folder.list() if info.record.identity.layer == options.layer]
        try:
            with Interruption() as interruption:
                Transfer(folder, server, Silent(), interruption).run([bank])
            _, there = indexed(server, loaded, options.layer, options.photos, "by-server")
            copies = with_local_copies(server, Silent(), True, cache)
            copying, here = indexed(copies, loaded, options.layer, options.photos, "by-copies")
        finally:
            for name in {info.name for info in server.list()} - before:
                server.drop(name)
    width = bank.record.identity.dim
    print(f"{len(gather([Path(p) for p in options.photos]).images)} images, {bank.rows:,} rows x {width}: {machine()}")
    print(f"index, {'the server' if options.server else 'the stand-in'} searches: {there:.2f} s")
    print(f"index, a local copy is searched: {here:.2f} s, {there / here:.2f} times as fast; copied in {copying:.1f} s")


if __name__ == "__main__":
    main()
