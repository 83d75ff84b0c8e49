"""The server's HTTP interface, with a tiny model, the real engine and real sockets."""

import asyncio
import json
import socket
import threading
from io import BytesIO
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from query_banks import write_sentences
from serve_fixtures import PATIENCE, TOKEN, entered, finished, png, requested, running, until
from tiny_models import SENTENCES

from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.errors import StoreLockedError, UsageError
from lensbank.schemas.results_json import reading_from_dict
from lensbank.serve.engine import Engine
from lensbank.serve.guard import Guard
from lensbank.serve.jobs import Job
from lensbank.serve.questions import FIELDS
from lensbank.serve.settings import ServeSettings
from lensbank.store.embedded.locks import BankLock
from lensbank.store.opening import open_store

QUESTION = {"layers": [0, 1, 2], "lenses": ["latent", "logit"], "top_k": 3}


@pytest.fixture(scope="module")
def image(client):
    """Id of an uploaded image."""
    answer = client.post("/api/images?name=C:\\secret\\..%2Fphoto.png", content=png())
    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == "photo.png" and (answer.json()["width"], answer.json()["height"]) == (90, 60)
    return answer.json()["id"]


def asked(client, **question):
    return requested(client, {**QUESTION, **question})


def stream(client, name, form="json", headers=None):
    """Events as they come: (name, data)."""
    with client.stream("GET", f"/api/readings/{name}/events?form={form}", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))


def error_of(answer):
    return answer.json()["error"]


def test_a_reading_equals_that_of_the_command_line(client, image, served_models, served_store):
    there = finished(client, asked(client, images=[image], prompt="What?")).json()
    options = QueryOptions(layers=(0, 1, 2), lenses=("latent", "logit"), top_k=3, prompt="What?")
    (loaded,) = served_models.values()
    with open_store(served_store) as store, QuerySession(store, loaded, options) as session:
        here = session.image(png())
    read = reading_from_dict(there)
    assert read.layers == here.layers and read.search == here.search and read.source == "photo.png"
    assert [layer.layer for layer in read.layers] == [0, 1, 2]


def test_layers_come_one_by_one_and_the_middle_one_first(client, image):
    events = list(stream(client, asked(client, images=[image])))
    layers = [data["layers"][0]["layer"] for kind, data in events if kind == "layer"]
    assert layers == [1, 0, 2]
    assert events[-1][0] == "done" and events[-1][1]["layers_done"] == 3
    assert all(len(data["layers"]) == 1 and data["version"] for kind, data in events if kind == "layer")


def test_what_needs_no_answer_does_not_wait_for_it(client, image, served_models, served_store, monkeypatch):
    seen, plain = threading.Event(), Job.say
    monkeypatch.setattr(Job, "say", lambda job, answer: (seen.wait(PATIENCE), plain(job, answer)))
    kinds = ("image", "prompt", "answer")
    name = asked(client, images=[image], read=list(kinds), answer_tokens=3)
    layers = []
    for kind, data in stream(client, name):
        layers += [data] if kind == "layer" else []
        if len(layers) == 3:
            seen.set()  # the model has not said a word before
    assert [data["layers"][0]["layer"] for data in layers] == [1, 0, 2, 1, 0, 2]
    assert not any(map(of_answer, layers[:3])) and all(map(of_answer, layers[3:]))
    assert [data["answer"] is None for data in layers] == [True] * 3 + [False] * 3
    (loaded,) = served_models.values()
    options = QueryOptions(layers=(0, 1, 2), lenses=("latent", "logit"), top_k=3, read=kinds, answer_tokens=3)
    with open_store(served_store) as store, QuerySession(store, loaded, options) as session:
        here = session.image(png())
    there = finished(client, name).json()
    assert there["answer"] == here.answer and len(there["notes"]) == len(here.notes)
    assert words_of(reading_from_dict(there)) == words_of(here)
    late, *_ = [data for kind, data in stream(client, name, "page") if kind == "layer"]
    assert late["pictures"] and late["readings"][0]["answer"] is not None  # what was replaced is not sent any more
    progress = client.get(f"/api/readings/{name}/about").json()
    assert progress["layers_done"] == progress["layers"] == 3


def of_answer(data):
    return [token["index"] for token in data["layers"][0]["tokens"] if token["kind"] == "answer"]


