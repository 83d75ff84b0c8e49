"""What is wrong with a command is said before torch is loaded, which takes seconds."""

import subprocess
import sys

import pytest
from PIL import Image

PROGRAM = "import sys; sys.modules['torch'] = None\nfrom lensbank.cli import main\nmain()"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "images/b.png"):
        Image.radial_gradient("L").save(tmp_path / name)
    (tmp_path / "coco.json").write_text(
        '{"images": [{"id": 1, "file_name": "b.png"}], "categories": [{"id": 1, "name": "dog"}], "annotations": '
        '[{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 99, 99]}]}',
        encoding="utf-8",
    )
    return tmp_path


QUERY = ["query", "a.png"]
EVALUATE = ["evaluate", "--images", "images", "--annotations", "coco.json", "--out", "results"]


@pytest.mark.parametrize("command", [QUERY, EVALUATE], ids=["query", "evaluate"])
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--store", "nowhere"], 1, "There is no store at"),
        (["--store", "localhost:6333"], 2, "may be a server or a folder"),
        (["--store", "ftp://host"], 2, "ftp"),
        (["--where", "word"], 2, "is not FIELD OPERATOR VALUE"),
        (["--where", "token_id=99999999999999999999"], 2, "more than 64 bits"),
        (["--where", "norm>1e999"], 2, "Use a finite number"),
        (["--layer", "x"], 2, "--layer takes numbers"),
        (["--bank-layer", "1.5"], 2, "--bank-layer takes numbers"),
        (["--lens", "tuned"], 2, "choose from latent, logit, embedding"),
    ],
)
def test_options_are_read_first(folder, command, options, code, message):
    refused(folder, [*command, *options], code, message)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["missing.txt"], 1, "There is no file missing.txt"),
        (["--store", "localhost:6333", "lines.txt"], 2, "may be a server or a folder"),
        (["--layer", "x", "lines.txt"], 2, "--layer takes numbers"),
        (["--max-contexts", "0", "lines.txt"], 2, "--max-contexts takes a number"),
        (["--split", "--language", "xx", "lines.txt"], 2, "xx"),
    ],
)
def test_an_ingest_is_refused_first(folder, options, code, message):
    (folder / "lines.txt").write_text("a dog\n", encoding="utf-8")
    refused(folder, ["ingest", "--model", "m", "--layer", "1", *options], code, message)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["query", "missing.png"], 1, "There is no image"),
        (["query", "a.png", "--patch", "1"], 2, "ROW,COL"),
        (["query", "a.png", "--out", "missing/x.json", "--format", "json"], 2, "There is no folder missing"),
        (["query", "a.png", "--format", "png", "--out", "a.png"], 2, "is an input"),
        (["query", "--text", "a dog", "--patch", "1,1"], 2, "Leave out --patch"),
        (["query", "--text", "a dog", "--prompt", "What?"], 2, "Leave out --prompt"),
    ],
)
def test_what_a_query_cannot_be(folder, arguments, code, message):
    refused(folder, arguments, code, message)


def refused(folder, arguments, code, message):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr and "torch" not in done.stderr
    assert not (folder / "results").exists()
