"""A server ends when it is told to: within seconds, with a message, whatever it is at."""

import os
import signal
import threading
import time

import httpx
import pytest
from serve_fixtures import TOKEN

from lensbank.schemas.errors import UsageError
from lensbank.serve.running import address_of, listening, serve
from lensbank.serve.service import Service
from lensbank.serve.settings import ServeSettings
from lensbank.store.opening import open_store


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_though_readers_wait_and_the_model_works(served_models, served_store, number):
    said, events, gate = [], [], threading.Event()
    settings = ServeSettings(port=0, token=TOKEN)
    service = Service(served_models, lambda: open_store(served_store), settings, said.append)
    service.worker._work = lambda job: gate.wait(1.5)

    def follow(base):
        with httpx.Client(base_url=base, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20) as client:
            name = client.post("/api/readings", json={"text": "A dog"}).json()["id"]
            with client.stream("GET", f"/api/readings/{name}/events") as answer:
                for line in answer.iter_lines():
                    events.append(line)
                    if len(events) == 1:
                        os.kill(os.getpid(), number)

    def ready(address):
        base = address.partition("/?")[0]
        threading.Thread(target=follow, args=(base,)).start()

    before = signal.getsignal(number)
    start = time.monotonic()
    with listening(settings) as opened:
        serve(service, opened, said.append, ready)
    assert time.monotonic() - start < 8
    assert said == ["Stopped; 1 of the readings asked for were not finished."]
    deadline = time.monotonic() + 5
    while not {"event: bye", "event: cancelled"} & set(events) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert {"event: bye", "event: cancelled"} & set(events)
    assert signal.getsignal(number) is before


def test_a_port_that_is_taken_is_named():
    with listening(ServeSettings(port=0)) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1 port {port} is in use"), listening(ServeSettings(port=port)):
            pass


def test_the_address_holds_the_token():
    assert address_of(ServeSettings(token="t"), 1) == "http://127.0.0.1:1/?token=t"
    assert address_of(ServeSettings(host="::1"), 1) == "http://[::1]:1/"
