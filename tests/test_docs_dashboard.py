"""docs/dashboard.md and docker-compose.yml: what they say holds for a bank as it is written.

No dashboard and no Docker are had here: requests are held to the client's classes and to the stand-in.
"""

import json
import re
import subprocess
import threading
import urllib.request
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml
from qdrant_client import models
from server_fixtures import IMAGE
from standins import StandIn
from test_store_rows import CORPUS, Rows

from lensbank.schemas.kinds import fields_of, indexed_of
from lensbank.schemas.patches import PatchPayload, patch_id
from lensbank.schemas.payload import FIELD_KINDS, INDEXED_FIELDS
from lensbank.store.opening import open_store
from lensbank.store.server.connecting import OLDEST
from lensbank.store.server.options import ServerOptions

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
BLOCKS = [(kind, json.loads(text)) for kind, text in re.findall(r"```json ([\w-]+)\n(.*?)```", PAGE, re.DOTALL)]
# The dashboard's own keys, beside those that it passes on.
OWN_KEYS = {"visualize": {"color_by", "algorithm"}, "graph": {"tree"}}
COLOURS = 20


@pytest.fixture(scope="module")
def bank():
    """A bank on a server whose rows are those of the page: REST address of the collection, and its rows."""
    rows = Rows(400, layers=(4,))
    for payload, word in zip(
        rows.payloads, ["dog", "cat", "red", "house", "tree", "the", "7", "naïve"] * 50, strict=True
    ):
        payload.update(word=word, token="Ġ" + word, is_word=word.isalpha())
    with StandIn(grpc=False) as server, open_store(server.url, server=ServerOptions(protocol="rest")) as store:
        with store.writer(rows.identities(), "/model") as writer:
            rows.put(writer)
            writer.finish(CORPUS)
        yield f"{server.url}/collections/{rows.identities()[0].name()}"


