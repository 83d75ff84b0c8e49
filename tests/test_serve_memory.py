"""Memory that runs out, wherever: one message, what was held is let go, and the server goes on."""

import weakref
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from serve_fixtures import finished, png, requested

from lensbank.models.machine.shortage import is_out_of_memory
from lensbank.query.lenses import LatentLens
from lensbank.serve import routes

FAR_TOO_MUCH = 1 << 55
ERRORS = {
    "device": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "torch": lambda: raised(lambda: torch.empty(FAR_TOO_MUCH)),
    "numpy": lambda: raised(lambda: np.empty(FAR_TOO_MUCH, np.uint8)),
    "python": MemoryError,
}


def raised(work):
    """What a library really raises."""
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        work()
    return caught.value


MOMENTS = ("the model", "a text", "the search", "an answer")


class Held:
    """What a frame holds when memory runs out; in a cycle, as models are."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def short(monkeypatch):
    """Have a place run out of memory; what it held then can be asked."""

    @contextmanager
    def at(owner, name, make):
        held = []

        def runs_out(*args, **kwargs):
            big = Held()
            held.append(weakref.ref(big))
            raise make()

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, runs_out)
            yield held

    return at


def test_every_library_s_way_to_say_it_is_known():
    for make in ERRORS.values():
        assert is_out_of_memory(make())
    wrapped = raised(lambda: wrap(ERRORS["torch"]()))
    assert is_out_of_memory(wrapped) and not is_out_of_memory(RuntimeError("shapes do not match"))


def wrap(error):
    try:
        raise error
    except RuntimeError as cause:
        raise RuntimeError("it failed") from cause


def read(client, **question):
    return finished(client, requested(client, {"layers": [1], "top_k": 3, **question}))


@pytest.mark.parametrize(("kind", "moment"), [*product(ERRORS, MOMENTS), ("python", "pixels"), ("numpy", "pixels")])
def test_a_reading_that_runs_out_of_memory(client, served, served_models, short, kind, moment):
    (loaded,) = served_models.values()
    image, noted = client.post("/api/images", content=png()).json()["id"], list(served.notes)
    asked = {"text": "A dog"} if moment == "a text" else {"images": [image]}
    if moment == "an answer":
        asked["read"] = ["answer"]
    places = {
        "the model": (loaded.model, "forward"),
        "a text": (loaded.lm.module, "forward"),
        "the search": (LatentLens, "read"),
        "pixels": (Image.Image, "convert"),
        "an answer": (loaded.model, "generate"),
    }
    with short(*places[moment], ERRORS[kind]) as held:
        answer = read(client, **asked)
    said = answer.json()["error"]
    assert answer.status_code == 503, answer.text
    assert said["message"] == "The machine ran out of memory on this reading." and said["hint"]
    assert not served.service.engine._sessions
    assert held and all(each() is None for each in held)
    assert read(client, **asked).status_code == 200
    assert served.notes == noted


def test_a_page_that_cannot_be_made_is_one_message(client, served, monkeypatch):
    name = read_id(client)
    for error, status, kind in (
        (MemoryError(), 503, "MemoryError"),
        (ZeroDivisionError("x"), 500, "ZeroDivisionError"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(routes, "_rendered", lambda *_, error=error: (_ for _ in ()).throw(error))
            answer = client.get(f"/api/readings/{name}")
        assert answer.status_code == status and answer.json()["error"]["kind"] == kind, answer.text
        assert answer.headers["x-frame-options"] == "DENY"
    assert client.get(f"/api/readings/{name}").status_code == 200
    assert len([note for note in served.notes if "ZeroDivisionError" in note]) == 1


def read_id(client):
    name = requested(client, {"text": "A dog", "layers": [1]})
    assert finished(client, name).status_code == 200
    return name
