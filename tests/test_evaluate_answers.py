"""The model's answers in an evaluation: their words through the lenses, what is counted, and resumed or refused."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from evaluation_fixtures import CAR, DOG, annotated, thing
from PIL import Image
from query_banks import write_sentences
from tiny_models import SENTENCES

from lensbank import cli
from lensbank.evaluate import answers
from lensbank.evaluate.annotations import AnnotatedImage
from lensbank.evaluate.answer_measures import answers_summary
from lensbank.evaluate.answer_records import ANSWERS_FILE, AnswerWords
from lensbank.evaluate.run import evaluate_ground_truth
from lensbank.evaluate.sampling import ReadingOptions
from lensbank.models.loading import load_model
from lensbank.query.asked import Asked, AskedToken
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.errors import InputError, ModelError, UsageError
from lensbank.schemas.positions import Emitted
from lensbank.schemas.progress import Silent
from lensbank.store.opening import open_store

LENSES = ("latent", "logit", "embedding")
TOKENS = 4


@pytest.fixture(scope="module")
def session(tmp_path_factory, tiny_vlm):
    loaded = load_model(str(tiny_vlm), device="cpu", dtype="float32")
    with open_store(tmp_path_factory.mktemp("store"), create=True) as store:
        write_sentences(store, loaded, SENTENCES, (1, 2))
        options = QueryOptions(layers=(0, 2), lenses=LENSES, top_k=3, prompt="What is it?")
        with QuerySession(store, loaded, options) as opened:
            yield opened


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three with a thing, and one that nothing is known of."""
    folder = tmp_path_factory.mktemp("images")
    made = []
    for number, things in enumerate(
        [(thing(DOG, 0, 0, 20, 20),), (thing(CAR, 0, 0, 20, 20),), (), (thing(DOG, 0, 0, 9, 9),)]
    ):
        pixels = np.random.default_rng(number).integers(0, 256, (40 + number, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        made.append(AnnotatedImage(folder / f"{number}.png", f"{number}.png", things=things))
    return made


def read(session, images, out, left_out=None):
    out.mkdir(exist_ok=True)
    return answers.read_answers(session, images, TOKENS, out, Silent(), {} if left_out is None else left_out)


def test_words_are_those_of_the_query(session, images, tmp_path):
    found = read(session, images, tmp_path / "out")
    options = replace(session.options, read=("answer",), answer_tokens=TOKENS)
    for image, words in zip(images, found, strict=True):
        asked = answers.ask_image(session.loaded, image.path, session.layers, options)
        assert (words.name, words.sha256, words.answer) == (image.name, asked.sha256, asked.answer)
        assert len(words.own) == len(asked.tokens) > 0 and set(words.words) == {0, 2}
        seen = session.vectors(asked.states)
        for lens in LENSES:
            for layer in (0, 2):
                assert words.words[layer][lens] == tuple(
                    tuple(word.word for word in row) for row in seen[lens].found[layer]
                )
        assert AnswerWords.from_json(words.to_json()) == words


def test_a_word_in_several_tokens_is_one_word():
    """Of ``A fox.`` in four tokens; behind it the model would say `` runs``."""
    spans = [(0, 1), (2, 3), (3, 5), (5, 6)]
    said = ["f", "ox", ".", "runs"]
    tokens = tuple(
        AskedToken(9 + i, "", char_start=start, char_end=end, kind="answer", emitted=Emitted(word, word, i))
        for i, ((start, end), word) in enumerate(zip(spans, said, strict=True))
    )
    own, emitted = answers._spoken(Asked("image", "a.png", "0", "What?", tokens, {}, answer="A fox."))
    assert own == ("A", "fox", "fox", ".") and emitted == ("fox", "fox", ".", "runs")


def answered(name, own, emitted, **lenses):
    rows = {8: {lens: tuple(tuple(words.split()) for words in said) for lens, said in lenses.items()}}
    return AnswerWords(name, "0" * 64, " ".join(own), tuple(own), tuple(emitted), rows)


def test_what_is_counted():
    """Things anywhere in the image count; the same words against another image's things are the control."""
    dog, car = annotated("a", thing(DOG, 0, 0, 9, 9)), annotated("b", thing(CAR, 0, 0, 9, 9))
    both = annotated("c", thing(CAR, 0, 0, 9, 9), thing(DOG, 0, 0, 9, 9))
    said = [
        answered("a", ["my", "dog"], ["dog", "!"], latent=["puppies x", "car"]),  # 1 of 2; elsewhere: half, all
        answered("b", ["my", "dog"], ["dog", "!"], latent=["dog y", "cats"]),  # none; elsewhere: all, none
        answered("c", [], [], latent=[]),
    ]
    result = answers_summary([dog, car, both], said, 2)
    [row] = result["results"]
    assert result["tokens"] == 2
    assert (row["group"], row["lens"], row["layer"], row["images"], row["positions"]) == (
        "all images",
        "latent",
        8,
        3,
        4,
    )
    shares = {name: share["value"] for name, share in {**row["shares"], **row["controls"]}.items()}
    assert shares == {
        "named": 0.25, "own": 0.25, "emitted": 0.25, "above_chance": 0.25 - 0.625,
        "shuffled": (0.5 + 1 + 1) / 4, "own_shuffled": (0.5 + 1) / 4, "emitted_shuffled": (0.5 + 1) / 4,
    }  # fmt: skip
    assert row["shares"]["named"]["low"] < 0.25 < row["shares"]["named"]["high"]
    alone = answers_summary([dog], said[:1], 2)["results"][0]
    assert alone["controls"]["shuffled"] is None and alone["shares"]["above_chance"] is None  # no other image
    with pytest.raises(ValueError, match="different images"):
        answers_summary([car], said[:1], 2)


def test_an_interrupted_run_goes_on(session, images, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "_ANSWERS_AT_ONCE", 1)  # every image is a batch of its own
    whole = read(session, images, tmp_path / "whole")
    shown = []
    real = answers.ask_image

    def failing(loaded, path, *rest):
        shown.append(path.name)
        if len(shown) == 3:
            raise KeyboardInterrupt
        return real(loaded, path, *rest)

    monkeypatch.setattr(answers, "ask_image", failing)
    with pytest.raises(KeyboardInterrupt):
        read(session, images, tmp_path / "cut")
    file = tmp_path / "cut" / ANSWERS_FILE
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    file.write_bytes(lines[0] + lines[1][:50])  # and the last line is cut short
    assert read(session, images, tmp_path / "cut") == whole
    assert shown[3:] == ["1.png", "2.png", "3.png"]  # what was on record is not shown again
    damaged = json.loads(lines[0])
    damaged["own"].append("more")
    file.write_text(json.dumps(damaged) + "\n")
    with pytest.raises(InputError, match="Line 1 of .* is damaged"):
        read(session, images, tmp_path / "cut")


def test_an_image_without_room_for_an_answer_is_named(session, images, tmp_path, monkeypatch):
    real = answers.ask_image

    def narrow(loaded, path, *rest):
        if path.name == "1.png":
            raise UsageError("The answer is too long.")
        return real(loaded, path, *rest)

    monkeypatch.setattr(answers, "ask_image", narrow)
    done = evaluate_ground_truth(session, images, ReadingOptions(answer_tokens=TOKENS), tmp_path / "out", Silent())
    assert "1.png is left out of the answers: The answer is too long." in done["notes"]
    assert done["groups"][0]["images"] == 4  # its patches are read all the same
    assert {row["images"] for row in done["answers"]["results"]} == {2}  # nothing is known of one
    with pytest.raises(UsageError, match="too long"):
        read(session, images[1:2], tmp_path / "none")


def test_what_cannot_be_answered_is_refused_before_anything_slow(session, images, tmp_path, monkeypatch):
    monkeypatch.setattr(type(session.loaded.model), "can_generate", lambda *_: False)
    with pytest.raises(ModelError, match="cannot generate an answer") as caught:
        evaluate_ground_truth(session, images, ReadingOptions(answer_tokens=2), tmp_path / "out", Silent())
    assert caught.value.hint == "Leave out --answer-tokens." and not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="--centre subtracts a mean of patches"):
        ReadingOptions(answer_tokens=2).require_raw_answers(centre=True)
    with pytest.raises(UsageError, match="answer_tokens is 0"):
        ReadingOptions(answer_tokens=0)


def lens(*args):
    return CliRunner().invoke(cli.main_group, [str(a) for a in args])


def test_answers_on_the_command_line(images, tiny_vlm, tmp_path, monkeypatch):
    names = [{"id": n, "file_name": image.name, "group": "a"} for n, image in enumerate(images)]
    boxes = [{"id": n, "image_id": n, "category_id": 0, "bbox": [0, 0, 45, 30]} for n in (0, 1)]
    file = tmp_path / "annotations.json"
    data = {"images": names, "annotations": boxes, "categories": [{"id": 0, "name": "dog"}]}
    file.write_text(json.dumps(data), encoding="utf-8")
    given = ("--model", tiny_vlm, "--images", images[0].path.parent, "--annotations", file, "--dtype", "float32")
    given = ("evaluate", *given, "--lens", "logit,embedding", "--layer", "0,2")
    plain, out = tmp_path / "plain", tmp_path / "out"
    asking = (*given, "--out", out, "--answer-tokens", 3, "--prompt", "Well?")
    done = lens(*asking)
    assert done.exit_code == 0, done.output
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    with (out / "answers.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    results = summary["answers"]["results"]
    assert [(row["lens"], int(row["layer"])) for row in rows] == [(r["lens"], r["layer"]) for r in results]
    assert len(rows) == 4 and {"named_low", "shuffled", "own", "emitted_shuffled_high"} <= set(rows[0])
    assert {row["positions"] for row in rows} == {str(results[0]["positions"])} and results[0]["images"] == 2
    told = " ".join(done.stdout.split())
    assert "Answers, a (2 images) a: at layer 0, its best of 2," in told and "the words emitted there at" in told
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "## The model's answers" in report and "### Answers, a (2 images)" in report and "3 tokens at most" in report
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(answers, "ask_image", lambda *_: pytest.fail("asked again"))
    assert lens(*asking).exit_code == 0
    assert all((out / name).read_bytes() == kept[name] for name in ("answers.jsonl", "answers.csv", "summary.json"))
    for other, now in ((("--answer-tokens", 4), "4"), ((), "null")):
        refused = lens(*given, "--out", out, "--prompt", "Well?", *other)
        assert refused.exit_code == 2 and f"answer_tokens was 3, now {now}" in refused.stderr
    alone = lens(*given, "--out", plain, "--prompt", "Well?")  # what is said of patches is the same without
    assert alone.exit_code == 0 and "answers" not in json.loads((plain / "summary.json").read_text(encoding="utf-8"))
    assert not (plain / "answers.csv").exists() and not (plain / ANSWERS_FILE).exists()
    assert all((plain / name).read_bytes() == kept[name] for name in ("words.jsonl", "table.csv", "gaps.csv"))
    assert "answer_tokens" not in json.loads((plain / "run.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--centre",), "--centre subtracts a mean of patches"),
        (("--judge", "words"), "--answer-tokens has no effect with --judge words"),
    ],
)
def test_what_goes_with_patches_alone_is_refused(images, tiny_vlm, tmp_path, arguments, message):
    folder = images[0].path.parent
    data = {"images": [{"id": 0, "file_name": "0.png"}], "annotations": [], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(data))
    given = ("--model", tiny_vlm, "--images", folder, "--annotations", tmp_path / "a.json", "--out", tmp_path / "out")
    done = lens("evaluate", *given, "--answer-tokens", 2, *arguments)
    assert done.exit_code == 2 and message in done.stderr and not (tmp_path / "out").exists()
