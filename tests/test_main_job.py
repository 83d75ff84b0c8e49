"""The main job on real input: a real language model, a real image, the real engine, right words.

The other tests hold shapes and edges on random models; this one holds that the lens shows
what is there.
"""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lensbank import cli

DATA = Path(__file__).resolve().parent.parent / "demo" / "data"
LAYERS = (8, 16)


@pytest.fixture(scope="module")
def truth():
    images = json.loads((DATA / "images" / "truth.json").read_text(encoding="utf-8"))
    return {image["file"]: image for image in images if image["kind"] == "scene" and image["seen"]}


@pytest.fixture(scope="module")
def bank(tmp_path_factory, demo_model):
    """A bank of every tenth sentence of the demo corpus, made by the command."""
    folder = tmp_path_factory.mktemp("main-job")
    with gzip.open(DATA / "corpus.txt.gz", "rt", encoding="utf-8") as file:
        (folder / "corpus.txt").write_text("".join(list(file)[::10]), encoding="utf-8")
    arguments = ["ingest", "--model", demo_model, "--layer", "8,16", "--store", folder / "store", folder / "corpus.txt"]
    done = CliRunner().invoke(cli.main_group, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return folder / "store"


@pytest.fixture(scope="module")
def readings(bank, truth):
    """Every bundled scene of seen styles, read by the command; --model is left out."""
    paths = [str(DATA / "images" / name) for name in truth]
    arguments = ["query", *paths, "--layer", "8,16", "--format", "json", "--store", str(bank)]
    done = CliRunner().invoke(cli.main_group, arguments)
    assert done.exit_code == 0, done.output
    return {reading["source"]: reading for reading in json.loads(done.stdout)["readings"]}


def share_named(readings, truth_of, layer):
    """Share of objects of which some patch, its centre in the box, shows the name in its top 5."""
    named = total = 0
    for name, reading in readings.items():
        tokens = next(x["tokens"] for x in reading["layers"] if x["layer"] == layer)
        for thing in truth_of(name):
            x0, y0, x1, y1 = thing["box"]
            words = {
                neighbor["word"].casefold()
                for token in tokens
                if x0 <= (token["box"]["x0"] + token["box"]["x1"]) / 2 < x1
                and y0 <= (token["box"]["y0"] + token["box"]["y1"]) / 2 < y1
                for neighbor in token["neighbors"]
            }
            total += 1
            named += bool(words & {thing["word"], thing["word"] + "s", *thing["synonyms"]})
    return named / total


def test_the_nearest_words_name_what_is_under_the_patches(readings, truth):
    names = list(truth)
    shuffled = dict(zip(names, names[1:] + names[:1], strict=True))
    for layer in LAYERS:
        share = share_named(readings, lambda name: truth[name]["objects"], layer)
        chance = share_named(readings, lambda name: truth[shuffled[name]]["objects"], layer)
        assert share >= 0.6, f"layer {layer}: {share:.0%} of the objects are named"
        assert chance <= 0.2, f"layer {layer}: {chance:.0%} of another image's objects are named"


def test_boxes_are_pixels_of_the_original_image(readings, truth):
    wide = [name for name, image in truth.items() if image["width"] != image["height"]]
    assert wide, "one bundled scene is not square"
    for name in wide:
        boxes = [token["box"] for token in readings[name]["layers"][0]["tokens"]]
        assert max(box["x1"] for box in boxes) == pytest.approx(truth[name]["width"])
        assert max(box["y1"] for box in boxes) == pytest.approx(truth[name]["height"])
