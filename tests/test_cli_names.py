"""Files, folders and corpora whose names are not UTF-8, through the commands: every result can be read again."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from lensbank import cli


@pytest.fixture
def lensbank(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0):
        done = CliRunner().invoke(cli.main_group, [str(one) for one in arguments])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    return run


@pytest.fixture
def banks(lensbank, tiny_vlm, tmp_path):
    (tmp_path / "c\udcfe.txt").write_text("A dog runs.\nA cat sleeps on the red mat.\n")
    (tmp_path / "c\udcff.txt").write_text("A dog runs.\nOld red houses.\n")
    for corpus in ("c\udcfe.txt", "c\udcff.txt"):
        lensbank("ingest", "--model", tiny_vlm, "--layer", 1, "--store", "st\udcfdore", corpus, "--silent")
    return "st\udcfdore"


def test_a_bank_of_such_corpora_is_read_again(lensbank, banks, tiny_vlm):
    (bank,) = json.loads(lensbank("banks", "list", "--store", banks, "--format", "json"))
    assert [corpus["name"] for corpus in bank["corpora"]] == [r"c\xfe", r"c\xff"]
    assert r"c\xfe" in lensbank("banks", "show", "--store", banks)
    lensbank("banks", "verify", "--store", banks, "--model", tiny_vlm)
    asked = ("query", "--text", "houses", "--model", tiny_vlm, "--layer", 1, "--store", banks, "--format", "json")
    data = lensbank(*asked, "--where", "corpus=c\udcff", "--top-k", 50)
    found = {tuple(one.get("corpora") or [one["corpus"]]) for one in neighbours(json.loads(data[data.index("{") :]))}
    assert found and all(r"c\xff" in names for names in found)


def neighbours(value):
    if isinstance(value, dict):
        if "sentence" in value and "corpus" in value:
            yield value
        for part in value.values():
            yield from neighbours(part)
    elif isinstance(value, list):
        for part in value:
            yield from neighbours(part)


def test_it_can_be_copied_and_the_copy_read(lensbank, banks):
    lensbank("push", "--store", banks, "--to", "t\udcffo")
    lensbank("pull", "--from", banks, "--store", "pulled\udcff")
    for copy in ("t\udcffo", "pulled\udcff"):
        (bank,) = json.loads(lensbank("banks", "list", "--store", copy, "--format", "json"))
        assert bank["state"] == "complete" and len(bank["corpora"]) == 2


@pytest.mark.parametrize("form", ["table", "json", "html", "png"])
def test_an_image_and_a_result(lensbank, banks, tiny_vlm, tmp_path, form):
    Image.effect_noise((120, 80), 80).convert("RGB").save(tmp_path / "im\udcff.png")
    out = tmp_path / f"out\udcff.{form}"
    lensbank("query", "im\udcff.png", "--model", tiny_vlm, "--store", banks, "--format", form, "--out", out)
    data = out.read_bytes()
    if form == "json":
        assert r"im\xff.png" in json.dumps(json.loads(data)).replace(r"\\", "\\")
    elif form == "table":
        assert r"im\xff.png" in data.decode()
    else:
        assert len(data) > 1000


def test_an_evaluation(lensbank, banks, tiny_vlm, tmp_path):
    """Two names that differ in such a byte are two images; JSON may spell the byte as Python does."""
    folder = tmp_path / "imgs\udcff"
    folder.mkdir()
    for name in ("a\udcfe.png", "a\udcff.png"):
        Image.effect_noise((96, 96), 80).convert("RGB").save(folder / name)
    coco = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(sorted(os.listdir(folder)))],
        "categories": [{"id": 1, "name": "do\udcffg", "synonyms": ["dog"]}],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 90, 90]} for i in (0, 1)],
    }
    (tmp_path / "a.json").write_text(json.dumps(coco))
    common = ("evaluate", "--model", tiny_vlm, "--store", banks, "--images", folder, "--layer", 1, "--silent")
    lensbank(*common, "--annotations", "a.json", "--out", "ev\udcff")
    lines = [json.loads(line) for line in (tmp_path / "ev\udcff" / "words.jsonl").read_text().splitlines()]
    assert sorted(line["image"] for line in lines) == [r"a\xfe.png", r"a\xff.png"]
    lensbank(*common, "--judge", "words", "--out", "words\udcff")


def test_a_prompt_that_is_not_utf8_is_refused_before_the_model_is_loaded(lensbank, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    said = lensbank("query", "a.png", "--model", "nothing/here", "--prompt", "wh\udcff", code=2)
    assert "The prompt is not UTF-8" in said


def test_a_model_whose_name_is_not_utf8_is_used_through_a_link(lensbank, tiny_vlm, tmp_path):
    (tmp_path / "c.txt").write_text("A dog runs.\n")
    folder = shutil.copytree(tiny_vlm, tmp_path / "m\udcff")
    said = lensbank("ingest", "--model", folder, "--layer", 1, "--store", "s", "c.txt", code=1)
    assert r"m\xff is not UTF-8" in said.replace("\n", " ") and "ln -s" in said
    (tmp_path / "linked").symlink_to(folder)
    lensbank("ingest", "--model", "linked", "--layer", 1, "--store", "s", "c.txt")
