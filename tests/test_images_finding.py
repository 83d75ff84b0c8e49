"""Image banks asked by word, phrase and patch: the answers of a plain search over every row."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from standins import StandIn
from test_images_index import LAYERS, contents, draw, index

from lensbank.banks.transfer import Transfer
from lensbank.images.asking import patch_states, phrase_states, picture_of
from lensbank.images.finding import facets, find_near, find_words, open_images, sample_images
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions
from lensbank.ingest.pipeline import run as ingest
from lensbank.models.loading import load_model
from lensbank.query.asking import ask_image, ask_text
from lensbank.query.options import QueryOptions
from lensbank.schemas.errors import BankMismatchError, BankNotFoundError, FilterError, LayerError, UsageError
from lensbank.schemas.filters import parse
from lensbank.schemas.kinds import fields_of
from lensbank.schemas.progress import Silent
from lensbank.show.contact_sheet import find_html, find_json, find_table
from lensbank.store.opening import open_store

LINES = ["a red dog runs", "the old cat sleeps", "one small house by a tree", "two trees and a table"]


@pytest.fixture(scope="module")
def loaded(tiny_vlm):
    return load_model(str(tiny_vlm), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finding")
    for number in range(12):
        draw(folder / "photos" / f"{'in' if number % 2 else 'out'}" / f"p{number:02}.png", number)
    return folder


@pytest.fixture(scope="module")
def texts(loaded, folder):
    (folder / "lines.txt").write_text("\n".join(LINES))
    with open_store(str(folder / "texts"), create=True) as store, read_corpora([folder / "lines.txt"]) as corpus:
        ingest(loaded, corpus, store, IngestOptions(layers=LAYERS))
    return folder / "texts"


@pytest.fixture(scope="module", params=["embedded", "server"])
def store(request, loaded, texts, folder):
    if request.param == "embedded":
        with open_store(str(folder / "images"), create=True) as store:
            index(loaded, texts, folder / "photos", store)
            yield store
        return
    with StandIn() as server, open_store(server.url) as store:
        index(loaded, texts, folder / "photos", store)
        yield store


@pytest.fixture
def images(store):
    with open_images(store) as images:
        yield images


@pytest.fixture(scope="module")
def rows(store):
    """Layer → every row, as plain Python has it."""
    with open_images(store) as images:
        return {
            bank.record.identity.layer: list(contents(store, [bank.name])[bank.name].items()) for bank in images.banks
        }


def where(*texts):
    return parse(texts, fields_of("image"))


def every_patch(found):
    return {(one.layer, one.point_id) for image in found.images for one in image.patches}


def test_a_word_finds_every_patch_that_a_lens_gave_it(images, rows):
    word = rows[1][0][1][0]["word"][0]
    found = find_words(images, [word.upper()], top_k=100)
    right = {(layer, one) for layer in LAYERS for one, (payload, _) in rows[layer] if word in payload["word"]}
    assert found.total_patches == len(right) > 0
    assert every_patch(found) <= right and len(found.images) == len({image.image for image in found.images})
    for image in found.images:
        mine = [p for _, (p, _) in rows[1] + rows[2] if p["image"] == image.image and word in p["word"]]
        best = [p["score"][p["word"].index(word)] for p in mine]
        assert image.patches[0].score == pytest.approx(max(best)) and image.count == len(best)
        told = image.patches[0].to_dict()  # the stored reading has a score of each word
        assert told["score"] == image.patches[0].score and told["scores"][told["word"].index(word)] == told["score"]
    scores = [image.patches[0].score for image in found.images]
    assert scores == sorted(scores, reverse=True)
    assert find_words(images, [word], top_k=2).images == found.images[:2]


def test_conditions_hold_beside_the_word(images, rows):
    word = rows[1][0][1][0]["word"][0]
    found = find_words(images, [word], where("group=in", "norm>0", "row=0,1"), top_k=100)
    assert {image.image.partition("/")[0] for image in found.images} <= {"in"}
    right = {
        (layer, one)
        for layer in LAYERS
        for one, (p, _) in rows[layer]
        if word in p["word"] and p["group"] == "in" and p["row"] in (0, 1)
    }
    assert found.total_patches == len(right)
    with pytest.raises(FilterError, match="unknown field 'sentence'"):
        where("sentence~dog")


def test_a_vocabulary_lens_has_words_of_its_own(images, rows):
    word = next(p["logit"][0] for _, (p, _) in rows[2] if p.get("logit"))
    found = find_words(images, [word], top_k=100, lens="logit")
    assert found.total_patches == sum(word in p.get("logit", []) for layer in LAYERS for _, (p, _) in rows[layer])
    assert found.images[0].patches[0].score is None


def test_a_phrase_finds_the_nearest_patches_of_each_layer(loaded, images, rows):
    states, said = phrase_states(loaded, images, "the old cat")
    plain = ask_text(loaded, "the old cat", LAYERS, QueryOptions()).states
    assert said == "'the old cat'"
    found = find_near(images, states, "text", said, top_k=3)
    scored = []
    for layer in LAYERS:
        unit = plain[layer][-1] / np.linalg.norm(plain[layer][-1])
        scored += [(float(np.frombuffer(v, np.float32) @ unit), p["image"]) for _, (p, v) in rows[layer]]
    scored.sort(reverse=True)
    right = list(dict.fromkeys(image for _, image in scored))[:3]
    assert [image.image for image in found.images] == right
    assert found.images[0].patches[0].score == pytest.approx(scored[0][0], abs=1e-5)


def test_a_patch_finds_itself_first(loaded, images, folder):
    photo = folder / "photos" / "in" / "p03.png"
    states, said = patch_states(loaded, images, photo, (1, 2), None)
    direct = ask_image(loaded, photo, LAYERS, QueryOptions(patches=((1, 2),))).states
    assert all(np.array_equal(states[layer], direct[layer][0]) for layer in LAYERS)
    found = find_near(images, states, "patch", said, top_k=4)
    first = found.images[0].patches[0]
    assert (found.images[0].image, first.patch.row, first.patch.col) == ("in/p03.png", 1, 2)
    assert first.score == pytest.approx(1, abs=1e-4) and len(found.images) == 4
    with pytest.raises(BankMismatchError, match="visual"):
        patch_states(loaded, images, photo, (1, 2), "What is this?")


def test_facets_count_and_samples_repeat(images, rows):
    counts = dict(facets(images, "best", top_k=1000))
    assert sum(counts.values()) == sum(bool(p["best"]) for layer in LAYERS for _, (p, _) in rows[layer])
    words = Counter(word for layer in LAYERS for _, (p, _) in rows[layer] for word in set(p["word"]))
    assert dict(facets(images, "word", top_k=10_000)) == words
    here = Counter(p["best"] for layer in LAYERS for _, (p, _) in rows[layer] if p["best"] and p["group"] == "in")
    assert dict(facets(images, "best", where("group=in"), top_k=1000)) == here
    one, same, other = (sample_images(images, (), 9, seed) for seed in (1, 1, 2))
    assert one == same and one.images != other.images and one.total_patches == 18
    assert all(image.image.startswith("in/") for image in sample_images(images, where("group=in"), 4, 0).images)


def test_a_model_is_named_by_its_folder_however_that_is_written(store, tiny_vlm, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_vlm.parent)
    (tmp_path / "link").symlink_to(tiny_vlm)
    (tmp_path / "other").mkdir()
    for folder in (tiny_vlm.name, f"./{tiny_vlm.name}/", str(tiny_vlm), str(tmp_path / "link")):
        with open_images(store, model=folder) as images:
            assert images.layers == LAYERS
    with pytest.raises(UsageError, match="no bank of the model"), open_images(store, model=str(tmp_path / "other")):
        pass


def test_what_is_not_there_is_said(images, store, texts):
    nothing = find_words(images, ["xylophone"])
    assert nothing.images == () and "No image" in find_table(nothing)
    with pytest.raises(LayerError, match="7"), open_images(store, layers=(7,)):
        pass
    with (
        open_store(str(texts)) as only,
        pytest.raises(BankNotFoundError, match="lensbank index"),
        open_images(only),
    ):
        pass


def test_json_table_and_page(images, rows, folder):
    word = rows[1][0][1][0]["word"][0]
    found = find_words(images, [word], top_k=5)
    data = json.loads(find_json(found))
    assert data["version"] == 1 and data["images"][0]["patches"][0]["word"] == list(
        found.images[0].patches[0].patch.word
    )
    table = find_table(found, 80)
    assert all(len(line) <= 80 for line in table.splitlines()[2:]) and found.images[0].image in table
    page = find_html(found, picture_of, "lensbank find <b>")
    assert "<b>" not in page.split("<script type", 1)[1] and page.count("data:image/jpeg") == 0  # deflated
    assert picture_of(found.images[0]).size == (120, 90)
    path = folder / "photos" / found.images[0].image
    before = path.read_bytes()
    try:
        draw(path, 77)
        assert picture_of(found.images[0]) is None
    finally:
        path.write_bytes(before)


def test_a_copy_answers_as_the_first(images, store, tmp_path):
    with open_store(str(tmp_path / "copy"), create=True) as copy:
        moved = Transfer(store, copy, Silent()).run(store.list())
        assert [one.copied for one in moved] == [12 * 9] * 2
        with open_images(copy) as there:
            word = facets(images, "word")[0][0]
            assert find_words(there, [word]).images == find_words(images, [word]).images


def test_the_command(store, folder, tmp_path):
    if store.address.startswith("http"):
        pytest.skip("NOT RUN: the command is tried on the folder")
    command = [sys.executable, "-m", "lensbank", "find", "--store", store.address]

    def ran(*more):
        return subprocess.run([*command, *more], capture_output=True, text=True, timeout=120)

    best = ran("--facet", "best", "--top-k", "1").stdout.split()[-1]
    out = tmp_path / "sheet.html"
    assert ran(best, "--format", "html", "--out", str(out)).returncode == 0 and "<!doctype html>" in out.read_text()
    assert "patches of" in ran(best).stdout or "patch of" in ran(best).stdout
    for wrong in ([], [best, "--text", "x"], ["--like", "x.png"], [best, "--layer", "9"], [best, "--where", "x=1"]):
        done = ran(*wrong)
        assert done.returncode in (1, 2) and done.stderr.startswith("Error: ") and "Traceback" not in done.stderr
