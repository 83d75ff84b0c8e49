"""A server of the explorer on a loopback port, with a tiny model and the real engine."""

import asyncio
import shutil
import threading
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image
from query_banks import write_sentences
from tiny_models import SENTENCES

from lensbank.models.loading import load_model
from lensbank.serve.running import Server, configured
from lensbank.serve.service import Service
from lensbank.serve.settings import ServeSettings
from lensbank.serve.sockets import listening
from lensbank.store.opening import open_store

LAYERS = (1, 2)
TOKEN = "a-token"
PATIENCE = 60  # seconds for what comes at once: machines are slow at times


@contextmanager
def running(models, folder, clock=time.monotonic, **settings):
    """A server in a thread of this process; `notes` is what its person would have read."""
    notes = []
    settings = ServeSettings(**{"port": 0, "token": TOKEN, **settings})
    service = Service(models, lambda: open_store(folder), settings, notes.append, clock)
    with listening(settings) as opened:
        stopping = asyncio.Event()
        server = Server(configured(service, stopping), stopping)
        service.worker.start()
        thread = threading.Thread(target=server.run, args=([opened],))
        thread.start()
        base = f"http://127.0.0.1:{opened.getsockname()[1]}"
        try:
            yield SimpleNamespace(base=base, service=service, notes=notes, settings=settings)
        finally:
            stopping.set()
            server.should_exit = True
            thread.join(PATIENCE)
            service.worker.stop(PATIENCE)


def entered(one):
    """A client of it that brings the token."""
    return httpx.Client(base_url=one.base, headers={"authorization": f"Bearer {TOKEN}"}, timeout=2 * PATIENCE)


def requested(client, question):
    """The id of a reading that is asked for."""
    answer = client.post("/api/readings", json=question)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def finished(client, name, **query):
    """The answer about a reading once it is there."""
    return client.get(f"/api/readings/{name}", params={"wait": 60, **query})


def read(client, question):
    """The reading that a question gives."""
    answer = finished(client, requested(client, question))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="session")
def served_models(tiny_vlm):
    loaded = load_model(str(tiny_vlm), device="cpu", dtype="float32")
    return {loaded.name: loaded}


@pytest.fixture(scope="session")
def served_store(tmp_path_factory, served_models):
    """A folder with banks of two layers."""
    folder = tmp_path_factory.mktemp("kept-served") / "store"
    (loaded,) = served_models.values()
    with open_store(folder, create=True) as store:
        write_sentences(store, loaded, SENTENCES, LAYERS)
    return folder


@pytest.fixture
def own_store(served_store, tmp_path):
    """A copy that no other server has open."""
    return Path(shutil.copytree(served_store, tmp_path / "own"))


@pytest.fixture(scope="module")
def served(served_models, served_store):
    with running(served_models, served_store) as one:
        yield one


@pytest.fixture(scope="module")
def client(served):
    with entered(served) as one:
        yield one


@pytest.fixture(scope="module")
def explore(browser, served):
    """Open the explorer; nothing but this server may be asked, and nothing be said on the console."""

    @contextmanager
    def opened(at="", refused=False, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        page = context.new_page()
        trouble = []
        page.on("console", lambda message: trouble.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        own = (served.base, "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(own) else trouble.append(asked.url))
        try:
            page.goto(f"{served.base}/?token={TOKEN}{at}")
            page.wait_for_selector("html[data-live]", timeout=60_000)
            yield page
            page.wait_for_timeout(30)
            # Chromium itself says on the console that an answer was a refusal.
            assert not [each for each in trouble if not (refused and "status of 40" in each)], trouble
        finally:
            context.close()

    return opened


def until(condition):
    """Wait for something to be so."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def png(width=90, height=60, seed=0):
    """A file's bytes."""
    file = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
