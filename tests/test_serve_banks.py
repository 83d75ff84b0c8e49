"""A server over image banks and two models of one name: every answer is of the model and the bank it was asked of."""

import hashlib
import json
from dataclasses import replace

import pytest
from query_banks import write_sentences
from serve_fixtures import LAYERS, entered, running
from test_images_index import draw, index
from tiny_models import SENTENCES, save_fastvlm

from lensbank.images.finding import find_words, open_images
from lensbank.models.loading import load_model
from lensbank.show.contact_sheet import find_json
from lensbank.store.opening import open_store

OTHER = [sentence.replace("red", "blue") for sentence in SENTENCES]


@pytest.fixture(scope="module")
def two(served_models, tmp_path_factory):
    """Two models in folders of one name, as `--model2` names them."""
    ((name, first),) = served_models.items()
    folder = save_fastvlm(tmp_path_factory.mktemp("other") / name, seed=1)
    second = load_model(str(folder), device="cpu", dtype="float32")
    assert second.name == name
    return {name: first, f"{name} (2)": second}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served-photos")
    for number in range(4):
        draw(folder / f"p{number}.png", number)
    return folder


@pytest.fixture(scope="module")
def mixed(two, photos, tmp_path_factory):
    """A folder with banks of texts of both, and of images of both."""
    folder = tmp_path_factory.mktemp("mixed") / "store"
    for loaded, sentences in zip(two.values(), (SENTENCES, OTHER), strict=True):
        with open_store(folder, create=True) as store:
            write_sentences(store, loaded, sentences, LAYERS)
        with open_store(folder) as store:
            index(loaded, folder, photos, store)
    return folder


@pytest.fixture(scope="module")
def served(two, mixed):
    with running(two, mixed) as one:
        yield one


@pytest.fixture(scope="module")
def client(served):
    with entered(served) as one:
        yield one


def read(client, **question):
    answer = client.post("/api/readings", json={"layers": [1], "top_k": 3, **question})
    assert answer.status_code == 202, answer.text
    answer = client.get(f"/api/readings/{answer.json()['id']}", params={"wait": 20})
    assert answer.status_code == 200, answer.text
    return answer.json()


def uploaded(client, photos, number):
    return client.post(f"/api/images?name=p{number}.png", content=(photos / f"p{number}.png").read_bytes()).json()["id"]


def bank_names(folder, loaded, kind):
    with open_store(folder) as store:
        infos = store.list()
    mine = [info for info in infos if info.record.identity.weights == loaded.weights]
    return [info.name for info in mine if info.record.identity.kind == kind]


def test_a_word_finds_the_patches_that_the_command_line_finds(client, two, mixed, photos):
    for model, loaded in two.items():
        with open_store(mixed) as store, open_images(store, bank_names(mixed, loaded, "image")) as images:
            with store.open(images.banks[0].name) as bank:
                ((_, _, row),) = bank.scroll(1)[0]
            here = find_words(images, [row["word"][0]], top_k=20)
        answer = client.get("/api/find", params={"word": row["word"][0], "model": model})
        assert answer.status_code == 200 and here.total_patches > 0, answer.text
        there = answer.json()
        public = replace(here, images=tuple(replace(one, folder="") for one in here.images))
        assert there == json.loads(find_json(public))
        assert str(photos) not in answer.text and str(mixed) not in answer.text


def test_image_banks_of_two_models_are_not_mixed(client, two):
    answer = client.get("/api/find?word=red")
    assert answer.status_code == 400 and "2 models" in answer.text
    for name in ("nobody", ""):
        answer = client.get("/api/find", params={"word": "red", "model": name})
        assert answer.status_code == 400 and answer.json()["error"]["message"] == "This server has no such model."


def test_models_of_one_name_are_told_apart_in_readings_and_contexts(client, two, mixed):
    first, second = (read(client, text="A red dog", model=model) for model in two)
    assert [one["model"]["id"] for one in (first, second)] == list(two)
    assert [one["model"]["weights"] for one in (first, second)] == [loaded.weights for loaded in two.values()]
    found = []
    for one, name in ((first, list(two)[0]), (second, list(two)[1]), (first, list(two)[0])):
        near = one["layers"][0]["tokens"][0]["neighbors"][0]
        params = {"layer": near["bank_layer"], "token_id": near["token_id"], "model": one["model"]["id"], "limit": 200}
        contexts = client.get("/api/contexts", params=params).json()["contexts"]
        assert near["point_id"] in [context["point_id"] for context in contexts], name
        found.append({context["sentence"] for context in contexts})
    assert found[0] <= set(SENTENCES) and found[1] <= set(OTHER) and found[2] == found[0]


def test_several_images_in_one_prompt_and_an_answer_that_is_read(client, photos):
    ids = [uploaded(client, photos, number) for number in (2, 0)]
    one = read(client, images=ids, prompt="Which?", read=["image", "answer"], answer="A red dog")
    assert [image["source"] for image in one["images"]] == ["p2.png", "p0.png"]
    digests = [hashlib.sha256((photos / f"p{number}.png").read_bytes()).hexdigest() for number in (2, 0)]
    assert [image["sha256"] for image in one["images"]] == digests == ids
    tokens = one["layers"][0]["tokens"]
    assert one["answer"] == "A red dog" and one["answer_given"]
    kinds = [token.get("kind", "image") for token in tokens]
    assert kinds.count("image") == 18 and kinds.count("answer") >= 3
    assert all(token["neighbors"] for token in tokens)