def words_of(reading):
    """All that was found and said; cosines of two forward passes differ in their last digits."""
    return [
        (
            layer.layer,
            t.index,
            t.kind,
            t.emitted,
            [n.word for n in t.neighbors],
            [w.word for w in t.vocabulary["logit"]],
        )
        for layer in reading.layers
        for t in layer.tokens
    ]


def test_a_reader_that_comes_back_gets_only_what_it_lacks(client, image):
    name = asked(client, images=[image])
    finished(client, name)
    events = list(stream(client, name, "page", {"Last-Event-ID": "2"}))
    (packed,) = [data for kind, data in events if kind == "layer"]
    assert packed["readings"][0]["layers"][0]["layer"] == 2


def test_a_text_and_its_page(client):
    name = asked(client, text="A dog runs", lenses=["latent"])
    assert finished(client, name).json()["kind"] == "text"
    page = finished(client, name, format="html")
    assert "</html>" in page.text and page.headers["content-security-policy"] == "sandbox"


def test_a_figure_of_an_image(client, image):
    name = asked(client, images=[image], patches=[[0, 0]])
    for form, start in (("png", b"\x89PNG"), ("svg", b"<svg "), ("pdf", b"%PDF"), ("csv", b"source,layer,")):
        answer = finished(client, name, format=form, download="1")
        assert answer.content.startswith(start) and f"reading.{form}" in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"images": ["nothing"]}, "does not have this image"),
        ({"images": ["nothing"]}, "Upload it: POST /api/images."),
        ({}, "Give either images or a text"),
        ({"text": "a", "colour": 1}, "no field 'colour'"),
        ({"text": "a", "top_k": True}, "top_k takes a whole number"),
        ({"text": "a", "top_k": 51}, "51 words per token"),
        ({"text": "a", "layers": "x"}, "layers 'x' is not valid; expected numbers"),
        ({"text": "a", "where": ["colour=red"]}, "unknown field 'colour'"),
        ({"text": "a", "model": "other"}, "no model 'other'"),
        ({"text": " "}, "is empty"),
        ({"text": "a" * 20_001}, "more than 20,000"),
        ({"text": "a", "prompt": "b"}, "can only be used with an image"),
        ([], "a JSON object"),
    ],
)
def test_questions_that_cannot_be_are_refused(client, question, said):
    answer = client.post("/api/readings", json=question)
    told = error_of(answer)
    assert answer.status_code in (400, 404) and said in f"{told['message']} {told['hint']}", answer.text


def test_a_layer_that_the_model_lacks_fails_and_the_server_goes_on(client):
    answer = finished(client, asked(client, text="A dog", layers=[99]))
    assert answer.status_code == 400 and answer.json()["error"]["kind"] == "LayerError"
    assert finished(client, asked(client, text="A dog")).status_code == 200


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "empty"), (b"GIF89a\x00", "not an image"), (png()[:200], "photo.png"), (b"<svg onload='x'/>", "photo.png")],
)
def test_broken_uploads_are_refused(client, data, said):
    answer = client.post("/api/images?name=photo.png", content=data)
    assert answer.status_code == 400 and error_of(answer)["kind"] == "ImageError"
    assert said in error_of(answer)["message"] or said in error_of(answer)["hint"]


def test_uploads_are_bounded_in_bytes_and_pixels(served_models, served_store):
    with running(served_models, served_store, max_bytes=20_000, max_pixels=5000) as one, entered(one) as client:
        assert client.post("/api/images", content=bytes(20_001)).status_code == 413

        def endless():
            for _ in range(1000):
                yield bytes(4096)

        assert client.post("/api/images", content=endless()).status_code == 413
        assert client.post("/api/images", content=png(80, 60)).status_code == 201
        answer = client.post("/api/images", content=png(80, 80))
        assert answer.status_code == 400 and "80 x 80 pixels" in answer.text


def test_a_slow_upload_is_given_up(served_models, served_store):
    with running(served_models, served_store, body_seconds=0.3) as one, connected(one) as link:
        link.sendall(head(one, "POST /api/images", "Content-Length: 100") + b"abc")
        assert b" 408 " in link.recv(4096).split(b"\r\n")[0]


def connected(one):
    place = urlsplit(one.base)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE)