@pytest.fixture(scope="module")
def images():
    """An image bank on a server: 40 images of 9 patches."""
    identity = replace(Rows(1, layers=(4,)).identities()[0], kind="image", visual="v")
    ids, payloads = [], []
    for number in range(360):
        image, position = f"p{number // 9:02}.png", number % 9
        word = ["dog", "cat", "tree", "house", "sky"][number % 5]
        ids.append(patch_id("photos", image, position))
        place = dict(view=0, row=position // 3, col=position % 3, x0=0.0, y0=0.0, x1=9.0, y1=9.0, width=27, height=27)
        said = dict(best=word, word=(word, "the"), score=(number / 360, 0.1), gap=(number / 720, 0.0))
        near = dict(sentence=(f"a {word}", "the sea"), bank_layer=(4, 4), logit=(), embedding=())
        of = dict(thing=("dog",) if number % 3 else (), image=image, group="in" if number % 2 else "out")
        file = dict(corpus=("photos",), sha256="ab", position=position, tokens=9, read="r")
        payloads.append(PatchPayload(**place, **said, **near, **of, **file).to_dict())
    vectors = np.random.default_rng(0).standard_normal((360, identity.dim)).astype(np.float32)
    with StandIn(grpc=False) as server, open_store(server.url, server=ServerOptions(protocol="rest")) as store:
        with store.writer([identity], "/model") as writer:
            writer.put(ids, payloads, {4: vectors}, {4: np.linalg.norm(vectors, axis=1)})
            writer.finish(replace(CORPUS, name="photos", rows=360))
        yield f"{server.url}/collections/{identity.name()}"


def ask(address, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["result"]


def test_the_page_has_a_request_of_each_kind():
    of_images = {"image-scroll", "image-facet", "image-visualize"}
    assert {kind for kind, _ in BLOCKS} == {"scroll", "facet", "visualize", "graph"} | of_images
    assert len(BLOCKS) == PAGE.count("```json")


@pytest.mark.parametrize(("kind", "block"), BLOCKS, ids=[kind for kind, _ in BLOCKS])
def test_requests_are_what_the_interface_takes(kind, block, bank, images):
    """Field by field: the classes ignore what they do not know, so unknown keys are looked for by hand."""
    of_images = kind.startswith("image-")
    kind, bank, fields = (
        kind.removeprefix("image-"),
        images if of_images else bank,
        fields_of("image" if of_images else "text"),
    )
    indexed = indexed_of("image" if of_images else "text")
    passed_on = {key: value for key, value in block.items() if key not in OWN_KEYS.get(kind, ())}
    kinds = {
        "scroll": models.ScrollRequest,
        "visualize": models.ScrollRequest,
        "facet": models.FacetRequest,
        "graph": models.SearchMatrixRequest,
    }
    assert set(passed_on) <= set(kinds[kind].model_fields)
    request = kinds[kind].model_validate(passed_on)
    assert request.model_dump(mode="json", exclude_none=True, by_alias=True).keys() >= passed_on.keys()
    for condition in request.filter.must:
        assert isinstance(condition, models.FieldCondition) and condition.key in indexed
    found = ask(f"{bank}/points/scroll", {"filter": block["filter"], "limit": 1000})["points"]
    assert 0 < len(found) < 400, "the filter keeps some rows and not others"
    if kind == "facet":
        hits = ask(f"{bank}/facet", {k: v for k, v in block.items() if k != "filter"})["hits"]
        assert {hit["value"] for hit in hits} >= {"dog", "cat"}
    if kind == "visualize":
        assert block["algorithm"] in ("UMAP", "TSNE", "PCA")
        field = block["color_by"]["payload"]
        assert field in fields
        assert 1 < len({point["payload"][field] for point in found}) <= COLOURS


def test_the_table_of_fields_is_the_codes():
    rows = re.findall(r"^\| (`.*?) \| .*? \| (.*?) ?\| (.*?) \|$", PAGE, re.MULTILINE)
    said = {field: index for fields, index, _ in rows for field in re.findall(r"`(\w+)`", fields)}
    assert set(said) == set(FIELD_KINDS)
    names = {"text": "full text"}
    assert {f: i for f, i in said.items() if i.strip()} == {f: names.get(k, k) for f, k in INDEXED_FIELDS.items()}
    completed = {fields.strip("`") for fields, _, typed in rows if "completed" in typed}
    assert completed == {field for field, kind in INDEXED_FIELDS.items() if kind == "keyword"}


def test_names_payload_and_metadata_read_well(bank):
    assert re.fullmatch(r"[a-z0-9-]+-L\d\d-[0-9a-f]{6}", bank.rpartition("/")[2])
    info = ask(bank)
    record = info["config"]["metadata"]["lensbank"]
    assert list(record)[:3] == ["version", "identity", "state"] and record["state"] == "complete"
    assert info["config"]["metadata"]["lensbank_rows"] == 400
    for point in ask(f"{bank}/points/scroll", {"limit": 50})["points"]:
        assert set(point["payload"]) == set(FIELD_KINDS)
        several = point["payload"].pop("corpus")  # a row may be of more than one
        assert all(isinstance(value, str | int | float | bool) for value in point["payload"].values()), "flat"
        for value in (point["payload"]["token"], point["payload"]["word"], *several):
            assert not re.search(r"\s", value), "the filter box splits at white space"


@pytest.fixture(scope="module")
def service():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["qdrant"]


def test_compose_pins_the_server_that_is_tested_and_keeps_it_to_itself(service):
    assert service["image"] == IMAGE
    version = tuple(map(int, re.search(r":v(\d+)\.(\d+)\.\d+$", service["image"]).groups()))
    assert version >= OLDEST
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert any(volume.endswith(":/qdrant/storage") for volume in service["volumes"])
    assert service["environment"]["QDRANT__SERVICE__API_KEY"].startswith("${QDRANT_API_KEY:?"), "no key, no start"


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_asks_whether_the_server_is_ready(service, status, healthy):
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        port = server.server_port
        if status is None:
            server.server_close()
        else:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [word.replace("6333", str(port)) for word in service["healthcheck"]["test"][1:]]
        done = subprocess.run(command, capture_output=True, timeout=10)
        if status is not None:
            server.shutdown()
    assert (done.returncode == 0) == healthy
