"""What is wrong with a command is said before torch is loaded, which takes seconds."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from query_banks import identity, payload, row_id, write_rows

from lensbank.store.opening import open_store

PROGRAM = "import sys; sys.modules['torch'] = None\nfrom lensbank.cli import main\nmain()"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Banks of layers 1 and 3 of a model of 3 blocks."""
    root = tmp_path_factory.mktemp("early")
    rows = {layer: np.eye(2, 4, dtype=np.float32) for layer in (1, 3)}
    with open_store(str(root), create=True) as made:
        identities = [identity(layer, 4) for layer in rows]
        write_rows(made, identities, [row_id(1), row_id(2)], [payload("dog"), payload("cat")], rows)
    return root


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
        (["--store", "localhost:6333"], 2, "could be a server or a folder"),
        (["--store", "ftp://host"], 2, "ftp"),
        (["--where", "word"], 2, "is not FIELD OPERATOR VALUE"),
        (["--where", "token_id=99999999999999999999"], 2, "more than 64 bits"),
        (["--where", "norm>1e999"], 2, "Use a finite number"),
        (["--layer", "x"], 2, "--layer 'x' is not valid; expected numbers"),
        (["--bank-layer", "1.5"], 2, "--bank-layer '1.5' is not valid; expected numbers"),
        (["--lens", "tuned"], 2, "choose from latent, logit, embedding"),
    ],
)
def test_options_are_read_first(folder, command, options, code, message):
    refused(folder, [*command, *options], code, message)