def head(one, what, *lines):
    place = urlsplit(one.base).netloc
    return "\r\n".join(
        [f"{what} HTTP/1.1", f"Host: {place}", f"Authorization: Bearer {TOKEN}", *lines, "", ""]
    ).encode()


def test_nobody_comes_in_without_the_token(served):
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": "lensbank=a-token"}, {"authorization": TOKEN}):
        answer = httpx.get(f"{served.base}/api/server", headers=headers)
        assert answer.status_code == 401 and answer.json()["error"]["hint"]
    assert httpx.get(f"{served.base}/?token=wrong").status_code == 401
    assert httpx.post(f"{served.base}/api/images", content=png()).status_code == 401


def test_the_token_leaves_the_address_for_a_cookie(served):
    with httpx.Client(base_url=served.base) as visitor:
        answer = visitor.get(f"/?token={TOKEN}")
        assert answer.status_code == 303 and answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=lax" in cookie
        assert visitor.get("/api/server").status_code == 200


def test_a_server_for_others_needs_a_token():
    with pytest.raises(UsageError, match="a token is needed"):
        ServeSettings(host="0.0.0.0")
    assert ServeSettings(host="127.0.0.1").token is None and ServeSettings(host="::1").token is None


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "a:b:c", "localhost.x"]
)
def test_other_names_are_refused_whatever_they_resolve_to(client, name):
    assert client.get("/api/server", headers={"host": name}).status_code in (400, 421)


