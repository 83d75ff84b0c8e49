"""`banks verify` of image banks: rows that tell another thing than their image are found, absent images named."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from test_images_index import LINES, OPTIONS, draw

from lensbank.cli import main_group
from lensbank.commands import banks
from lensbank.commands.loading import load
from lensbank.images.index import run
from lensbank.images.sets import gather
from lensbank.images.verify import verify_images
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.pipeline import IngestOptions
from lensbank.ingest.pipeline import run as ingest
from lensbank.models.loading import load_model
from lensbank.query.pipeline import QuerySession
from lensbank.schemas.patches import patch_id
from lensbank.store.opening import open_store


@pytest.fixture(scope="module")
def loaded(tiny_vlm):
    return load_model(str(tiny_vlm), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def place(loaded, tmp_path_factory):
    """Three images in a bank, asked with a question of the user's own."""
    folder = tmp_path_factory.mktemp("verify")
    for number in range(3):
        draw(folder / "photos" / f"p{number}.png", number)
    (folder / "lines.txt").write_text("\n".join(LINES))
    with open_store(str(folder / "texts"), create=True) as texts, read_corpora([folder / "lines.txt"]) as corpus:
        ingest(loaded, corpus, texts, IngestOptions(layers=(1,)))
        settings = replace(OPTIONS, layers=(1,), prompt="Where is the dog?")
        with QuerySession(texts, loaded, settings) as session, open_store(str(folder / "store"), create=True) as store:
            run(session, gather([folder / "photos"]), store)
    return folder


def test_images_are_shown_again_and_what_is_gone_is_named(place, loaded):
    with open_store(str(place / "store")) as store:
        (info,) = store.list()
        with store.open(info.name) as bank:
            report = verify_images(loaded, bank, sample=1000)
            assert (report.checked, report.images, report.absent) == (27, 3, ()) and report.passed
            assert report.lowest > 0.9999
            assert verify_images(loaded, bank, sample=10).images == 2
    os.rename(place / "photos" / "p1.png", place / "p1.png")
    kept = (place / "photos" / "p2.png").read_bytes()
    draw(place / "photos" / "p2.png", 77)
    done = CliRunner().invoke(main_group, ["banks", "verify", "--store", str(place / "store")])
    os.rename(place / "p1.png", place / "photos" / "p1.png")
    (place / "photos" / "p2.png").write_bytes(kept)
    assert done.exit_code == 0, done.output
    assert "9 of 27 rows checked, of 1 images: as the model says" in done.stdout
    assert "p1.png: it is not at" in done.stdout and "p2.png: the file at" in done.stdout


def test_each_bank_is_compared_in_the_precision_that_made_it(place, tiny_vlm, tmp_path, monkeypatch):
    shutil.copytree(place / "store", tmp_path / "store")
    narrow = load_model(str(tiny_vlm), device="cpu", dtype="bfloat16")
    with open_store(str(tmp_path / "store")) as store, read_corpora([place / "lines.txt"]) as corpus:
        ingest(narrow, corpus, store, IngestOptions(layers=(1,)))
    loads = []
    monkeypatch.setattr(banks, "load", lambda *given: loads.append(given[1]["dtype"]) or load(*given))
    done = CliRunner().invoke(main_group, ["banks", "verify", "--store", str(tmp_path / "store")])
    assert done.exit_code == 0, done.output
    assert sorted(loads) == ["bfloat16", "float32"] and done.stdout.count("as the model says") == 2


def test_a_row_that_tells_another_thing_than_its_image_is_found(place, loaded):
    with open_store(str(place / "store")) as store:
        (info,) = store.list()
        name = patch_id("photos", "p0.png", 4)
        with store.open(info.name) as bank:
            payload = dict(bank.payloads([name])[name])
        payload["corpus"] = list(payload["corpus"])
        other = np.random.default_rng(0).standard_normal((1, 32)).astype(np.float32)
        with store.writer([info.record.identity], info.record.source) as writer:
            writer.put([name], [payload], {1: other}, {1: np.array([payload["norm"]], np.float32)})
            writer.finish(info.record.corpora)
    done = CliRunner().invoke(main_group, ["banks", "verify", "--store", str(place / "store")])
    assert done.exit_code == 1
    assert "1 DIFFER from the model" in done.stdout
    assert "p0.png, position 4: the stored direction has a cosine of" in done.stdout