@pytest.mark.parametrize("command", [QUERY, EVALUATE], ids=["query", "evaluate"])
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--lens", ""], 2, "--lens is empty"),
        (["--layer", ""], 2, "--layer names no layer"),
        (["--bank-layer", " , "], 2, "--bank-layer names no layer"),
        (
            ["--bank-layer", "9"],
            2,
            "no bank of layer 9 for this model. The store has layers 1, 3. --bank-layer chooses",
        ),
        (["--bank-layer", "5-"], 2, "no bank layer in the range 5-"),
        (["--layer", "99"], 2, "Layer 99 does not exist: this model has 3 blocks"),
        (["--centre"], 1, "only raw banks"),
        (["--model", ""], 2, "--model is empty"),
        (["--model", "./nowhere"], 1, "There is no model directory ./nowhere"),
        (["--model", "a.png"], 1, "a.png is a file"),
        (["--model", "gone.gguf"], 1, "There is no file gone.gguf"),
        (["--model", "org/gone.safetensors"], 1, "There is no file org/gone.safetensors"),
        (["--model", "images"], 1, "has no config.json"),
        (["--device", "gpu"], 2, "The device 'gpu' cannot be used here"),
        (["--device", "cuda:x"], 2, "The device 'cuda:x' cannot be used here"),
        (["--device-map", "nowhere.json"], 2, "there is no such file"),
        (["--max-memory", "0=20GiB"], 2, "Add --device-map auto"),
        (["--max-memory", "0=lots", "--device-map", "auto"], 2, "is not a device and a size"),
        (["--offload-folder", "x"], 2, "Add --device-map auto"),
        (["--device", "cpu", "--device-map", "auto"], 2, "Leave one of them out"),
    ],
)
def test_what_no_model_or_bank_can_answer_is_refused_first(folder, store, command, options, code, message):
    refused(folder, [*command, "--store", str(store), *options], code, message)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["missing.txt"], 1, "There is no file missing.txt"),
        (["empty.txt"], 1, "empty.txt holds no sentences"),
        (["rows.csv"], 1, "rows.csv"),
        (["--plan", "rows.csv"], 1, "rows.csv"),
        (["--plan", "--no-measure", "--model", "model", "--layer", "9", "lines.txt"], 2, "Layer 9 does not exist"),
        (["--text-field", "other", "rows.csv"], 1, "other"),
        (["picture.txt"], 1, "picture.txt"),
        (["--name", " ", "lines.txt"], 2, "name of the corpus is empty"),
        (["--model", "./nowhere", "lines.txt"], 1, "There is no model directory"),
        (["--model", "model", "--layer", "9", "lines.txt"], 2, "Layer 9 does not exist: this model has 4 blocks"),
        (["--model", "model", "--layer", "7-", "lines.txt"], 2, "no layer in the range 7-"),
        (["--device", "gpu", "lines.txt"], 2, "cannot be used here"),
        (["--store", "localhost:6333", "lines.txt"], 2, "could be a server or a folder"),
        (["--layer", "x", "lines.txt"], 2, "--layer 'x' is not valid; expected numbers"),
        (["--max-contexts", "0", "lines.txt"], 2, "--max-contexts '0' is not valid; expected a number"),
        (["--split", "--language", "xx", "lines.txt"], 2, "xx"),
    ],
)
def test_an_ingest_is_refused_first(folder, options, code, message):
    (folder / "lines.txt").write_text("a dog\n", encoding="utf-8")
    (folder / "empty.txt").write_text(" \n\n", encoding="utf-8")
    (folder / "rows.csv").write_text("id,said\n1,a dog\n", encoding="utf-8")
    shutil.copy(folder / "a.png", folder / "picture.txt")
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(b"")
    (folder / "model" / "config.json").write_text(
        '{"num_hidden_layers": 40, "text_config": {"num_hidden_layers": 4}}', encoding="utf-8"
    )
    refused(folder, ["ingest", "--model", "m", "--layer", "1", *options], code, message)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["query", "missing.png"], 1, "There is no image"),
        (["query", "--text", ""], 2, "is empty"),
        (["inspect", "a.png", "--model", "./nowhere"], 1, "There is no model directory"),
        (["inspect", "a.png", "--model", "m", "--device", "gpu"], 2, "cannot be used here"),
        (["import-bank", "nowhere", "--model", "m"], 2, "There is no folder nowhere"),
        (["import-bank", "images", "--model", "m"], 1, "holds no layer_N"),
        (["import-bank", "pipe", "--model", "m"], 1, "layer_3/embeddings_cache.pt is a FIFO; expected a file"),
        (["import-bank", "device", "--model", "m"], 1, "layer_3/embeddings_cache.pt is a device; expected a file"),
        (["convert-connector", "images", "--llm", "m", "--vision", "m", "--out", "images"], 2, "exists already"),
        (["convert-connector", "images", "--llm", "m", "--vision", "m", "--out", "new"], 1, "There is no connector.pt"),
        (["banks", "verify", "--device", "gpu"], 2, "cannot be used here"),
        ([*EVALUATE[:2], "nowhere", *EVALUATE[3:]], 2, "There is no folder nowhere"),
        ([*EVALUATE[:-1], "a.png/results"], 2, "cannot be a folder"),
        ([*EVALUATE[:2], ".", *EVALUATE[3:]], 2, "None of the 1 images in coco.json is in ."),
        (["query", "a.png", "--patch", "1"], 2, "ROW,COL"),
        (["query", "a.png", "--out", "missing/x.json", "--format", "json"], 2, "There is no folder missing"),
        (["query", "a.png", "--format", "png", "--out", "a.png"], 2, "is an input"),
        (["query", "--text", "a dog", "--patch", "1,1"], 2, "Leave out --patch"),
        (["find", "--like", "a.png", "--patch", "1,1", "--out", "a.png"], 2, "is an input"),
        (["find", "--like", "missing.png", "--patch", "1,1"], 1, "There is no image"),
        (["find", "--text", " "], 2, "--text is empty"),
        (["find", "dog", ""], 2, "A word to find is empty"),
        (["find", "--facet", "best", "--format", "html"], 2, "no html form"),
        (["serve", "--store", "nowhere"], 1, "There is no store at"),
        (["serve", "--host", "no host"], 2, "cannot be listened on"),
        (["serve", "--host", "0.0.0.0", "--no-token"], 2, "a token is needed"),
        (["score", "--labels", "dog", "--seed", "-1"], 2, "-1 is not in the range"),
        ([*EVALUATE, "--judge-timeout", "nan"], 2, "nan is not a finite number"),
        (["index", "a.png", "--ray", "auto", "--ray-gpus", "inf"], 2, "inf is not a finite number"),
        (["score", "--labels-file", "/dev/zero"], 1, "/dev/zero is a device; expected a file"),
        (["show", "/dev/zero"], 1, "/dev/zero is a device; expected a file"),
        (["query", "a.png", "--store", "https://h", "--server", "ca-file=/dev/zero"], 2, "/dev/zero are a device"),
        (["show", "images"], 1, "images is a folder; expected a file"),
        (["query", "--text", "a dog", "--prompt", "What?"], 2, "Leave out --prompt"),
    ],
)
def test_what_a_query_cannot_be(folder, arguments, code, message):
    for name in ("pipe", "device"):  # which would be waited for, or read for ever
        (folder / name / "layer_3").mkdir(parents=True)
    os.mkfifo(folder / "pipe/layer_3/embeddings_cache.pt")
    (folder / "device/layer_3/embeddings_cache.pt").symlink_to("/dev/zero")
    refused(folder, arguments, code, message)


