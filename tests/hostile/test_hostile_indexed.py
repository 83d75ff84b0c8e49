"""Image banks: odd command lines, label files, photographs, calls; damaged rows and records of the banks themselves."""

import copy
import json
import random
import shutil

import pytest
from hostile import JUNK, bounded, damaged, digests, many, refusing, run, spoil_json
from hypothesis import given
from hypothesis import strategies as st
from test_images_index import LINES, OPTIONS, draw

import lensbank
from lensbank.images.index import run as index
from lensbank.images.sets import gather
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions
from lensbank.ingest.pipeline import run as ingest
from lensbank.models.loading import load_model
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.errors import LensbankError
from lensbank.store.embedded.engine import EngineSettings
from lensbank.store.embedded.store import EmbeddedStore
from lensbank.store.opening import open_store
from lensbank.store.records import RECORD_FILE

SETTINGS = EngineSettings(reserve_bytes=1 << 20)
COCO = {
    "images": [{"id": n, "file_name": f"p{n}.png", "width": 120, "height": 90} for n in range(3)],
    "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "tree"}],
    "annotations": [{"id": n, "image_id": n, "category_id": n % 2 + 1, "bbox": [5, 5, 80, 60]} for n in range(3)],
}


@pytest.fixture(scope="module")
def loaded(tiny_vlm):
    return load_model(str(tiny_vlm), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def place(loaded, tmp_path_factory):
    """Photographs, annotations, labels, and a store with text banks and image banks of two layers."""
    folder = tmp_path_factory.mktemp("indexed")
    for number in range(3):
        draw(folder / "photos" / f"p{number}.png", number)
    shutil.copy(folder / "photos" / "p0.png", folder / "photo.png")
    (folder / "annotations.json").write_text(json.dumps(COCO))
    (folder / "lines.txt").write_text("\n".join(LINES))
    (folder / "labels.csv").write_text("label,word\nanimal,dog\nplant,tree\n")
    (folder / "store").mkdir()
    with EmbeddedStore(folder / "store", SETTINGS) as store, read_corpora([folder / "lines.txt"]) as corpus:
        ingest(loaded, corpus, store, IngestOptions(layers=(1, 2)))
        with QuerySession(store, loaded, OPTIONS) as session:
            index(session, gather([folder / "photos"], None, folder / "annotations.json"), store)
    return folder


@pytest.fixture(scope="module")
def store(place):
    with open_store(str(place / "store")) as store:
        yield store


ODD = ["", "-1", "0", "1e999", "nan", "9" * 5000, str(2**63), "all", "1,2", ",", "\x1b[31m", "é", "-", "\udcff", "0,0"]
ODD += ["/dev/null", ".", "/", "missing/", "http://[", "word=", "=", "word~", "score>nan", "x" * 300, "word=dog"]
ODD += ["thing=dog", "score>=0.5", "dog", "1", "7-", "latent,logit", "photos", "photo.png", "labels.csv", "none"]
COMMANDS = {
    "index": ["--layer", "--name", "--annotations", "--group-by", "--lens", "--bank-layer", "--model", "--top-k"]
    + ["--where", "--prompt", "--search", "--vector-dtype", "--again", "--prune", "--dtype", "--device"],
    "find": ["--facet", "--sample", "--seed", "--layer", "--bank", "--lens", "--where", "--top-k", "--format", "--out"]
    + ["--patch", "--like", "--text", "--prompt", "--model"],
    "score": ["--labels", "--labels-file", "--things", "--seed", "--layer", "--bank", "--model", "--where", "--means"]
    + ["--format", "--out"],
    "banks repair": ["--words", "--model", "--revision", "--trust-remote-code"],
    "banks verify": ["--sample", "--seed", "--files", "--model"],
    "ingest": ["--plan", "--model", "--layer", "--max-contexts", "--text-field", "--split", "--language"],
    "query": ["--layer", "--patch", "--lens", "--where", "--format", "--out", "--centre", "--prompt", "--distinct"],
}
FLAGS = ("--again", "--prune", "--things", "--means", "--words", "--trust-remote-code", "--files", "--split", "--plan")


@many(share=0.2, few=12)
@given(data=st.data())
def test_command_lines(place, data):
    command = data.draw(st.sampled_from(sorted(COMMANDS)))
    values = st.sampled_from(ODD) | st.text(max_size=8)
    words = []
    for option in data.draw(st.lists(st.sampled_from(COMMANDS[command]), max_size=4)):
        value = [] if option in FLAGS and data.draw(st.booleans()) else [data.draw(values)]
        words += [f"{option}={value[0]}"] if value and data.draw(st.booleans()) else [option, *value]
    words += data.draw(st.lists(values, max_size=2))
    # A model that is none: what reaches it has been found right, and ends there.
    model = [] if "--model" in words or command in ("find", "score") else ["--model", "none"]
    before = contents(place)
    run(place, [*command.split(), *words, *model], LENSBANK_STORE=str(place / "store"))
    assert contents(place) == before


def contents(place):
    """Digests of photographs and banks; of these, what a reader leaves is no part."""
    folders = [place / "photos", *(one for one in (place / "store").iterdir() if one.is_dir())]
    return {folder.name: {n: d for n, d in digests(folder).items() if n != ".lock"} for folder in folders}


TEXTS = st.text(alphabet=st.sampled_from('label,word\nsentence"\t;dog tree\r\0\u200dé'), max_size=60)
ROWS = st.builds("label,word,sentence\n{}".format, TEXTS)


@many(share=0.2, few=8)
@given(content=st.binary(max_size=80) | TEXTS.map(str.encode) | ROWS.map(str.encode))
def test_label_files(place, content):
    file = place / "odd.csv"
    file.write_bytes(content)
    done = run(place, ["score", "--labels-file", "odd.csv", "--format", "json"], LENSBANK_STORE=str(place / "store"))
    if done.exit_code == 0:
        scores = json.loads(done.stdout)
        assert all(0 <= one["share"]["value"] <= 1 for one in scores["scores"])


ANY = JUNK | st.sampled_from(["dog", "thing=dog", (0, 0), [1], (1, 1, 1), 2, "latent", object(), b"dog", {"dog"}])
CALLS = {
    "find": ["words", "text", "like", "patch", "layers", "lens", "where", "top_k", "model"],
    "score": ["labels", "layers", "where", "seed"],
    "index": ["photos", "name", "annotations", "group_by", "vector_dtype", "again", "prune"],
}


@many(share=0.3, few=20)
@given(data=st.data())
def test_calls(place, store, loaded, data):
    name = data.draw(st.sampled_from(sorted(CALLS)))
    given = {key: data.draw(ANY) for key in data.draw(st.lists(st.sampled_from(CALLS[name]), min_size=1, max_size=3))}
    with refusing():
        if name == "find":
            found = lensbank.find(store, **{"model": loaded, **({} if "words" in given else {"words": "dog"}), **given})
            assert found.total_patches >= sum(len(image.patches) for image in found.images) > -1
        elif name == "score":
            assert lensbank.score(store, **given).scores
        else:
            photos = given.pop("photos", place / "missing")
            with lensbank.lens(loaded, store, layers=1, progress=False) as opened:
                lensbank.index(opened, photos, store, progress=False, **given)


@many(share=0.05, few=2)
@given(data=st.data())
def test_damaged_rows(place, store, tmp_path_factory, data):
    """Fields of rows are changed in the database: named, or of no effect; verify finds those that are no rows."""
    copied = tmp_path_factory.mktemp("rows")
    for folder in (place / "store").glob("*-images-*"):
        shutil.copytree(folder, copied / folder.name)
    with EmbeddedStore(copied, SETTINGS) as other:
        infos = [info for info in other.list() if info.record.identity.kind == "image"]
        info = data.draw(st.sampled_from(infos))
        with other.open(info.name) as bank:
            rows = {name: payload for name, _, payload in bank.scroll(1000)[0]}
        ids = data.draw(st.lists(st.sampled_from(sorted(rows)), min_size=1, max_size=3))
        storable = JUNK.filter(storable_in_json)
        fields = st.sampled_from(sorted(rows[ids[0]]))
        changes = {one: {data.draw(fields): data.draw(storable)} for one in ids}
        try:
            other.rewrite(info.name, info.record, changes, lambda count: None)
        except LensbankError:
            return
        for command in (["find", "dog"], ["find", "--sample", "5"], ["find", "--facet", "word"], ["score", "--things"]):
            run(place, [*command, "--format", "json"], LENSBANK_STORE=str(copied))
        run(place, ["find", "tree", "--format", "html"], LENSBANK_STORE=str(copied))
        run(place, ["banks", "verify"], LENSBANK_STORE=str(copied))


def storable_in_json(value):
    try:
        json.dumps(value, allow_nan=False).encode()
        return "\ud800" not in json.dumps(value, ensure_ascii=False) and value != 10**400
    except ValueError:
        return False


@many(share=0.2, few=5)
@given(data=st.data())
def test_records(place, data):
    """The record of an image bank, with what an index says of its set."""
    folder = next(one for one in sorted((place / "store").iterdir()) if "-images-" in one.name)
    path = folder / RECORD_FILE
    good = path.read_bytes()
    record = copy.deepcopy(json.loads(good))
    indexed = record["record"]["corpora"][0]["indexed"] if "record" in record else record["corpora"][0]["indexed"]
    spoil_json(data, data.draw(st.sampled_from([record, indexed])))
    path.write_bytes(json.dumps(record).encode())
    try:
        for words in (["find", "dog"], ["score", "--labels", "dog,cat"], ["banks", "list"], ["banks", "show"]):
            run(place, words, LENSBANK_STORE=str(place / "store"))
    finally:
        path.write_bytes(good)


@many(share=0.03, few=3)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_photographs(place, loaded, tmp_path_factory, seed, data):
    """Odd photographs and annotations: each is read or named; what is indexed of the others stays as it was."""
    rng, folder = random.Random(seed), tmp_path_factory.mktemp("odd")
    shutil.copytree(place / "photos", folder / "photos")
    name = data.draw(st.sampled_from(["p1.png", "new.png", "\udcff.jpg", "a\nb.png", "dir.png/x.png"]))
    (folder / "photos" / name).parent.mkdir(exist_ok=True)
    (folder / "photos" / name).write_bytes(damaged(rng, (place / "photos" / "p1.png").read_bytes()))
    coco = copy.deepcopy(COCO)
    spoil_json(data, coco)
    (folder / "annotations.json").write_text(json.dumps(coco))
    annotations = data.draw(st.sampled_from([None, folder / "annotations.json"]))
    (folder / "new").mkdir()
    with bounded(), open_store(str(place / "store")) as texts, EmbeddedStore(folder / "new", SETTINGS) as new:
        try:
            with QuerySession(texts, loaded, OPTIONS) as session:
                summary = index(session, gather([folder / "photos"], "odd", annotations), new)
        except LensbankError as error:
            assert error.message
            assert not new.list() or annotations is not None
            return
        assert summary.written + len(summary.odd) == summary.images
        assert summary.written >= (1 if annotations else 2)
        assert lensbank.score(new, ["dog", "cat"]).images == summary.written
