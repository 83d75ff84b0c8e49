"""A server over image banks and two models of one name: every answer is of the model and the bank it was asked of."""

import hashlib
import json
from dataclasses import replace

import pytest
from page_browser import expects
from query_banks import write_sentences
from serve_fixtures import LAYERS, read, running
from test_images_index import draw, index
from tiny_models import SENTENCES, save_fastvlm

from lensbank.images.finding import find_words, open_images
from lensbank.models.loading import load_model
from lensbank.show.contact_sheet import find_json
from lensbank.store.opening import open_store

ASKED = {"layers": [1], "top_k": 3}
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


def uploaded(client, photos, number):
    return client.post(f"/api/images?name=p{number}.png", content=(photos / f"p{number}.png").read_bytes()).json()["id"]


def first_word(folder, loaded):
    """A word that the image banks have."""
    with open_store(folder) as store, store.open(bank_names(folder, loaded, "image")[0]) as bank:
        return bank.scroll(1)[0][0][2]["word"][0]


def bank_names(folder, loaded, kind):
    with open_store(folder) as store:
        infos = store.list()
    mine = [info for info in infos if info.record.identity.weights == loaded.weights]
    return [info.name for info in mine if info.record.identity.kind == kind]


def test_a_word_finds_the_patches_that_the_command_line_finds(client, two, mixed, photos):
    for model, loaded in two.items():
        word = first_word(mixed, loaded)
        with open_store(mixed) as store, open_images(store, bank_names(mixed, loaded, "image")) as images:
            here = find_words(images, [word], top_k=20)
        answer = client.get("/api/find", params={"word": word, "model": model})
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
    first, second = (read(client, {**ASKED, "text": "A red dog", "model": model}) for model in two)
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
    one = read(
        client,
        {**ASKED, "images": ids, "prompt": "Which?", "read": ["image", "answer"], "answer": "A red dog"},
    )
    assert [image["source"] for image in one["images"]] == ["p2.png", "p0.png"]
    digests = [hashlib.sha256((photos / f"p{number}.png").read_bytes()).hexdigest() for number in (2, 0)]
    assert [image["sha256"] for image in one["images"]] == digests == ids
    tokens = one["layers"][0]["tokens"]
    assert one["answer"] == "A red dog" and one["answer_given"]
    kinds = [token.get("kind", "image") for token in tokens]
    assert kinds.count("image") == 18 and kinds.count("answer") >= 3
    assert all(token["neighbors"] for token in tokens)


def test_an_indexed_image_is_taken_from_its_file_where_that_is_still_the_same(client, two, photos, mixed):
    first, *_ = two
    page = client.get("/api/indexed", params={"model": first, "limit": 3}).json()
    rest = client.get("/api/indexed", params={"model": first, "limit": 3, "after": page["next"]}).json()
    assert page["total"] == rest["total"] == 4 and rest["next"] is None
    by_name = {one["image"]: one["id"] for one in (*page["images"], *rest["images"])}
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in photos.glob("p*.png")}
    assert by_name == digests and str(photos) not in str(page)
    taken = client.post(f"/api/indexed/{by_name['p1.png']}")
    assert taken.status_code == 201 and (taken.json()["id"], taken.json()["name"]) == (by_name["p1.png"], "p1.png")
    assert read(client, {**ASKED, "images": [by_name["p1.png"]]})["sha256"] == digests["p1.png"]
    whole = (photos / "p3.png").read_bytes()
    for other in (None, (photos / "p2.png").read_bytes()):
        (photos / "p3.png").unlink() if other is None else (photos / "p3.png").write_bytes(other)
        gone = client.post(f"/api/indexed/{by_name['p3.png']}")
        assert gone.status_code == 404 and "p3.png was moved or changed" in gone.text and str(photos) not in gone.text
    (photos / "p3.png").write_bytes(whole)
    assert client.post("/api/indexed/..%2Fp1.png").status_code == 404
    assert client.post(f"/api/indexed/{'0' * 64}").json()["error"]["message"].startswith("No image bank")
    assert client.get("/api/indexed?after=x").status_code == 400


def test_indexed_images_are_listed_by_a_part_of_their_name(client, two):
    def listed(**query):
        return client.get("/api/indexed", params={"model": list(two)[0], **query}).json()

    assert [one["image"] for one in listed(name=" P2 ")["images"]] == ["p2.png"]
    assert listed(name="nobody") == {"total": 0, "images": [], "next": None}
    names, after = [], None
    while True:
        page = listed(name=".png", limit=3, **({"after": after} if after else {}))
        names += [one["image"] for one in page["images"]]
        assert page["total"] == 4
        if (after := page["next"]) is None:
            break
    assert sorted(names) == [f"p{number}.png" for number in range(4)]


def test_banks_are_chosen_by_name(client, two, mixed):
    of_first, of_second = (bank_names(mixed, loaded, "image") for loaded in two.values())
    for found in ("/api/find?word=red", "/api/indexed?"):
        answer = client.get(f"{found}&bank={of_first[0]}")
        assert answer.status_code == 200, answer.text
        assert client.get(f"{found}&bank=nothing").status_code == 404
    both = client.get(f"/api/find?word=red&bank={of_first[0]}&bank={of_second[0]}")
    assert both.status_code == 400 and both.json()["error"]["hint"] == "Name one by model."


@pytest.mark.browser
def test_a_word_leads_to_a_reading_in_the_page(explore, client, two, photos, mixed):
    second = list(two)[1]
    word = first_word(mixed, two[second])
    (best, *_) = client.get("/api/find", params={"word": word, "model": second}).json()["images"]
    where = best["patches"][0]
    with explore(refused=True) as page:
        expects(page.locator("#store-count")).to_have_text("4 images")
        page.click("#store summary")
        expects(page.locator("#store-images li")).to_have_count(4)
        page.fill("#store-name", "p3")
        expects(page.locator("#store-images li")).to_have_count(1)
        expects(page.locator("#store-count")).to_have_text("1 image")
        page.fill("#store-name", "")
        expects(page.locator("#store-images li")).to_have_count(4)
        page.locator("#store-images .use").first.click()
        expects(page.locator("#chosen img")).to_have_count(1)
        page.select_option("#model", second)
        page.fill("#store-word", word)
        page.locator("#store-word").press("Enter")
        expects(page.locator("#store-count")).to_contain_text(" of ")
        item = page.locator("#store-images .read").first
        assert item.inner_text() == best["image"]
        whole = (photos / best["image"]).read_bytes()
        (photos / best["image"]).unlink()
        item.click()
        expects(page.locator("#failure")).to_contain_text("was moved or changed after it was indexed")
        (photos / best["image"]).write_bytes(whole)
        item.click()
        expects(page.locator("#lock")).to_have_text("Pinned")
        expects(page.locator("#source")).to_have_text(best["image"])
        assert page.locator("#layer-name").inner_text().startswith(f"Layer {where['layer']}")
        named = page.evaluate("location.hash")
        assert f"patch={where['view']}:{where['row']},{where['col']}" in named
        saved = client.get(page.get_attribute("#keep-json", "href")).json()
        assert saved["model"]["id"] == second and saved["sha256"] == where["sha256"]
