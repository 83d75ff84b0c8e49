"""The tutorial's commands and the notebooks, run as they stand, with the demo model and a bank of its corpus."""

import base64
import importlib
import io
import json
import re
import runpy
import shlex
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from click.testing import CliRunner

import lensbank
from lensbank import cli
from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.forecast import forecast
from lensbank.ingest.options import IngestOptions
from lensbank.models import loading
from lensbank.models.files.outline import read_outline

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.M | re.S) for line in block.splitlines()]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, demo_model):
    """What `make demo` leaves, with fewer layers and contexts, in a folder that may be written into.

    Commands run in this process, and the model is loaded once for all of them.
    """
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "demo-model").symlink_to(demo_model)
    for name in ("demo", "docs"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "examples", folder / "examples")
    load, known = loading.load_model, {}

    def load_once(source, *, dtype="auto", like=None, need_vision=False, **options):
        key = Path(source).resolve(), like if dtype == "auto" and like else dtype
        if key not in known:
            known[key] = load(source, dtype=dtype, like=like, need_vision=True, **options)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(loading, "load_model", load_once)
        patch.setattr(lensbank, "load_model", load_once)
        sh(
            "lensbank ingest --model .cache/demo-model --store .cache/demo-store --layer 8,16,24 --max-contexts 2 "
            "--dtype float32 demo/data/corpus.txt.gz --silent",
        )
        yield folder


def sh(command):
    """What a command of the page prints: of lensbank, or ``python -m MODULE`` or ``python FILE``."""
    pasted = re.sub(r"\$\(cat (\S+)\)", lambda found: Path(found[1]).read_text(encoding="utf-8"), command)
    program, *args = shlex.split(pasted)
    if program == "lensbank":
        done = CliRunner().invoke(cli.main_group, args)
        assert done.exit_code == 0, f"{command}\n{done.output}"
        return done.stdout
    assert program == "python"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        if args[0] == "-m":
            patch.setattr(sys, "argv", args[1:])
            importlib.import_module(args[1]).main()
        else:
            patch.setattr(sys, "argv", args)
            runpy.run_path(args[0], run_name="__main__")
    return printed.getvalue()


def fewer(folder):
    """The first pictures of each list: all of them take minutes."""
    for name in ("of_it", "others"):
        file = folder / ".cache" / "fish" / f"{name}.txt"
        assert len(file.read_text(encoding="utf-8").split()) == 14
        file.write_text("\n".join(file.read_text(encoding="utf-8").split()[:3]) + "\n", encoding="utf-8")
    file = folder / ".cache" / "fish" / "annotations.json"
    known = json.loads(file.read_text(encoding="utf-8"))
    known["images"] = known["images"][:2] + known["images"][-2:]
    kept = {image["id"] for image in known["images"]}
    known["annotations"] = [box for box in known["annotations"] if box["image_id"] in kept]
    file.write_text(json.dumps(known), encoding="utf-8")


def test_the_tutorial_leads_from_its_question_to_its_figure(checkout):
    assert len(COMMANDS) == 9 and "```\nmake demo\n```" in TUTORIAL
    printed = {}
    for command in COMMANDS:
        printed[command] = sh(command)
        if "one_thing.py" in command:
            assert printed[command] == "14 pictures of fish, 14 of other things\n"
            fewer(checkout)
    first = next(text for command, text in printed.items() if "--layer 0,8,24" in command)
    assert "fish" in first.split("Layer 8")[1] and "100 × cosine" in first
    (table,) = [text for command, text in printed.items() if "word_by_layer" in command]
    lines = re.findall(r"^(\w+) +(of it|others) +layer +(\d+) +([\d.]+)", table, re.M)
    said = {tuple(line[:3]): float(line[3]) for line in lines}
    # The finding of the page: early with LatentLens, late with LogitLens, and of fish alone.
    assert said["LatentLens", "of it", "0"] < 10 < 25 < said["LatentLens", "of it", "24"]
    assert max(said["LogitLens", "of it", layer] for layer in ("0", "4", "8", "16", "24")) < 2
    assert max(share for (_, kind, layer), share in said.items() if kind == "others" and layer != "0") < 5
    fish = checkout / ".cache" / "fish"
    assert (fish / "fish.pdf").read_bytes().startswith(b"%PDF") and "</html>" in (fish / "page.html").read_text("utf-8")
    assert "fish" in (fish / "evaluation" / "report.md").read_text(encoding="utf-8")


