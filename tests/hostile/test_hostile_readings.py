"""Saved readings: damaged or edited JSON, odd command lines of `show`, and files that readings are saved to."""

import hashlib
import json
import random
from dataclasses import replace

import pytest
from hostile import JUNK, damaged, many, refusing, run, spoil_json
from hypothesis import given
from hypothesis import strategies as st
from page_readings import image_reading, picture, text_reading

import lensbank
from lensbank.show.render import to_json

FORMS = ("table", "json", "html", "png")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    picture().save(folder / "photo.png")
    sha256 = hashlib.sha256((folder / "photo.png").read_bytes()).hexdigest()
    reading = image_reading(2, 2, layers=(0, 4), lenses=("latent", "logit"), sha256=sha256)
    (folder / "a.json").write_text(to_json([reading]))
    (folder / "made").mkdir()
    (folder / "b.json").write_text(to_json([replace(reading, prompt="Who?"), text_reading("a dog", layers=(0,))]))
    return folder


@many(share=0.3)
@given(data=st.data(), form=st.sampled_from(FORMS), several=st.booleans())
def test_edited_readings(place, data, form, several):
    saved = json.loads((place / ("b.json" if several else "a.json")).read_text())
    spoil_json(data, saved)
    (place / "odd.json").write_text(json.dumps(saved))
    run(place, ["show", "odd.json", "--image", "photo.png", "--format", form, "--out", f"made/out.{form}"])
    with refusing():
        readings = saved["readings"] if isinstance(saved, dict) and isinstance(saved.get("readings"), list) else [saved]
        for one in readings:
            lensbank.reading_from_dict(one).to_frame()


@many(share=0.3)
@given(seed=st.integers(0, 2**32 - 1), form=st.sampled_from(FORMS))
def test_damaged_readings(place, seed, form):
    (place / "odd.json").write_bytes(damaged(random.Random(seed), (place / "a.json").read_bytes()))
    run(place, ["show", "a.json", "odd.json", "--format", form])


ODD = [
    "",
    "-",
    ".",
    "/",
    "missing/",
    "/dev/null",
    "a.json",
    "b.json",
    "photo.png",
    "lines.txt",
    "\udcff",
    "a\nb",
    "png",
]
ODD += ["html", "json", "table", "x" * 300, "made/out.html", "made/out.xyz", "1", "\x1b[31m", "--image", "a.json/b"]


@many(share=0.3)
@given(data=st.data())
def test_show_command_lines(place, data):
    words = data.draw(st.lists(st.sampled_from(ODD) | st.text(max_size=8), max_size=3))
    for option in data.draw(st.lists(st.sampled_from(["--image", "--format", "--out", "--silent"]), max_size=3)):
        words += [option, data.draw(st.sampled_from(ODD))]
    run(place, ["show", *words])


NAMES = st.sampled_from(
    ["a.json", "a.csv", "a.html", "a.png", "a.PNG", "a.pdf", "a.svg", "a.txt", "a", ".json", "\udcff.csv"]
)


@many(share=0.3)
@given(data=st.data(), name=NAMES | st.text(max_size=6) | JUNK)
def test_saving(place, tmp_path_factory, data, name):
    reading = image_reading(1, 2, layers=(0,), lenses=("latent",))
    folder = tmp_path_factory.mktemp("to")
    with refusing():
        reading.save(folder / name if isinstance(name, str) else name)
        assert isinstance(name, str) and list(folder.rglob("*"))
    with refusing():
        lensbank.page([reading], data.draw(JUNK))
