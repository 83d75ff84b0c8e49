"""``convert-connector`` as a user meets it, and what one does next."""

import json
import shutil

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_connectors import parts

from lensbank import cli


def lens(*args):
    return CliRunner().invoke(cli.main_group, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return parts(tmp_path_factory.mktemp("connector"), "qwen2", "clip")


def test_from_a_published_connector_to_what_an_image_says(folders, tmp_path):
    """The bank is the plain language model's: made once, it serves the three VLMs built on it."""
    connector, llm, vision = folders
    model, store, image = tmp_path / "qwen2-clip", tmp_path / "store", tmp_path / "wide.png"
    Image.radial_gradient("L").resize((160, 80)).convert("RGB").save(image)
    made = lens("convert-connector", connector, "--llm", llm, "--vision", vision, "--out", model)
    assert made.exit_code == 0, made.output
    assert "4 x 4 patches, read from the encoder's hidden states 8 and 1" in made.output
    assert f"Next: lensbank inspect IMAGE --model {model}" in made.output

    seen = lens("inspect", image, "--model", model, "--picture", tmp_path / "seen.png", "--dtype", "float32")
    text = " ".join(seen.output.split())
    assert seen.exit_code == 0, seen.output
    assert "lensbank_connector" in text and "plus the embedding of the patch token" in text
    assert "layout: start <im_start>" in text and "rows 1 to 2, columns 0 to 3, newline after each row" in text

    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a dog sleeps on the red sofa\nthe cat eats a fish\n", encoding="utf-8")
    options = ("--store", store, "--dtype", "float32")
    done = lens("ingest", corpus, "--model", llm, "--layer", "1,2", *options)
    assert done.exit_code == 0, done.output
    lenses = ("--lens", "latent,logit,embedding", "--format", "json")
    read = lens("query", image, "--model", model, "--layer", "0,3", *lenses, *options)
    assert read.exit_code == 0, read.output
    reading = json.loads(read.stdout)
    assert [layer["layer"] for layer in reading["layers"]] == [0, 3]
    assert len(reading["layers"][0]["tokens"]) == 8  # the picture's upper and lower rows are padding
    token = reading["layers"][0]["tokens"][0]
    assert (token["row"], token["col"]) == (1, 0) and token["neighbors"] and token["vocabulary"]


def test_mistakes_are_told_in_a_sentence(folders, tmp_path):
    connector, llm, vision = folders
    (tmp_path / "there").mkdir()
    there = lens("convert-connector", connector, "--llm", llm, "--vision", vision, "--out", tmp_path / "there")
    assert there.exit_code == 2 and "exists already; nothing was written" in there.output
    swapped = lens("convert-connector", connector, "--llm", vision, "--vision", llm, "--out", tmp_path / "model")
    assert swapped.exit_code == 1 and "expected a causal language model" in swapped.output
    none = lens("convert-connector", tmp_path, "--llm", llm, "--vision", vision, "--out", tmp_path / "model")
    assert none.exit_code == 1 and "There is no connector.pt in" in none.output
    assert not (tmp_path / "model").exists()


OWN_CODE = """
from pathlib import Path
from transformers import PreTrainedTokenizerFast

Path({mark!r}).touch()


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def with_code(folders, tmp_path, monkeypatch):
    """A language model whose tokenizer comes with code of its own, and the file that this code makes."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    llm, mark = shutil.copytree(folders[1], tmp_path / "llm"), tmp_path / "it-ran"
    (llm / "own.py").write_text(OWN_CODE.format(mark=str(mark)))
    settings = json.loads((llm / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}, "tokenizer_class": "OwnTokenizer"}
    (llm / "tokenizer_config.json").write_text(json.dumps(settings))
    return llm, mark


def test_a_repository_s_code_is_neither_run_nor_asked_about(folders, with_code, tmp_path, monkeypatch):
    llm, mark = with_code
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    done = lens("convert-connector", folders[0], "--llm", llm, "--vision", folders[2], "--out", tmp_path / "model")
    assert not mark.exists() and "Traceback" not in done.output and "Warning" not in done.output
    assert done.exit_code == 0 or (done.exit_code == 1 and "--trust-remote-code" in done.output), done.output


def test_it_is_run_where_that_is_asked_for_with_a_warning(folders, with_code, tmp_path):
    llm, mark = with_code
    command = ("convert-connector", folders[0], "--llm", llm, "--vision", folders[2], "--out", tmp_path / "model")
    done = lens(*command, "--trust-remote-code", "--silent")
    assert done.exit_code == 0, done.output
    assert mark.exists()
    assert f"Warning: code that comes with {llm} may run" in done.output.replace("\n", " ")
