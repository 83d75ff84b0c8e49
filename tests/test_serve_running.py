"""A server ends when it is told to: within seconds, with a message, whatever it is at."""

import os
import signal
import threading
from contextlib import contextmanager, suppress

import httpx
import pytest
from serve_fixtures import PATIENCE, TOKEN, until

from lensbank.schemas.errors import UsageError
from lensbank.serve import running as module
from lensbank.serve.running import serve
from lensbank.serve.service import Service
from lensbank.serve.settings import ServeSettings
from lensbank.serve.sockets import address_of, listening
from lensbank.store.opening import open_store


@pytest.fixture
def service(served_models, served_store):
    """One that nobody has started, and what its person was told."""
    said = []
    made = Service(served_models, lambda: open_store(served_store), ServeSettings(port=0, token=TOKEN), said.append)
    made.said = said
    return made


@contextmanager
def following(service, number):
    """What a reader of a reading is told; the signal comes with its first line."""
    events, threads = [], []

    def follow(base):
        with (
            suppress(httpx.TransportError),
            httpx.Client(base_url=base, headers={"authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE) as client,
        ):
            name = client.post("/api/readings", json={"text": "A dog"}).json()["id"]
            with client.stream("GET", f"/api/readings/{name}/events") as answer:
                for line in answer.iter_lines():
                    events.append(line)
                    if len(events) == 1:
                        os.kill(os.getpid(), number)

    def ready(address):
        threads.append(threading.Thread(target=follow, args=(address.partition("/?")[0],)))
        threads[0].start()

    with listening(service.settings) as opened:
        serve(service, opened, service.said.append, ready)
    yield events
    threads[0].join(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_though_readers_wait_and_the_model_works(service, number, monkeypatch):
    """A model that stops where it can, once nobody wants its reading any more."""
    monkeypatch.setattr(module, "_GRACE", PATIENCE)
    service.worker._work = lambda job: job._cancel.wait(PATIENCE)
    before = signal.getsignal(number)
    with following(service, number) as events:
        assert service.said == ["Stopped; unfinished readings: 1."]
        until(lambda: {"event: bye", "event: cancelled"} & set(events))
    assert signal.getsignal(number) is before


def test_a_model_that_cannot_be_stopped_is_left(service, monkeypatch):
    gate, left = threading.Event(), []
    monkeypatch.setattr(module, "_GRACE", 0.05)
    monkeypatch.setattr(module.os, "_exit", left.append)
    service.worker._work = lambda job: gate.wait(PATIENCE)
    with following(service, signal.SIGTERM):
        assert left == [0] and service.said == ["Stopped; unfinished readings: 1."]
    gate.set()


def test_a_port_that_is_taken_is_named():
    with listening(ServeSettings(port=0)) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1 port {port} is in use"), listening(ServeSettings(port=port)):
            pass


def test_the_address_holds_the_token():
    assert address_of(ServeSettings(token="t"), 1) == "http://127.0.0.1:1/?token=t"
    assert address_of(ServeSettings(host="::1"), 1) == "http://[::1]:1/"
