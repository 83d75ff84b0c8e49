"""The commands as a user meets them: from a shell's words to files, text and exit codes.

Shapes and errors only: the model is tiny and random, so what its neighbours say means nothing.
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_readings import data_of
from PIL import Image

from lensbank import cli
from lensbank.commands.command_line import command_line

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = [
    "a dog sleeps on the red sofa",
    "the cat eats a fish in the garden",
    "two birds fly over the old house",
    "a small boat on the blue sea",
    "the dog and the cat play in the garden",
]


def lens(*args):
    return CliRunner().invoke(cli.main_group, [str(a) for a in args])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "sentences.txt"
    path.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory, corpus, tiny_vlm):
    folder = tmp_path_factory.mktemp("store") / "banks"
    done = lens("ingest", "--model", tiny_vlm, "--layer", "1,2", "--store", folder, "--dtype", "float32", corpus)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "wide.png"
    picture = Image.radial_gradient("L").resize((160, 80)).convert("RGB")
    picture.save(path)
    return path


def query(store, *args):
    return lens("query", *args, "--store", store, "--dtype", "float32")


def answer(store, *args):
    done = query(store, *args, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_ingest_says_what_it_will_do_and_what_it_has_done(tmp_path, corpus, tiny_llm):
    done = lens("ingest", "--model", tiny_llm, "--layer", "1", "--layer", "2", "--store", tmp_path / "s", corpus)
    assert done.exit_code == 0, done.output
    assert "5 sentences" in done.stderr and "To encode:" in done.stderr
    assert "Stored" in done.stdout and "rows" in done.stdout and "on disk" in done.stdout
    assert "lensbank query --text" in done.stdout and str(tmp_path / "s") in done.stdout
    again = lens("ingest", "--model", tiny_llm, "--layer", "1,2", "--store", tmp_path / "s", corpus)
    assert again.exit_code == 0 and "Nothing to do" in again.stdout


def test_a_text_that_is_in_the_bank_finds_itself(store):
    reading = answer(store, "--text", SENTENCES[0], "--layer", "2", "--bank-layer", "2", "--top-k", "1")
    tokens = reading["layers"][0]["tokens"]
    shown = [token for token in tokens if token["label"].strip("Ġ ")]  # lone spaces are not kept in banks
    assert len(shown) > 5
    for token in shown:
        best = token["neighbors"][0]
        assert best["score"] == pytest.approx(1.0, abs=1e-4)
        # Another sentence may share the beginning, and with it the state.
        assert best["sentence"][: best["char_end"]] == SENTENCES[0][: best["char_end"]]


def test_an_image_has_a_reading_for_every_patch_and_layer(store, image):
    reading = answer(store, image, "--layer", "0,1,2")
    assert (reading["width"], reading["height"]) == (160, 80)
    assert [layer["layer"] for layer in reading["layers"]] == [0, 1, 2]
    for layer in reading["layers"]:
        assert len(layer["tokens"]) == 9
        for token in layer["tokens"]:
            scores = [n["score"] for n in token["neighbors"]]
            assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    boxes = [t["box"] for t in reading["layers"][0]["tokens"]]
    assert sum((b["x1"] - b["x0"]) * (b["y1"] - b["y0"]) for b in boxes) == pytest.approx(160 * 80)
    assert boxes[1]["x0"] == pytest.approx(160 / 3) and boxes[1]["y0"] == 0


def test_the_table_is_readable_at_100_columns(store, image):
    done = query(store, image, "--layer", "1", "--patch", "0,2")
    assert done.exit_code == 0, done.output
    assert "Layer 1" in done.stdout and "0,2" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_filters_distinct_and_bank_layers_hold(store, image):
    reading = answer(
        store, image, "--layer", "2", "--bank-layer", "1", "--where", "is_word=true", "--where", "word!=the",
        "--where", "position>=1", "--distinct", "word", "--patch", "1,1",
    )  # fmt: skip
    (token,) = reading["layers"][0]["tokens"]
    words = [n["word"] for n in token["neighbors"]]
    assert (token["row"], token["col"]) == (1, 1)
    assert len({w.casefold() for w in words}) == len(words) == 5
    assert "the" not in words
    assert all(n["is_word"] and n["position"] >= 1 and n["bank_layer"] == 1 for n in token["neighbors"])
    assert reading["search"]["where"] == ["is_word=true", "word!=the", "position>=1"]


def test_lenses_side_by_side(store, image, tiny_vlm):
    reading = answer(store, image, "--layer", "1,3", "--lens", "logit,latent", "--lens", "embedding", "--patch", "1,1")
    assert reading["search"]["lenses"] == ["logit", "latent", "embedding"]
    for layer in reading["layers"]:
        (token,) = layer["tokens"]
        assert (
            len(token["neighbors"]) == len(token["vocabulary"]["logit"]) == len(token["vocabulary"]["embedding"]) == 5
        )
    # Without LatentLens there need be no store.
    alone = answer("no-such-store", image, "--model", tiny_vlm, "--layer", "3", "--lens", "logit", "--patch", "1,1")
    (other,) = alone["layers"][0]["tokens"]
    assert [e["token_id"] for e in other["vocabulary"]["logit"]] == [
        e["token_id"] for e in token["vocabulary"]["logit"]
    ]
    assert other["neighbors"] == [] and alone["banks"] == []


def test_a_lens_that_there_is_not(store, image):
    done = query(store, image, "--lens", "tuned")
    assert done.exit_code == 2 and "choose from latent, logit, embedding" in done.stderr


def test_approximate_search_reports_its_recall(store, image):
    search = answer(store, image, "--layer", "1", "--approximate")["search"]
    assert search["exact"] is False and 0 <= search["recall"] <= 1 and search["recall_states"] > 0
    shown = query(store, image, "--layer", "1", "--approximate").stdout
    assert f"approximate, recall@5 {search['recall']:.3f} on {search['recall_states']} states" in " ".join(
        shown.split()
    )
    unchecked = answer(store, image, "--layer", "1", "--approximate", "--no-recall-check")["search"]
    assert unchecked["recall"] is None and unchecked["exact"] is False
    assert "recall not measured" in query(store, image, "--layer", "1", "--approximate", "--no-recall-check").stdout


def test_both_ways_of_exact_search_say_which_they_are_and_find_the_same(store, image):
    found = {}
    for way in ("engine", "product"):
        reading = answer(store, image, "--layer", "1,2", "--search", way)
        assert {bank["way"] for bank in reading["search"]["banks"]} == {way}
        found[way] = [
            [(n["point_id"], round(n["score"], 5)) for n in token["neighbors"]]
            for layer in reading["layers"]
            for token in layer["tokens"]
        ]
        assert f"exact by {way}" in " ".join(query(store, image, "--layer", "1", "--search", way).stdout.split())
    assert found["engine"] == found["product"]
    assert answer(store, image, "--layer", "1")["search"]["banks"][0]["way"] == "product"


def test_several_images_in_one_file(store, image, tmp_path):
    out = tmp_path / "readings.json"
    done = query(store, image, image, "--layer", "1", "--format", "json", "--out", out)
    assert done.exit_code == 0 and done.stdout == ""
    said = done.stderr.splitlines()
    assert said.count("reading 2 images ...") == 1 and not [line for line in said if "searching" in line]
    assert len([line for line in said if line.startswith("Memory")]) == 1 and "\r" not in done.stderr
    assert said[-1] == f"Wrote {out}."
    readings = json.loads(out.read_text(encoding="utf-8"))["readings"]
    assert len(readings) == 2 and readings[0]["layers"] == readings[1]["layers"]


def picture_of(data):
    """What a page with one reading of one image draws it on."""
    ((image,),) = (reading["images"] for reading in data["readings"])
    return data["pictures"][image["picture"]]


def test_a_page_is_written_with_the_command_that_makes_it_again(store, image, tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    monkeypatch.setenv("LENSBANK_STORE", str(store))
    done = lens("query", image, "--layer", "1", "--approximate", "--silent", "--format", "html", "--out", out)
    assert done.exit_code == 0 and done.stdout == "" and "Wrote" not in done.stderr
    data = data_of(out.read_text(encoding="utf-8"))
    (reading,) = data["readings"]
    assert reading["source"] == "wide.png" and picture_of(data).startswith("data:image/png;base64,")
    words = shlex.split(data["command"])
    assert words[:3] == ["lensbank", "query", str(image)]
    assert sorted(words[3:]) == sorted(
        ["--layer", "1", "--approximate", "--format", "html", "--out", str(out), "--store", str(store)]
    )
    again = lens(*words[1:])
    assert again.exit_code == 0 and data_of(out.read_text(encoding="utf-8")) == data


def test_an_image_from_standard_input_is_on_its_page(store, image, tmp_path):
    args = ["query", "-", "--store", str(store), "--layer", "1", "--format", "html"]
    done = CliRunner().invoke(cli.main_group, args, input=image.read_bytes())
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("<!doctype html>")
    assert picture_of(data_of(done.stdout)).startswith("data:image/png;base64,")


def test_a_figure_is_as_its_files_ending_says(store, image, tmp_path):
    out = tmp_path / "figure.png"
    done = query(store, image, "--layer", "1", "--patch", "0,1", "--out", out)
    assert done.exit_code == 0 and done.stdout == ""
    with Image.open(out) as figure:
        assert figure.format == "PNG" and figure.width > 800
    assert_one_sentence(query(store, "--text", "a", "--format", "png", "--out", out), 2, "draws on an image")


def test_passwords_in_a_stores_url_are_not_shown():
    import click

    command = cli.main_group.commands["query"]
    with command.make_context("query", ["a.png", "--store", "https://me:secret@host:6333", "--debug"]) as context:
        assert command_line(context) == "lensbank query a.png --store https://host:6333"
        assert isinstance(context, click.Context)


def test_the_result_names_what_made_it(store, image):
    reading = answer(store, image, "--layer", "1")
    assert reading["version"] == 3 and reading["tool"].startswith("lensbank")
    assert reading["model"]["weights"] == reading["banks"][0]["weights"]
    assert len(reading["sha256"]) == 64 and "<image>" in reading["prompt"]


def bad_files(folder):
    good = folder / "good.png"
    Image.new("RGB", (40, 40)).save(good)
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(good.read_bytes()[:60])
    (folder / "text.jpg").write_text("not an image")
    bomb = good.read_bytes()
    header = bytearray(bomb)
    header[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    (folder / "bomb.png").write_bytes(bytes(header))
    (folder / "binary.txt").write_bytes(b"abc\x00\x01\x02")
    (folder / "latin1.txt").write_bytes("ok\ncaf\xe9 noir\n".encode("latin-1"))
    (folder / "blank.txt").write_text("\n \n")
    (folder / "rows.csv").write_text("id,caption,title\n1,a dog,x\n")
    (folder / "file-not-folder").write_text("x")


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    bad_files(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("missing.png", 1, "missing.png"),
        ("empty.png", 1, "empty"),
        ("cut.png", 1, "cut"),
        ("text.jpg", 1, "not an image"),
        ("bomb.png", 1, "pixel"),
    ],
)
def test_bad_images(store, bad, name, code, said):
    done = query(store, bad / name)
    assert_one_sentence(done, code, said)


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("missing.txt", 1, "missing.txt"),
        ("blank.txt", 1, "no sentences"),
        ("binary.txt", 1, "binary"),
        ("latin1.txt", 1, "latin1.txt, line 2"),
        ("rows.csv", 1, None),
    ],
)
def test_bad_corpora(bad, tiny_llm, tmp_path, name, code, said):
    extra = ["--text-field", "text"] if name == "rows.csv" else []
    done = lens("ingest", "--model", tiny_llm, "--layer", 1, "--store", tmp_path / "s", *extra, bad / name)
    assert_one_sentence(done, code, said or "caption")
    assert lens("query", "--text", "a", "--store", tmp_path / "s").exit_code != 0


def assert_one_sentence(done, code, said):
    assert done.exit_code == code, done.output
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ") and said in last, done.stderr
    assert "Traceback" not in done.output and done.stdout == ""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--layer", "99"], "Layer 99"),
        (["--layer", "x"], "--layer"),
        (["--bank-layer", "3"], "layer"),
        (["--patch", "9,0"], "Patch 9,0"),
        (["--patch", "9"], "ROW,COL"),
        (["--where", "wrod=dog"], "wrod"),
        (["--where", "position=three"], "integer"),
    ],
)
def test_what_cannot_be_is_a_usage_error(store, image, args, said):
    assert_one_sentence(query(store, image, *args), 2, said)


def test_image_and_text_together_or_neither(store, image):
    assert query(store, image, "--text", "a").exit_code == 2
    assert query(store).exit_code == 2


def test_a_layer_the_model_lacks(corpus, tiny_llm, tmp_path):
    done = lens("ingest", "--model", tiny_llm, "--layer", "99", "--store", tmp_path / "s", corpus)
    assert_one_sentence(done, 2, "99")


def test_a_text_only_model_cannot_be_shown_an_image(corpus, tiny_llm, tmp_path, image):
    lens("ingest", "--model", tiny_llm, "--layer", "1", "--store", tmp_path / "s", corpus)
    assert_one_sentence(query(tmp_path / "s", image), 1, "text-only")


def test_another_models_store_is_refused_with_both_values(store, image, tmp_path):
    from tiny_models import save_fastvlm

    other = save_fastvlm(tmp_path / "other", seed=7)
    done = query(store, image, "--model", other)
    assert_one_sentence(done, 1, "weights")


def test_no_store_and_no_model(image, tmp_path, corpus, bad):
    assert_one_sentence(query(tmp_path / "nowhere", image), 1, "nowhere")
    assert_one_sentence(query(bad / "file-not-folder", image), 1, "file-not-folder")
    done = lens("ingest", "--model", tmp_path / "no-model", "--layer", "1", "--store", tmp_path / "s", corpus)
    assert_one_sentence(done, 1, "no-model")


INTERRUPTED = """
import os, signal
from lensbank import cli
from lensbank.commands.progress import TerminalProgress as Shown