@pytest.mark.parametrize("name", ["localhost:9000", "127.0.0.1", "[::1]:1", "192.168.0.7:8765"])
def test_own_names_and_tunnels_are_taken(client, name):
    assert client.get("/api/server", headers={"host": name}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_pages_of_other_sites_may_not_ask(client, headers):
    assert client.post("/api/readings", json={"text": "A dog"}, headers=headers).status_code == 403
    assert client.get("/api/server", headers=headers).status_code == 403


def test_its_own_page_may_ask(client, served):
    headers = {"origin": served.base, "sec-fetch-site": "same-origin"}
    assert client.post("/api/readings", json={"text": "A dog"}, headers=headers).status_code == 202
    # A form of another site could send this without being asked.
    assert client.post("/api/readings", content=b'{"text": "A dog"}', headers=headers).status_code == 415


def test_every_answer_forbids_what_it_does_not_need(client):
    for path in ("/api/server", "/api", "/nothing", "/openapi.json"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"] and headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff" and "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_no_path_of_the_machine_is_in_any_answer(client, image, served_models, served_store, tmp_path):
    (loaded,) = served_models.values()
    folder = str(served_store.parent)
    texts = [finished(client, asked(client, images=[image])).text, client.get("/api/server").text]
    gone = tmp_path / "no-store"
    with running(served_models, gone) as one, entered(one) as other:
        answer = finished(other, asked(other, text="A dog"))
        assert answer.status_code == 404 and "no-store" in answer.text
        texts.append(answer.text)
    for text in texts:
        assert folder not in text and str(tmp_path) not in text and loaded.source not in text


def test_a_reading_can_be_cancelled_and_the_queue_goes_on(client, served, monkeypatch):
    gate, begun = threading.Event(), threading.Event()
    plain = Engine.read

    def held(engine, job):
        begun.set()
        gate.wait(PATIENCE)
        plain(engine, job)

    monkeypatch.setattr(served.service.worker, "_work", lambda job: held(served.service.engine, job))
    first, second, third = (asked(client, text="A dog") for _ in range(3))
    assert begun.wait(PATIENCE)
    assert client.get(f"/api/readings/{third}").json()["ahead"] == 2
    assert client.delete(f"/api/readings/{second}").json()["status"] == "cancelled"
    client.delete(f"/api/readings/{first}")
    gate.set()
    assert finished(client, first).status_code == 410 and finished(client, second).status_code == 410
    assert finished(client, third).status_code == 200


def test_an_answer_comes_token_by_token(client, image):
    name = asked(client, images=[image], read=["answer"], answer_tokens=5)
    events = list(stream(client, name))
    said = [data["answer"] for kind, data in events if kind == "answer"]
    whole = finished(client, name).json()["answer"]
    assert said[-1] == events[-1][1]["answer"] == whole  # a reader that is slow gets several at once
    assert all(whole.startswith(each) for each in said)
    told = [kind for kind, _ in events if kind in ("answer", "layer")]
    assert told == sorted(told)


def test_an_answer_can_be_cancelled_between_two_tokens(client, image, monkeypatch):
    said, plain = [], Job.say

    def cancelling(job, answer):
        said.append(answer)
        if len(said) == 2:
            client.delete(f"/api/readings/{job.id}")
        plain(job, answer)

    monkeypatch.setattr(Job, "say", cancelling)
    name = asked(client, images=[image], read=["answer"], answer_tokens=20)
    about = finished(client, name)
    assert about.status_code == 410 and about.json()["answer"] == said[0] and len(said) == 2
    assert finished(client, asked(client, text="A dog")).status_code == 200


def test_what_a_closed_tab_asked_is_not_made(served_models, served_store):
    now = [0.0]
    with running(served_models, served_store, clock=lambda: now[0]) as one, entered(one) as client:
        gate, begun, plain = threading.Event(), threading.Event(), one.service.worker._work
        one.service.worker._work = lambda job: (begun.set(), gate.wait(PATIENCE), plain(job))
        first = asked(client, text="A dog")
        assert begun.wait(PATIENCE)
        left, kept = asked(client, text="A dog"), asked(client, text="A dog")
        now[0] = one.settings.abandoned_seconds + 1
        client.get(f"/api/readings/{kept}/about")
        job = one.service.shelf.get(left)
        job._seen = 0.0  # to look at it was to ask about it
        gate.set()
        assert until(lambda: job.is_over) and job.status == "cancelled"
        assert finished(client, first).status_code == finished(client, kept).status_code == 200
        assert finished(client, left).status_code == 410


def test_a_full_queue_says_so(served_models, served_store):
    with running(served_models, served_store, max_waiting=1) as one, entered(one) as client:
        gate, begun = threading.Event(), threading.Event()
        one.service.worker._work = lambda job: (begun.set(), gate.wait(PATIENCE))
        asked(client, text="A dog")
        assert begun.wait(PATIENCE)
        asked(client, text="A dog")
        answer = client.post("/api/readings", json={"text": "A dog"})
        gate.set()
        assert answer.status_code == 503 and answer.headers["retry-after"]


def test_a_fault_of_ours_is_one_message_and_the_server_goes_on(client, served, monkeypatch):
    def failing(job):
        raise RuntimeError("boom in /home/somebody/model/x.bin")

    with monkeypatch.context() as patched:
        patched.setattr(served.service.worker, "_work", failing)
        name = asked(client, text="A dog")
        answer = finished(client, name)
        assert answer.status_code == 500 and "/home" not in answer.text
        assert [kind for kind, _ in stream(client, name)][-1] == "failed"
    assert finished(client, asked(client, text="A dog")).status_code == 200
    assert not any("/home" in note for note in served.notes)


def test_a_bank_being_written_is_said_and_read_afterwards(served_models, own_store):
    with running(served_models, own_store) as one, entered(one) as client:
        locks = [BankLock(folder, exclusive=True) for folder in own_store.iterdir() if folder.is_dir()]
        answer = finished(client, asked(client, text="A dog"))
        assert answer.status_code == 503 and answer.json()["error"]["kind"] == "StoreLockedError"
        assert str(own_store) not in answer.text
        for lock in locks:
            lock.release()
        assert finished(client, asked(client, text="A dog")).status_code == 200


def test_banks_are_let_go_after_a_while(served_models, own_store):
    (folder, *_) = [each for each in own_store.iterdir() if each.is_dir()]
    with running(served_models, own_store, idle_seconds=0.1) as one, entered(one) as client:
        assert finished(client, asked(client, text="A dog")).status_code == 200
        until(lambda: can_be_written(folder))


def test_what_becomes_of_the_store_is_seen_by_the_next_reading(served_models, own_store, tmp_path):
    (loaded,) = served_models.values()
    other = tmp_path / "other" / "store"
    with open_store(other, create=True) as store:
        write_sentences(store, loaded, [sentence.replace("red", "blue") for sentence in SENTENCES], (1, 2))

    def banks(client, status=200):
        answer = finished(client, asked(client, text="A red dog", lenses=["latent"]))
        assert answer.status_code == status, answer.text
        return answer.json()["search"]["bank_layers"] if status == 200 else answer.json()["error"]

    with running(served_models, own_store) as one, entered(one) as client:
        assert banks(client) == [1, 2]
        with open_store(own_store) as store:
            write_sentences(store, loaded, SENTENCES, (3,))  # beside those that are open
        assert banks(client) == [1, 2, 3]
        for folder in own_store.glob("*L01*"):
            folder.rename(tmp_path / folder.name)
        assert banks(client) == [2, 3]
        own_store.rename(tmp_path / "away")
        assert "store" in banks(client, 404)["message"]
        other.rename(own_store)
        assert banks(client) == [1, 2]
        read = finished(client, asked(client, text="A blue dog", layers=[1], lenses=["latent"])).json()
        assert "blue" in read["layers"][0]["tokens"][1]["neighbors"][0]["sentence"]
        assert client.get("/api/find?word=x").status_code == 404 and not one.notes


def test_an_upload_that_breaks_off_is_let_go(served, client, image):
    noted = list(served.notes)
    for body in (b"", b"abc"):
        with connected(served) as link:
            link.sendall(head(served, "POST /api/images", "Content-Length: 100") + body)
    assert finished(client, asked(client, images=[image])).status_code == 200 and served.notes == noted


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_takes_nothing_is_given_up(begun):
    """The guard around everything: what is sent is never taken."""
    came = []

    async def stuck(message):
        came.append(message["type"])
        if not begun or message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def nothing():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def answering(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        came.append("taken")

    scope = {"type": "http", "method": "GET", "path": "/api", "query_string": b"", "headers": [(b"host", b"localhost")]}
    guard = Guard(answering, ServeSettings(send_seconds=0.01))
    asyncio.run(asyncio.wait_for(guard(scope, nothing, stuck), PATIENCE))
    assert came == ["http.response.start", "http.response.body"][: 1 + begun]


def can_be_written(folder):
    """Whether an ingest could begin."""
    try:
        BankLock(folder, exclusive=True).release()
    except StoreLockedError:
        return False
    return True


def test_only_so_much_is_kept(served_models, served_store):
    with running(served_models, served_store, kept_readings=2, kept_bytes=40_000) as one, entered(one) as client:
        names = [asked(client, text="A dog", layers=[1]) for _ in range(2)]
        for name in names:
            finished(client, name)
        asked(client, text="A dog", layers=[1])
        assert client.get(f"/api/readings/{names[0]}").status_code == 404
        ids = [client.post("/api/images", content=png(seed=seed)).json()["id"] for seed in range(3)]
        assert [client.get(f"/api/images/{one}").status_code for one in ids] == [404, 200, 200]


def test_the_description_names_every_route_and_field(client):
    described = client.get("/openapi.json").json()
    assert set(described["components"]["schemas"]["Question"]["properties"]) == set(FIELDS)
    page = client.get("/api").text
    for path in described["paths"]:
        assert path in page
    assert "<script" not in page and "http" not in page.replace("HTTP", "").lower().split("<h1>")[0]


def test_a_small_picture_is_shown_without_what_the_file_said(client, image):
    answer = client.get(f"/api/images/{image}")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(answer.content)).size == (90, 60)


def test_a_neighbours_other_contexts(client, image):
    read = finished(client, asked(client, images=[image], lenses=["latent"])).json()
    near = read["layers"][1]["tokens"][0]["neighbors"][0]
    where = {"layer": near["bank_layer"], "token_id": near["token_id"]}
    found = client.get("/api/contexts", params=where).json()
    assert near["point_id"] in [one["point_id"] for one in found["contexts"]]
    assert {one["token_id"] for one in found["contexts"]} == {near["token_id"]}
    assert found["total"] == len(found["contexts"]) >= 1
    assert len(client.get("/api/contexts", params={**where, "limit": 1}).json()["contexts"]) == 1
    assert client.get("/api/contexts", params={**where, "layer": 0}).json()["error"]["kind"] == "LayerError"
    assert client.get("/api/contexts", params={"layer": "x", "token_id": 1}).status_code == 400


def test_a_store_without_indexed_images_says_so(client, served_store):
    assert client.get("/api/indexed").json() == {"total": 0, "images": [], "next": None}
    answer = client.get("/api/find?word=dog")
    assert answer.status_code == 404 and "no image banks" in answer.text and str(served_store.parent) not in answer.text
