"""Centred readings of a server: the same as the command line's, on record, and on a link of the page."""

import re

import pytest
from page_browser import expects, until
from serve_fixtures import LAYERS, png, read
from test_ingest_pipeline import corpus_file, ingest
from tiny_models import SENTENCES

from lensbank.ingest.pipeline import IngestOptions
from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.results_json import reading_from_dict
from lensbank.store.opening import open_store

ASKED = {"centre": True, "layers": [1, 2], "top_k": 3}


@pytest.fixture(scope="module")
def served_store(served_models, tmp_path_factory):
    """Raw banks and centred ones."""
    root = tmp_path_factory.mktemp("served-centred")
    (loaded,) = served_models.values()
    for centre in (False, True):
        ingest(loaded, corpus_file(root / "lines.txt", SENTENCES), root / "store", IngestOptions(LAYERS, centre=centre))
    return root / "store"


@pytest.fixture(scope="module")
def images(client):
    return [client.post("/api/images", content=png(seed=seed)).json()["id"] for seed in range(3)]


@pytest.mark.parametrize(("others", "prompt"), [((), None), ((0, 2), "What?"), ((2, 1, 0), "What?")])
def test_an_image_is_centred_as_the_command_line_centres_it(
    client, served_store, served_models, images, others, prompt
):
    (loaded,) = served_models.values()
    there = read(
        client,
        {**ASKED, "images": [images[1]], "prompt": prompt, "centre_images": [images[number] for number in others]},
    )
    with open_store(served_store) as store:
        options = QueryOptions(layers=(1, 2), top_k=3, centre=True, prompt=prompt)
        with QuerySession(store, loaded, options) as session:
            if others:
                session.centre_on([png(seed=seed) for seed in others], "folder")
            here = session.image(png(seed=1))
    read_there = reading_from_dict(there)
    assert read_there.layers == here.layers and read_there.search == here.search
    assert there["search"]["centring"]["images"] == (len(others) or 1)
    notes = " ".join(there["notes"])
    assert ("the mean of a single image" in notes) is not others and "--" not in notes


def test_a_text_is_centred_on_the_mean_of_its_banks(client, served_store, served_models):
    (loaded,) = served_models.values()
    there = reading_from_dict(read(client, {**ASKED, "text": SENTENCES[0], "layers": None}))
    with open_store(served_store) as store, QuerySession(store, loaded, QueryOptions(top_k=3, centre=True)) as session:
        here = session.text(SENTENCES[0])
    assert there.layers == here.layers and there.search == here.search


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"images": ["two"]}, "Ask about one image"),
        ({"centre": False, "centre_images": ["one"]}, "Set centre to true"),
        ({"text": "A dog", "images": None, "centre_images": ["one"]}, "Leave out centre_images"),
        ({"centre_images": ["one"] * 65}, "up to 64 images"),
        ({"centre_images": ["nothing"]}, "POST /api/images"),
        ({"lenses": ["logit"]}, "centre was given"),
        ({"read": ["answer"]}, "Leave out centre, or use read image"),
    ],
)
def test_what_has_no_mean_is_refused(client, images, question, said):
    filled = {"one": images[:1], "two": images[:2], "nothing": ["nothing"]}
    question = {"images": images[:1], **question}
    for name in ("images", "centre_images"):
        if question.get(name):
            question[name] = [each for word in question[name] for each in filled.get(word, [word])]
    answer = client.post("/api/readings", json={**ASKED, **question})
    assert answer.status_code in (400, 404) and said in answer.text, answer.text


@pytest.mark.browser
def test_centring_is_chosen_on_the_page_and_stands_on_its_link(explore, client):
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": png(seed=n)} for n in (4, 5)]
    with explore() as page:
        page.set_input_files("#file", files)
        expects(page.locator("#chosen img")).to_have_count(2)
        page.locator("#chosen button").first.click()
        page.click("#more summary")
        page.check("#centre")
        page.select_option("#centre-on", label="all 2 images brought here")
        page.click("#ask")
        expects(page.locator("#progress")).to_have_text(re.compile(" in .* s"))
        saved = client.get(page.get_attribute("#keep-json", "href")).json()
        assert saved["search"]["centring"]["images"] == 2 and saved["search"]["centring"]["source"] == "folder"
        until(page, "location.hash.includes('ids=')")
        link = page.evaluate("location.hash")
    with explore(link) as page:
        page.click("#more summary")
        expects(page.locator("#centre")).to_be_checked()
        assert page.input_value("#centre-on") == "all"
        page.click("#ask")
        expects(page.locator("#readings button")).to_have_count(2)
        expects(page.locator("#progress")).to_have_text(re.compile(" in .* s"))
        again = client.get(page.get_attribute("#keep-json", "href")).json()
        assert again["search"]["centring"] == saved["search"]["centring"]