begin, go_on, batches = Shown.start, Shown.advance, []

def start(shown, phase, *size):
    begin(shown, phase, *size)
    Shown.advance = advance if phase == "Encoding" else go_on

def advance(shown, count):
    go_on(shown, count)
    batches.append(count)
    if len(batches) == 5:
        os.kill(os.getpid(), signal.SIGINT)

Shown.start = start
cli.main()
"""


def test_an_interrupted_ingest_is_not_searched_and_goes_on(tmp_path, tiny_llm):
    corpus = tmp_path / "long.txt"
    corpus.write_text("\n".join(f"{a} and {b} {i}" for i, a in enumerate(SENTENCES * 8) for b in SENTENCES))
    folder = tmp_path / "s"
    args = ["ingest", "--model", tiny_llm, "--layer", "1", "--max-contexts", "all", "--batch-tokens", "20"]
    args += ["--store", folder, corpus]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *map(str, args)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 130, done.stderr
    assert "Interrupted" in done.stderr and "Traceback" not in done.stderr
    asked = lens("query", "--text", "a dog", "--store", folder)
    assert_one_sentence(asked, 1, "not complete")
    done = lens(*args)
    assert done.exit_code == 0 and "the ingest continues from there" in done.stderr, done.stderr
    assert lens("query", "--text", "a dog", "--store", folder, "--layer", "1").exit_code == 0


def test_output_into_a_closed_pipe_is_no_error(store, image):
    command = f"{sys.executable} {ROOT / 'cli.py'} query {image} --store {store} --format json | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_version_and_help():
    assert lens("--version").stdout.startswith("lensbank")
    for command in ("ingest", "query"):
        shown = lens(command, "--help").stdout
        assert "Example:" in shown and "--store" in shown
