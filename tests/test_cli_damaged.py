"""A store of which one bank is damaged: what reads all of it goes on without that one, and says so."""

import json
import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from lensbank import cli

LAYERS = (1, 2)


def lens(*args):
    return CliRunner().invoke(cli.main_group, list(map(str, args)))


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_vlm):
    """A store, and annotated images beside it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "lines.txt").write_text("a dog sleeps on the red sofa\nthe cat eats a fish\n")
    at = ("--layer", "1,2", "--store", folder / "store", "--dtype", "float32")
    done = lens("ingest", "--model", tiny_vlm, *at, folder / "lines.txt")
    assert done.exit_code == 0, done.output
    (folder / "images").mkdir()
    Image.radial_gradient("L").resize((90, 60)).convert("RGB").save(folder / "images" / "red.png")
    data = {
        "images": [{"id": 0, "file_name": "red.png"}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [0, 0, 45, 30]}],
        "categories": [{"id": 0, "name": "dog"}],
    }
    (folder / "images" / "annotations.json").write_text(json.dumps(data))
    return folder


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made / "store", tmp_path / "store")


def bank(store, layer):
    [folder] = store.glob(f"*-L0{layer}-*")
    return folder


def cut(folder):
    """A file of vectors loses its end."""
    files = [path for path in (folder / "shard").glob("segments/*/vector_storage/**/*") if path.is_file()]
    path = max(files, key=lambda path: path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def without_list(folder):
    (folder / "manifest.json").unlink()


def spoil_record(folder):
    (folder / "lensbank.json").write_text('{"version": 2}')


DAMAGES = [cut, without_list, spoil_record]


def evaluate(store, images, out, *args):
    return lens("evaluate", "--images", images, "--store", store, "--dtype", "float32", "--out", out, *args)


def ask(store, *args):
    return lens("query", "--store", store, "--dtype", "float32", "--text", "a red dog", "--format", "json", *args)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_query_of_all_layers_leaves_a_damaged_bank_out_and_says_so(copied, damage):
    spoilt = bank(copied, 1)
    damage(spoilt)
    done = ask(copied)
    assert done.exit_code == 0, done.output
    reading = json.loads(done.stdout)
    assert reading["search"]["bank_layers"] == [2]
    [note] = [note for note in reading["notes"] if note.startswith("Left out: ")]
    assert spoilt.name in note and note in done.stderr


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_that_was_asked_for_is_refused(copied, damage):
    spoilt = bank(copied, 1)
    damage(spoilt)
    done = ask(copied, "--bank-layer", "1")
    assert done.exit_code != 0 and spoilt.name in done.stderr and "Traceback" not in done.output
    assert ask(copied, "--bank-layer", "2").exit_code == 0


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_none_is_left_the_query_fails(copied, damage):
    for layer in LAYERS:
        damage(bank(copied, layer))
    done = ask(copied)
    assert done.exit_code == 1 and bank(copied, 1).name in done.stderr


@pytest.mark.parametrize("damage", [cut, spoil_record])
def test_an_evaluation_goes_on_without_it_and_says_so(copied, made, tmp_path, damage):
    spoilt = bank(copied, 1)
    damage(spoilt)
    done = evaluate(copied, made / "images", tmp_path / "out", "--layer", "0,2")
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    [note] = [note for note in summary["notes"] if note.startswith("Left out: ")]
    assert spoilt.name in note and spoilt.name in done.stderr
    asked = evaluate(copied, made / "images", tmp_path / "other", "--layer", "0,2", "--bank-layer", "1")
    assert asked.exit_code != 0 and spoilt.name in asked.stderr


@pytest.fixture(scope="module")
def indexed(made, tmp_path_factory):
    """The store with image banks of both layers."""
    store = shutil.copytree(made / "store", tmp_path_factory.mktemp("indexed") / "store")
    done = lens("index", made / "images", "--name", "photos", "--store", store, "--layer", "1,2")
    assert done.exit_code == 0, done.output
    return store


def images_of(store, layer):
    [folder] = store.glob(f"*-images-L0{layer}-*")
    return folder


def test_what_asks_image_banks_names_one_that_is_damaged(indexed, tmp_path):
    store = shutil.copytree(indexed, tmp_path / "store")
    spoilt = images_of(store, 1)
    spoil_record(spoilt)
    for words in (("find", "--sample", "3"), ("find", "--facet", "best"), ("score", "--labels", "dog"), ("query",)):
        asked = (*words, "--text", "a red dog", "--dtype", "float32") if words == ("query",) else words
        done = lens(*asked, "--store", store, "--format", "json")
        assert done.exit_code == 0, done.output
        assert f"Left out: The file {spoilt / 'lensbank.json'} is not the record of a bank" in done.stderr
        if words[-1] != "best":
            notes = [note for note in json.loads(done.stdout)["notes"] if note.startswith("Left out: ")]
            assert len(notes) == 1 and spoilt.name in notes[0]
    for words in (("find", "dog"), ("score", "--labels", "dog")):
        refused = lens(*words, "--store", store, "--layer", "1")
        assert refused.exit_code != 0 and spoilt.name in refused.stderr
        named = lens(*words, "--store", store, "--bank", spoilt.name)
        assert named.exit_code == 1 and "is not the record of a bank" in named.stderr
    spoil_record(images_of(store, 2))
    done = lens("find", "dog", "--store", store)
    assert done.exit_code == 1 and "holds no image bank that can be read" in done.stderr and spoilt.name in done.stderr
