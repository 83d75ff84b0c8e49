"""Image banks: every visual token once, as the model has it and as a query reads it; interrupted, grown, changed."""

import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from standins import StandIn
from tiny_vlms import save_qwen2_vl

from lensbank.images.facts import tokens_of_any
from lensbank.images.index import run
from lensbank.images.options import IndexOptions
from lensbank.images.reading import Here
from lensbank.images.sets import gather, hashed
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions
from lensbank.ingest.pipeline import run as ingest
from lensbank.models.loading import load_model
from lensbank.query.asking import ask_image
from lensbank.query.options import QueryOptions
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.errors import BankIncompleteError, UsageError
from lensbank.schemas.words import folded
from lensbank.store.opening import open_store

LINES = ["a red dog runs", "the old cat sleeps", "one small house by a tree", "two trees and a table"]
LAYERS = (1, 2)
OPTIONS = QueryOptions(layers=LAYERS, top_k=3, distinct="word", lenses=("latent", "logit"))


def draw(path, seed, size=(120, 90)):
    dice = random.Random(seed)
    image = Image.new("RGB", size, tuple(dice.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = dice.randrange(size[0]), dice.randrange(size[1])
        pen.ellipse((x, y, x + 40, y + 30), fill=tuple(dice.randrange(256) for _ in range(3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture(scope="module")
def loaded(tiny_vlm):
    return load_model(str(tiny_vlm), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def texts(loaded, tmp_path_factory):
    """A store with text banks alone."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "lines.txt").write_text("\n".join(LINES))
    with open_store(str(folder / "store"), create=True) as store, read_corpora([folder / "lines.txt"]) as corpus:
        ingest(loaded, corpus, store, IngestOptions(layers=LAYERS))
    return folder / "store"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for number in range(4):
        draw(folder / f"{'in' if number % 2 else 'out'}" / f"p{number}.png", number)
    return folder


@pytest.fixture(params=["embedded", "server"])
def target(request, tmp_path):
    """A store for image banks, on both engines."""
    if request.param == "embedded":
        with open_store(str(tmp_path / "images"), create=True) as store:
            yield store
        return
    with StandIn() as server, open_store(server.url) as store:
        yield store


def index(loaded, texts, photos, target, options=None, settings=OPTIONS, **given):
    with open_store(str(texts)) as store, QuerySession(store, loaded, settings) as session:
        return run(session, gather([photos], **given), target, options)


def contents(store, names):
    """Bank → id → payload and stored vector."""
    found = {}
    for name in names:
        with store.open(name) as bank:
            rows, offset = {}, None
            while True:
                page, offset = bank.scroll(100, offset, with_vectors=True)
                rows.update({one: (payload, vector.tobytes()) for one, vector, payload in page})
                if offset is None:
                    break
            found[name] = rows
    return found


def test_rows_are_the_states_places_and_words_of_a_query(loaded, texts, photos, target):
    summary = index(loaded, texts, photos, target)
    assert (summary.written, summary.rows, dict(summary.odd)) == (4, 4 * 9, {})
    with open_store(str(texts)) as store, QuerySession(store, loaded, OPTIONS) as session:
        readings = {name: session.image(photos / name) for name in ("out/p0.png", "in/p3.png")}
    for layer, bank in zip(LAYERS, summary.banks, strict=True):
        rows = {
            (p["image"], p["position"]): (p, np.frombuffer(v, np.float32))
            for p, v in contents(target, [bank])[bank].values()
        }
        assert len(rows) == 36
        for name, reading in readings.items():
            states = ask_image(loaded, photos / name, [layer], OPTIONS).states[layer]
            tokens = next(one.tokens for one in reading.layers if one.layer == layer)
            for position, token in enumerate(tokens):
                payload, vector = rows[name, position]
                unit = states[position] / np.linalg.norm(states[position])
                assert np.allclose(vector, unit, atol=2e-6)
                assert payload["norm"] == pytest.approx(np.linalg.norm(states[position]), rel=1e-5)
                assert payload["word"] == [folded(n.word) for n in token.neighbors]
                assert payload["best"] == token.neighbors[0].word
                assert payload["score"] == pytest.approx([n.score for n in token.neighbors], abs=1e-6)
                assert payload["sentence"] == [n.sentence for n in token.neighbors]
                assert (payload["row"], payload["col"]) == (token.row, token.col)
                assert [payload[side] for side in ("x0", "y0", "x1", "y1")] == [
                    getattr(token.box, side) for side in ("x0", "y0", "x1", "y1")
                ]
                assert payload["logit"][0] == folded(token.found("logit")[0].word) or not token.found("logit")[0].word
        assert {p["group"] for p, _ in rows.values()} == {"in", "out"}


def test_what_is_there_is_passed_over_and_what_changed_is_replaced(loaded, texts, photos, target):
    first = index(loaded, texts, photos, target)
    before = contents(target, first.banks)
    again = index(loaded, texts, photos, target)
    assert (again.written, again.there, again.rows) == (0, 4, 36)
    assert contents(target, first.banks) == before
    draw(photos / "out" / "p0.png", 99)
    draw(photos / "out" / "p9.png", 9)
    grown = index(loaded, texts, photos, target)
    assert (grown.written, grown.replaced, grown.there, grown.rows) == (2, 1, 3, 45)
    now = contents(target, first.banks)
    for bank, rows in now.items():
        assert len(rows) == 45
        same = {one: row for one, row in rows.items() if row[0]["image"] not in ("out/p0.png", "out/p9.png")}
        assert same == {one: row for one, row in before[bank].items() if row[0]["image"] != "out/p0.png"}
        assert {row[0]["sha256"] for row in rows.values() if row[0]["image"] == "out/p0.png"} != {
            row[0]["sha256"] for row in before[bank].values() if row[0]["image"] == "out/p0.png"
        }
    (record,) = target.open(first.banks[0]).record.corpora
    assert (record.name, record.sentences, record.rows) == ("photos", 5, 45)
    assert record.indexed.images == 5 and record.indexed.lenses == ["latent", "logit"]


def test_an_image_of_fewer_visual_tokens_leaves_none_of_its_old_rows(loaded, texts, photos, target, monkeypatch):
    """As where a model's grid follows the image's size."""
    first = index(loaded, texts, photos, target)
    draw(photos / "out" / "p0.png", 99)

    def fewer(session, image, layers):
        whole = ask_image(loaded, image.path, layers, session.options)
        return replace(whole, tokens=whole.tokens[:5], states={n: rows[:5] for n, rows in whole.states.items()})

    monkeypatch.setattr("lensbank.images.reading._asked", fewer)
    summary = index(loaded, texts, photos, target)
    assert (summary.replaced, summary.rows) == (1, 3 * 9 + 5)
    for rows in contents(target, first.banks).values():
        kept = [payload for payload, _ in rows.values() if payload["image"] == "out/p0.png"]
        assert sorted(payload["position"] for payload in kept) == [0, 1, 2, 3, 4] and len(rows) == 32
        assert {payload["tokens"] for payload in kept} == {5} and len({payload["sha256"] for payload in kept}) == 1


def test_images_that_were_taken_away_stay_until_pruned(loaded, texts, photos, target):
    index(loaded, texts, photos, target)
    (photos / "in" / "p1.png").unlink()
    kept = index(loaded, texts, photos, target)
    assert (kept.kept, kept.rows) == (1, 36) and "1 image that was not given; --prune" in "\n".join(kept.lines())
    gone = index(loaded, texts, photos, target, IndexOptions(prune=True))
    assert (gone.removed, gone.rows, gone.written) == (1, 27, 0)
    images = {row[0]["image"] for row in contents(target, gone.banks)[gone.banks[0]].values()}
    assert images == {"out/p0.png", "out/p2.png", "in/p3.png"}


def test_an_odd_image_is_named_and_the_others_are_there(loaded, texts, photos, target):
    (photos / "broken.png").write_bytes((photos / "out" / "p0.png").read_bytes()[:60])
    summary = index(loaded, texts, photos, target)
    assert summary.written == 4 and list(summary.odd) == ["broken.png"]
    assert "broken.png is left out" in summary.complaints()[0]
    again = index(loaded, texts, photos, target)
    assert (again.written, again.there, list(again.odd)) == (0, 4, ["broken.png"])


def test_two_images_whose_names_are_written_alike_do_not_share_rows(loaded, texts, tmp_path):
    photos = tmp_path / "photos"
    draw(photos / "\\xff.png", 1)
    draw(photos / "b.png", 2)
    (photos / "b.png").rename(os.fsdecode(os.fsencode(photos) + b"/\xff.png"))  # bytes that are no text
    with open_store(str(tmp_path / "store"), create=True) as store:
        summary = index(loaded, texts, photos, store)
        assert (summary.images, summary.written, summary.there) == (2, 1, 0)
        assert list(summary.odd) == ["\\xff.png"] and "another file has this name" in summary.complaints()[0]
        rows = contents(store, summary.banks)[summary.banks[0]]
        kept = hashlib.sha256((photos / "\\xff.png").read_bytes()).hexdigest()
        assert {payload["sha256"] for payload, _ in rows.values()} == {kept} and len(rows) == summary.rows


def test_what_is_no_file_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    found, odd = hashed(gather([tmp_path / "pipe.png", "/dev/zero"]).images, lambda count: None)
    assert not found
    assert sorted(odd.values()) == ["is a FIFO; expected an image file", "is a device; expected an image file"]


def test_nothing_but_odd_images_leaves_no_bank(loaded, texts, tmp_path, target):
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.png").write_bytes(b"no image")
    summary = index(loaded, texts, tmp_path / "only", target)
    assert summary.rows == 0 and list(summary.odd) == ["x.png"]
    assert target.list() == []


class Early(Here):
    """Opens the writers before it knows of an image that can be read, as workers on other machines do."""

    def read(self, job, writers):
        writers(0)
        return super().read(job, writers)


def test_a_set_of_images_that_are_all_refused_leaves_the_banks_as_they_were(loaded, texts, photos, tmp_path, target):
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "x.png").write_bytes(b"no image")

    def refused():
        with open_store(str(texts)) as store, QuerySession(store, loaded, OPTIONS) as session:
            summary = run(Early(session, "float32"), gather([tmp_path / "only"]), target)
        assert summary.rows == 0 and list(summary.odd) == ["x.png"]

    refused()
    assert target.list() == []
    names = index(loaded, texts, photos, target).banks
    before = contents(target, names)
    refused()
    assert contents(target, names) == before
    assert {info.name: [corpus.name for corpus in info.record.corpora] for info in target.list()} == {
        name: ["photos"] for name in names
    }
    assert {info.record.state for info in target.list()} == {"complete"}


def test_a_store_is_told_how_many_rows_to_expect(loaded, texts, photos, target, monkeypatch):
    told, writer = [], target.writer

    def asked(identities, source, *, expected_rows=None, plan=None):
        told.append(expected_rows)
        return writer(identities, source, expected_rows=expected_rows, plan=plan)

    monkeypatch.setattr(target, "writer", asked)
    summary = index(loaded, texts, photos, target)
    assert told == [36, 36] == [summary.rows] * len(summary.banks)


def test_visual_tokens_of_any_image_are_known_where_they_are_the_same_for_all(loaded, tmp_path):
    assert tokens_of_any(loaded, None) == 9
    assert tokens_of_any(load_model(str(save_qwen2_vl(tmp_path / "qwen")), device="cpu"), None) == 0  # its grid follows


def test_words_found_in_different_ways_do_not_stand_side_by_side(loaded, texts, photos, target):
    first = index(loaded, texts, photos, target)
    other = QueryOptions(layers=LAYERS, top_k=2, distinct="word", lenses=("latent", "logit"))
    with pytest.raises(UsageError, match="with other top_k"):
        index(loaded, texts, photos, target, settings=other)
    anew = index(loaded, texts, photos, target, IndexOptions(again=True), settings=other)
    assert (anew.written, anew.rows) == (4, 36)
    assert {len(row[0]["word"]) for row in contents(target, anew.banks)[anew.banks[0]].values()} == {2}
    assert target.open(first.banks[0]).record.corpora[0].indexed.top_k == 2
    aside = index(loaded, texts, photos, target, name="aside")
    assert aside.rows == 36
    with target.open(aside.banks[0]) as bank:
        assert bank.count() == 72 and {c.name for c in bank.record.corpora} == {"photos", "aside"}


def test_another_layer_leaves_complete_banks_alone(loaded, texts, photos, target):
    first = index(loaded, texts, photos, target, settings=QueryOptions(layers=(1,), top_k=3, distinct="word"))
    created = target.open(first.banks[0]).record.created
    both = index(loaded, texts, photos, target, settings=QueryOptions(layers=(1, 2), top_k=3, distinct="word"))
    assert both.written == 4 and len(both.banks) == 2 and both.rows == 36
    assert target.open(first.banks[0]).record.created == created
    rows = contents(target, both.banks)
    assert [len(rows[bank]) for bank in both.banks] == [36, 36]


def test_annotated_things_stand_with_the_patches_that_show_them(loaded, texts, photos, target, tmp_path):
    file = tmp_path / "coco.json"
    file.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "out/p0.png", "width": 120, "height": 90}],
                "categories": [{"id": 1, "name": "fire truck"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 60, 45]}],
            }
        )
    )
    summary = index(loaded, texts, photos, target, annotations=file)
    rows = [payload for payload, _ in contents(target, summary.banks)[summary.banks[0]].values()]
    under = {(p["row"], p["col"]) for p in rows if p.get("thing") == ["fire truck"]}
    inside = {
        (p["row"], p["col"])
        for p in rows
        if p["image"] == "out/p0.png" and (p["x0"] + p["x1"]) / 2 < 60 and (p["y0"] + p["y1"]) / 2 < 45
    }
    assert under == inside and under and len(under) < 9


def test_text_banks_and_image_banks_of_a_store_do_not_meet(loaded, texts, photos, tmp_path):
    import shutil

    shutil.copytree(texts, tmp_path / "both")
    with open_store(str(tmp_path / "both")) as store:
        with QuerySession(store, loaded, OPTIONS) as session:
            before = session.image(photos / "out" / "p0.png")
            run(session, gather([photos]), store)
        with QuerySession(store, loaded, OPTIONS) as session:
            after = session.image(photos / "out" / "p0.png")
    assert before.to_dict() == after.to_dict()


def test_a_set_waits_for_its_own_end(loaded, texts, photos, tmp_path):
    draw(tmp_path / "others" / "o.png", 5)
    with open_store(str(tmp_path / "images"), create=True) as target:
        summary = index(loaded, texts, photos, target)
        _unfinish(target, summary.banks)
        with pytest.raises(BankIncompleteError, match="an index of the images photos"):
            index(loaded, texts, tmp_path / "others", target)
        assert index(loaded, texts, photos, target).rows == 36


def _unfinish(target, banks):
    """As after a kill: rows are there, the record says that more will come."""
    from lensbank.schemas.plans import PlanRecord, plan_key

    for name in banks:
        record = target.open(name).record
        plan = PlanRecord("index", plan_key("index", "photos"), {"photos": "x"}, total=4)
        target.writer([record.identity], "source", plan=plan).close()


def _index_in_process(model, texts, photos, target):
    os.environ["OMP_NUM_THREADS"] = "1"
    loaded = load_model(model, device="cpu", dtype="float32")
    with open_store(target, create=True) as store:
        index(loaded, texts, Path(photos), store, IndexOptions(flush_seconds=0.0))


def test_killed_at_random_moments_it_ends_the_same(tiny_vlm, loaded, texts, tmp_path):
    photos = tmp_path / "photos"
    for number in range(60):
        draw(photos / f"p{number}.png", number)
    with open_store(str(tmp_path / "whole"), create=True) as whole:
        summary = index(loaded, texts, photos, whole)
        expected = contents(whole, summary.banks)
    seed = random.SystemRandom().getrandbits(32)
    dice, context, killed = random.Random(seed), multiprocessing.get_context("spawn"), 0
    arguments = (str(tiny_vlm), texts, photos, str(tmp_path / "torn"))
    for _ in range(12):
        child = context.Process(target=_index_in_process, args=arguments)
        child.start()
        deadline = time.monotonic() + 60
        while not list(Path(tmp_path / "torn").glob("*/lensbank.json")) and child.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.join(dice.uniform(0, 1.2))
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            killed += 1
        child.join()
    assert killed >= 3, f"seed {seed}"
    with open_store(str(tmp_path / "torn")) as torn:
        assert index(loaded, texts, photos, torn).rows == summary.rows, f"seed {seed}"
        assert contents(torn, summary.banks) == expected, f"seed {seed}"


def test_the_command_says_what_it_did_and_exits_with_1_for_an_odd_image(tiny_vlm, texts, photos, tmp_path):
    import shutil

    shutil.copytree(texts, tmp_path / "both")
    (photos / "odd.jpg").write_bytes(b"\xff\xd8\xff")
    command = [
        sys.executable,
        "-m",
        "lensbank",
        "index",
        str(photos),
        "--layer",
        "1",
        "--store",
        str(tmp_path / "both"),
    ]
    done = subprocess.run([*command, "--model", str(tiny_vlm), "--silent"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "Indexed 4 images of photos" in done.stdout and "odd.jpg is left out" in done.stderr
    assert "Traceback" not in done.stderr