def test_what_the_tutorial_shows_is_in_the_form_that_the_script_prints():
    shown = re.search(r"^```text\n(.*?)^```", TUTORIAL, re.M | re.S)[1].splitlines()
    assert len(shown) == 24
    assert all(re.fullmatch(r"\w+ +(of it|others) +layer +\d+ +[\d.]+ % \(\d+ to \d+\)", line) for line in shown)


def outputs(notebook):
    """Of each code cell: kinds of its outputs, and the text."""
    cells = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [
        ([sorted(output.get("data", {"stdout": 0})) for output in cell], "".join("".join(text_of(o)) for o in cell))
        for cell in cells
    ]


def text_of(output):
    return output.get("text", output.get("data", {}).get("text/plain", ""))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_show_what_is_kept_in_them(checkout, path):
    """Another bank gives other scores; what is found is the same."""
    kept = outputs(json.loads(path.read_text(encoding="utf-8")))
    ran = outputs(json.loads(sh(f"python examples/run.py examples/{path.name}")))
    assert [kinds for kinds, _ in ran] == [kinds for kinds, _ in kept]
    assert any(kinds for kinds, _ in kept)
    for (_, now), (_, then) in zip(ran, kept, strict=True):
        # "strength 2: dog, hound": the first word where it is steered; "layer 16:  88 %": whether it is some.
        assert re.findall(r"^strength [1-9]: (\w+)", now, re.M) == re.findall(r"^strength [1-9]: (\w+)", then, re.M)
        shares = [[int(share) > 20 for share in re.findall(r"layer \d+: +(\d+) %", text)] for text in (now, then)]
        assert shares[0] == shares[1], now


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_small_and_say_nothing_of_the_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 60_000 and str(ROOT) not in text and "/home/" not in text
    for cell in json.loads(text)["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] in ("stream", "execute_result")
            if picture := output.get("data", {}).get("image/png"):
                assert base64.b64decode(picture).startswith(b"\x89PNG")


def test_the_finding_of_each_notebook():
    """The claims of their text, on the outputs that are kept."""
    finding, own = (outputs(json.loads(path.read_text(encoding="utf-8"))) for path in NOTEBOOKS)
    shares = next(text for _, text in finding if text.startswith("photograph"))
    photo, logit, scene, other = shares.splitlines()
    assert [int(share) > 50 for share in re.findall(r"(\d+) %", photo)] == [False, True, True, True, True, True]
    assert set(re.findall(r"(\d+) %", scene)) | set(re.findall(r"(\d+) %", other)) == {"0"}
    assert [int(share) > 50 for share in re.findall(r"(\d+) %", logit)] == [False] * 5 + [True]
    steered = [re.findall(r"^strength \d: (\w+)", text, re.M) for _, text in own if text.startswith("strength")]
    assert steered == [["dog", "cat", "cat", "cat"], ["dog"] * 4, ["cat", "dog", "dog", "dog"]]


def test_the_front_page_counts_the_sentences_of_the_demo(demo_model):
    """Of those that are read, how many are encoded: as `ingest --plan` counts them."""
    layers = IngestOptions(layers=(1, 2, 4, 8, 12, 16, 20, 24))
    with read_corpora([ROOT / "demo" / "data" / "corpus.txt.gz"]) as corpus:
        found = forecast(read_outline(str(demo_model)), corpus, layers, ROOT)
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"encodes {found.sentences_to_encode:,} of the {found.sentences:,} sentences in the bundled corpus" in readme
    assert f"stores the states of {len(found.layers)} layers" in readme
