"""The evaluation as a user meets it. The model is tiny and random: shapes and errors only."""

import csv
import json

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_vlms import TINY

from lensbank import cli
from lensbank.evaluate.tables import Evaluation, to_latex

NAMES = [("red", "a"), ("green", "a"), ("blue", "b")]
SENTENCES = ["a dog sleeps on the red sofa", "the cat eats a fish", "two birds fly over the house"]


def lens(*args):
    return CliRunner().invoke(cli.main_group, [str(a) for a in args])


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_vlm):
    folder = tmp_path_factory.mktemp("bank")
    (folder / "lines.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    arguments = ("--layer", "1,2", "--store", folder / "store", "--dtype", "float32", folder / "lines.txt")
    done = lens("ingest", "--model", tiny_vlm, *arguments)
    assert done.exit_code == 0, done.output
    return folder / "store"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, (color, _) in enumerate(NAMES):
        Image.radial_gradient("L").resize((90 + number, 60)).convert("RGB").save(folder / f"{color}.png")
    data = {
        "images": [{"id": n, "file_name": f"{c}.png", "group": g} for n, (c, g) in enumerate(NAMES)],
        "annotations": [{"id": n, "image_id": n, "category_id": n % 2, "bbox": [0, 0, 45, 30]} for n in range(3)],
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "zebra"}],
    }  # fmt: skip
    (folder / "annotations.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def evaluate(store, images, out, *args):
    return lens("evaluate", "--images", images, "--store", store, "--dtype", "float32", "--out", out, *args)


def test_an_evaluation_writes_its_results(store, images, tmp_path):
    out = tmp_path / "results"
    done = evaluate(store, images, out, "--layer", "0,2")
    assert done.exit_code == 0, done.output
    assert {p.name for p in out.iterdir()} == {
        "run.json", "words.jsonl", "table.txt", "table.csv", "table.tex", "gaps.csv", "summary.json", "report.md",
        "shares.png", "shares.pdf", "shares.svg", "leap.png", "leap.pdf", "leap.svg", "misses.png", "misses-2.png",
    }  # fmt: skip
    assert (out / "table.txt").read_text() in done.stdout and "a (2 images)" in done.stdout
    assert "Note: The bank has fewer than 5 contexts for 2 of 2 concepts" in done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert [row["layer"] for row in summary["results"] if row["group"] == "a" and row["lens"] == "logit"] == [0, 2]
    assert summary["results"][0]["object_patches"] == 2  # of nine patches one has its centre in the box
    before = (out / "words.jsonl").read_bytes()
    again = evaluate(store, images, out, "--layer", "0,2")
    assert again.exit_code == 0 and (out / "words.jsonl").read_bytes() == before
    assert json.loads((out / "summary.json").read_text()) == summary
    other = evaluate(store, images, out, "--layer", "0,1")
    assert other.exit_code == 2 and "layers was [0, 2], now [0, 1]" in other.stderr


def test_without_a_bank(images, tmp_path, tiny_vlm):
    arguments = ("--model", tiny_vlm, "--lens", "logit", "--layer", "3", "--sample", "6")
    done = evaluate("no-store", images, tmp_path / "out", *arguments)
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["coverage"] == [] and summary["settings"]["sample"] == 6 and summary["leads"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--lens", "tuned"), 2, "choose from latent, logit, embedding"),
        (("--layer", "9"), 2, "Layer 9 does not exist"),
        (("--annotations", "gone.json"), 2, "does not exist"),
        (("--where", "colour=red"), 2, "unknown field"),
    ],
)
def test_errors(store, images, tmp_path, arguments, code, message):
    done = evaluate(store, images, tmp_path / "out", *arguments)
    assert done.exit_code == code and message in done.stderr
    assert not (tmp_path / "out" / "words.jsonl").exists()


def test_images_without_annotations(store, images, tmp_path):
    (tmp_path / "plain").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "plain" / "a.png")
    done = evaluate(store, tmp_path / "plain", tmp_path / "out")
    assert done.exit_code == 2 and "no annotations.json" in done.stderr
    done = lens("evaluate", "--store", store, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "Give --images" in done.stderr
    empty = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}
    (tmp_path / "plain" / "annotations.json").write_text(json.dumps(empty))
    done = evaluate(store, tmp_path / "plain", tmp_path / "out")
    assert done.exit_code == 2 and "No object is annotated" in done.stderr


def test_an_evaluation_says_how_banks_were_searched(store, images, tmp_path):
    shares = {}
    for way in ("engine", "product"):
        out = tmp_path / way
        done = evaluate(store, images, out, "--layer", "2", "--lens", "latent", "--search", way)
        assert done.exit_code == 0, done.output
        assert f"exact search by {way}" in (out / "report.md").read_text(encoding="utf-8")
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        assert summary["ways"] == [way]
        shares[way] = summary["results"]
    assert shares["engine"] == shares["product"]


def test_an_evaluation_is_also_a_table_for_other_programs(store, images, tmp_path):
    out = tmp_path / "results"
    done = evaluate(store, images, out, "--layer", "0,2")
    assert done.exit_code == 0, done.output
    summary = Evaluation(json.loads((out / "summary.json").read_text(encoding="utf-8")))
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summary["results"]) == len(summary.to_frame())
    for row, result in zip(rows, summary["results"], strict=True):
        share = result["shares"]["concrete"]
        assert (row["group"], row["lens"], int(row["layer"])) == (result["group"], result["lens"], result["layer"])
        assert [row["concrete"], row["concrete_low"], row["concrete_high"]] == (
            ["", "", ""] if share is None else [str(share[end]) for end in ("value", "low", "high")]
        )
        assert "shuffled" in row and "random_vectors_high" in row
    latex = (out / "table.tex").read_text(encoding="utf-8")
    assert latex.count(r"\midrule") == len({row["group"] for row in rows})
    assert "layer & LatentLens & LogitLens & EmbeddingLens" in latex and r"\bottomrule" in latex


def test_names_are_harmless_in_latex():
    summary = {
        "tool": "lensbank 0", "settings": {"lenses": ["latent"]},
        "results": [{"group": r"a_b & 50% \x{}", "lens": "latent", "layer": 3, "shares": {
            "concrete": {"value": 0.5, "low": 0.25, "high": 1.0}}}],
    }  # fmt: skip
    latex = to_latex(summary)
    assert r"a\_b \& 50\% \textbackslash{}x\{\}" in latex and r"3 & 50.0 (25--100) \\" in latex


def test_an_odd_image_is_named_on_the_terminal(tmp_path):
    """Among lists for people, too, where no table is shown: it is left out with a note, and the run goes on."""
    model = TINY["qwen2_vl"].save(tmp_path / "q")
    (tmp_path / "images").mkdir()
    for name, size in (("p0", (64, 48)), ("p1", (900, 2)), ("p2", (48, 64))):
        Image.effect_noise(size, 90).convert("RGB").save(tmp_path / "images" / f"{name}.png")
    arguments = ("--judge", "words", "--lens", "embedding", "--layer", "0", "--sample", "6", "--dtype", "float32")
    for _ in range(2):
        done = lens(
            "evaluate", "--model", model, "--images", tmp_path / "images", "--out", tmp_path / "out", *arguments
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        [line] = [line for line in done.stderr.splitlines() if "left out" in line]
        assert line.startswith("Note: p1.png is left out: ") and "got 450.0" in line
    assert (tmp_path / "out" / "words.jsonl").read_text().count("\n") == 2
