"""Odd command lines and files: an answer or one clear sentence, never a traceback, and no input is changed.

A few of each here; `make test-hostile` tries many, within a time. Hypothesis prints how to repeat one.
"""

import copy
import json

import pytest
from hostile import JUNK, many, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lensbank.evaluate.annotations import read_annotations
from lensbank.ingest.corpus import read_corpora
from lensbank.schemas.errors import LensbankError

MANY = many()
ODD = [
    "",
    "-1",
    "0",
    "1e999",
    "nan",
    "9" * 5000,
    "2" * 20,
    str(2**63),
    "all",
    "1,2",
    ",",
    "\x1b[31m",
    "é",
    "-",
]
ODD += [
    "/dev/null",
    ".",
    "..",
    "/",
    "missing/",
    "http://",
    "http://[",
    "localhost:1",
    "word=",
    "=",
    "word~",
    "norm>nan",
    "x" * 300,
]
OPTIONS = {
    "query": ["--layer", "--bank-layer", "--patch", "--lens", "--where", "--top-k", "--distinct", "--format", "--out"]
    + ["--prompt", "--text", "--search", "--max-pixels", "--bogus", "--centre", "--exact"],
    "ingest": [
        "--layer",
        "--max-contexts",
        "--text-field",
        "--split",
        "--language",
        "--seed",
        "--dtype",
        "--batch-tokens",
        "--name",
    ],
    "evaluate": [
        "--images",
        "--annotations",
        "--sample",
        "--seed",
        "--judge",
        "--judge-url",
        "--out",
        "--where",
        "--layer",
    ],
    "inspect": ["--format", "--picture", "--prompt"],
    "banks list": ["--silent", "--server"],
    "banks show": ["--server"],
    "banks drop": ["--yes"],
    "push": ["--to", "--model", "--layer"],
    "pull": ["--from", "--layer"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an image, a corpus, annotations; no model and no bank, so that nothing runs for long."""
    folder = tmp_path_factory.mktemp("place")
    Image.new("RGB", (40, 30), "red").save(folder / "image.png")
    (folder / "corpus.txt").write_text("A dog.\nA cat.\n")
    (folder / "annotations.json").write_text(json.dumps(COCO))
    return folder


COCO = {
    "images": [{"id": 1, "file_name": "image.png", "width": 40, "height": 30, "group": "a"}],
    "categories": [{"id": 1, "name": "dog", "supercategory": "animal", "synonyms": ["puppy"]}],
    "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 20, 10], "iscrowd": 0}],
}


@MANY
@given(data=st.data())
def test_command_lines(place, data):
    command = data.draw(st.sampled_from(sorted(OPTIONS)))
    values = st.sampled_from([*ODD, str(place / "image.png"), str(place / "corpus.txt"), str(place)]) | st.text(
        max_size=8
    )
    words = []
    for option in data.draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=4)):
        words += [option, data.draw(values)] if data.draw(st.booleans()) else [f"{option}={data.draw(values)}"]
    words += data.draw(st.lists(values, max_size=2))
    run(place, [*command.split(), *words])


@MANY
@given(data=st.data())
def test_annotations(place, data):
    """A field of a good file is replaced, taken away or doubled."""
    coco = copy.deepcopy(COCO)
    for _ in range(data.draw(st.integers(1, 3))):
        table = data.draw(
            st.sampled_from([coco, *(row for rows in coco.values() if isinstance(rows, list) for row in rows)])
        )
        if not isinstance(table, dict) or not table:
            continue
        key = data.draw(st.sampled_from(sorted(table)))
        if data.draw(st.booleans()):
            table[key] = data.draw(JUNK)
        else:
            del table[key]
    file = place / "odd.json"
    file.write_text(json.dumps(coco))
    try:
        found = read_annotations(file, place)
    except LensbankError as error:
        assert error.message and "Traceback" not in error.message
    else:
        for image in found.images:
            for thing in image.things:
                assert thing.box.x0 < thing.box.x1 and thing.box.y0 < thing.box.y1


@MANY
@given(
    content=st.binary(max_size=200),
    suffix=st.sampled_from([".txt", ".csv", ".tsv", ".jsonl", ".txt.gz", ".txt.zst", ""]),
)
def test_corpora(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("c") / f"corpus{suffix}"
    path.write_bytes(content)
    try:
        with read_corpora([path]) as corpus:
            first, again = [one.text for one in corpus], [one.text for one in corpus]
    except LensbankError as error:
        assert error.message
    else:
        assert first == again and all(text.strip() for text in first)
