"""docs/results.md names what a query returns: every field, and an example that can be read."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from lensbank.schemas import positions, results, searches
from lensbank.schemas.collection import BankIdentity
from lensbank.schemas.corpora import CorpusRecord
from lensbank.schemas.results_json import reading_from_dict

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "results.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0].strip(): part for part in TEXT.split("\n## ")[1:]}
SCHEMAS = results, searches, positions
PICTURES = {"picture", "pictures"}  # no part of the JSON
CLASSES = (
    "Centring",
    "Reading",
    "SearchSettings",
    "BankSearch",
    "LocalCopy",
    "View",
    "LayerReading",
    "TokenReading",
    "SourceImage",
    "Emitted",
    "PixelBox",
    "Neighbor",
    "VocabularyToken",
)


def documented(section):
    """Names in the first column of a section's table."""
    rows = re.findall(r"^\| (`.*?) \|", SECTIONS[section], re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


@pytest.mark.parametrize("name", CLASSES)
def test_every_field_is_documented_and_no_other(name):
    extra = ["version"] if name == "Reading" else []
    kind = next(getattr(file, name) for file in SCHEMAS if hasattr(file, name))
    assert documented(name) == extra + [field.name for field in fields(kind) if field.name not in PICTURES]


def test_every_dataclass_of_the_schema_has_a_section():
    defined = {
        name
        for file in SCHEMAS
        for name, thing in vars(file).items()
        if getattr(thing, "__module__", "") == file.__name__
    }
    assert {name for name in defined if name[0].isupper()} == set(CLASSES)


def test_facts_about_banks_are_documented():
    named = set(re.findall(r"`(\w+)`", SECTIONS["Banks"]))
    facts = {field.name for kind in (BankIdentity, CorpusRecord) for field in fields(kind)}
    assert facts - {"probe"} | {"rows", "corpora", "name"} <= named  # a probe is for comparisons alone


def test_the_example_is_a_reading():
    example = json.loads(re.search(r"```json\n(.*?)```", SECTIONS["Example"], re.DOTALL)[1])
    reading = reading_from_dict(example)
    assert json.loads(json.dumps(reading.to_dict())) == example
    assert list(reading.to_dict()) == list(example)
    neighbor = reading.layers[0].tokens[0].neighbors[0]
    assert neighbor.sentence[neighbor.char_start : neighbor.char_end] == neighbor.word
    assert f"version` | integer | of this schema: {results.RESULT_VERSION}" in TEXT


def test_a_reading_made_before_there_were_other_lenses_can_be_read():
    old = json.loads(re.search(r"```json\n(.*?)```", SECTIONS["Example"], re.DOTALL)[1])
    del old["search"]["lenses"]
    for layer in old["layers"]:
        for token in layer["tokens"]:
            del token["vocabulary"]
    reading = reading_from_dict(old)
    assert reading.search.lenses == ("latent",)
    assert reading.layers[0].tokens[0].vocabulary == {}


def test_a_reading_of_version_1_can_be_read_and_has_no_baselines():
    old = json.loads(re.search(r"```json\n(.*?)```", SECTIONS["Example"], re.DOTALL)[1])
    token = old["layers"][0]["tokens"][0]
    for found in (*token["neighbors"], *token["vocabulary"]["logit"]):
        del found["typical"], found["reach"], found["gap"]
    reading = reading_from_dict({**old, "version": 1})
    neighbor = reading.layers[0].tokens[0].neighbors[0]
    assert (neighbor.word, neighbor.typical, neighbor.reach, neighbor.gap) == ("dog", None, None, None)
    with pytest.raises(ValueError, match="version 4, expected 1 to 3"):
        reading_from_dict({**old, "version": 4})


def test_a_reading_of_version_2_can_be_read_and_is_of_the_patches_of_its_one_image():
    old = json.loads(re.search(r"```json\n(.*?)```", SECTIONS["Example"], re.DOTALL)[1])
    for field in ("read", "images", "answer", "answer_given"):
        del old[field]
    del old["views"][0]["image"]
    token = old["layers"][0]["tokens"][0]
    del token["kind"], token["image"], token["emitted"]
    reading = reading_from_dict({**old, "version": 2})
    assert (reading.read, reading.answer, reading.answer_given) == (("image",), None, None)
    assert reading.images == (positions.SourceImage("scene_00.png", reading.sha256, 224, 224),)
    token = reading.layers[0].tokens[0]
    assert (token.kind, token.image, token.emitted, reading.views[0].image) == ("image", 0, None, 0)


def test_a_token_of_an_image_that_the_reading_has_not_is_refused():
    data = json.loads(re.search(r"```json\n(.*?)```", SECTIONS["Example"], re.DOTALL)[1])
    data["layers"][0]["tokens"][0]["image"] = 1
    with pytest.raises(ValueError, match="it has 1 images, and names number 1"):
        reading_from_dict(data)
