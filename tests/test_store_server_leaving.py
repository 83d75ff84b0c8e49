"""Ctrl-C and SIGTERM while a server keeps one waiting: obeyed at once, and what is stored stays."""

import functools
import os
import signal
import threading
from contextlib import contextmanager

import pytest
import tiny_models
from qdrant_client import models
from standins import StandIn

from lensbank.banks.choosing import choose
from lensbank.banks.interrupts import Interruption, Terminated
from lensbank.banks.transfer import Transfer
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions, run
from lensbank.models.loading import load_model
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store
from lensbank.store.server.connection import Connection
from lensbank.store.server.options import ServerOptions

PATIENCE = 600.0  # seconds: after so long a request ends as another error


class Told(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def server():
    with StandIn() as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def options(server, request):
    yield ServerOptions(protocol=request.param, grpc_port=server.grpc_port, streams=2, patience=PATIENCE)
    server.order_faults()
    with open_store(server.url) as store:
        for info in store.list():
            store.drop(info.name)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(str(tiny_models.save_text_model(tmp_path_factory.mktemp("models") / "tiny")), dtype="float32")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    for name, animal in (("first", "dog"), ("second", "cat")):
        lines = [f"The {animal} of house {n} sleeps." for n in range(30)]
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return folder


@contextmanager
def signalled_while_waiting(number):
    """Send a signal once a request waits for its next attempt; nothing else ends that wait in time."""
    once, wait = threading.Lock(), Connection.gives_up

    def gives_up(connection, seconds, stop):
        if once.acquire(blocking=False):
            threading.Thread(target=os.kill, args=(os.getpid(), number)).start()
        return wait(connection, PATIENCE, stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "gives_up", gives_up)
        yield


def ingest(loaded, corpus, store, progress):
    with read_corpora([corpus]) as texts:
        run(loaded, texts, store, IngestOptions(layers=(1,), batch_tokens=40, flush_seconds=0.1), progress)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_an_ingest_that_waits_for_a_rate_limit_ends_at_once_and_goes_on(
    server, options, raw, loaded, corpora, number, error
):
    progress = Told()
    with open_store(server.url, server=options, notify=progress.note) as store:
        ingest(loaded, corpora / "first.txt", store, progress)
        [info] = store.list()
        strict = models.StrictModeConfig(enabled=True, write_rate_limit=10)
        raw.update_collection(info.name, strict_mode_config=strict)
        with pytest.raises(error), signalled_while_waiting(number):
            ingest(loaded, corpora / "second.txt", store, progress)
        assert progress.notes[-1].startswith("Interrupted") and "The same command" in progress.notes[-1]
        raw.update_collection(info.name, strict_mode_config=models.StrictModeConfig(enabled=False))
        [info] = store.list()
        assert info.record.state == "building" and set(info.record.plan.corpora) == {"second"}
        ingest(loaded, corpora / "second.txt", store, progress)
        [info] = store.list()
        assert info.record.state == "complete" and not store.take_stock(info)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_copy_that_waits_for_a_rate_limit_ends_at_once_and_goes_on(
    server, options, raw, loaded, corpora, tmp_path, number, side
):
    progress = Told()
    with open_store(server.url, server=options, notify=progress.note) as far, open_store(tmp_path, create=True) as near:
        source, target = (far, near) if side == "source" else (near, far)
        ingest(loaded, corpora / "first.txt", source, progress)
        if side == "target":
            [moved] = Transfer(source, target, progress).run(choose(source))
            raw.delete(moved.name, [record.id for record in raw.scroll(moved.name, limit=30)[0]])
            strict = models.StrictModeConfig(enabled=True, write_rate_limit=10)
            raw.update_collection(moved.name, strict_mode_config=strict)
        if side == "source":
            limit = functools.partial(server.order_faults, *[429] * 99, retry_after=300)
            progress.start = lambda phase, *_: phase.startswith("Copying") and limit()
        with pytest.raises(KeyboardInterrupt), signalled_while_waiting(number), Interruption() as stopping:
            Transfer(source, target, progress, stopping).run(choose(source))
        assert "a server did not answer. The same command continues" in progress.notes[-1]
        server.order_faults()
        if side == "target":
            raw.update_collection(moved.name, strict_mode_config=models.StrictModeConfig(enabled=False))
        assert [info.record.state for info in target.list()] == ["building"]
        progress.start = lambda *_: None
        Transfer(source, target, progress).run(choose(source))
        assert [info.record.state for info in target.list()] == ["complete"]