def test_a_patch_outside_of_a_grid_that_the_settings_tell(folder):
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(b"")
    (folder / "model" / "config.json").write_text('{"model_type": "llava", "vision_config": {"patch_size": 8}}')
    (folder / "model" / "preprocessor_config.json").write_text(
        '{"do_resize": true, "size": {"shortest_edge": 32}, "do_center_crop": true, '
        '"crop_size": {"height": 16, "width": 24}}'
    )
    query = [*QUERY, "--model", "model", "--lens", "logit", "--layer", "1", "--patch"]
    refused(folder, [*query, "2,2"], 2, "Patch 2,2 is outside of the image's grid, which is 2 x 3 (rows 0 to 1")


def test_a_hub_that_cannot_be_reached(folder):
    hub = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(folder)}
    model = ["--model", "nobody/no-such", "--lens", "logit"]
    refused(folder, [*QUERY, *model], 1, "cannot be reached (http://127.0.0.1:9", **hub)


def test_a_model_that_was_not_fetched_where_nothing_may_be(folder):
    model = ["--model", "nobody/no-such", "--lens", "logit"]
    refused(folder, [*QUERY, *model], 1, "cannot be reached to fetch it (HF_HUB_OFFLINE is set)", HF_HOME=str(folder))
    (folder / "lines.txt").write_text("A dog.\n")
    ingest = ["ingest", "--model", "nobody/no-such", "--layer", "1", "lines.txt", "--store", "results"]
    refused(folder, ingest, 1, "cannot be reached to fetch it (HF_HUB_OFFLINE is set)", HF_HOME=str(folder))


def test_a_link_that_leads_nowhere(folder):
    (folder / "model").symlink_to(folder / "gone")
    refused(folder, [*QUERY, "--model", "model", "--lens", "logit"], 1, "gone does not exist")


def refused(folder, arguments, code, message, **environment):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr and "torch" not in done.stderr
    assert not (folder / "results").exists()


@pytest.mark.parametrize("args", [["banks", "list"], ["query", "a.png", "--layer", "x"], ["query"], ["banks", "show"]])
def test_what_needs_no_model_loads_none(args, store, folder):
    """Counted by modules, as seconds depend on the machine: torch alone takes one."""
    heavy = ("torch", "transformers", "qdrant_client", "grpc", "sklearn", "pandas")
    code = (
        "import sys\nfrom lensbank.cli import main\n"
        "try:\n    main()\n"
        f"except SystemExit:\n    print([name for name in {heavy} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, *args, *(["--store", str(store)] if len(args) > 1 else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
