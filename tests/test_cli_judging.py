"""The judges as a user meets them. The model is tiny and random, the judge a stand-in."""

import csv
import json

import pytest
from click.testing import CliRunner
from PIL import Image
from standin_judge import judge_server

from lensbank import cli

KEY = "sk-secret-0123456789"


def lens(*args, **options):
    return CliRunner().invoke(cli.main_group, [str(a) for a in args], **options)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        Image.radial_gradient("L").resize((90 + number, 60)).convert("RGB").save(folder / f"{number}.png")
    return folder


@pytest.fixture
def server():
    with judge_server() as running:
        yield running


@pytest.fixture
def evaluate(images, tiny_vlm):
    def run(out, *args, **options):
        common = ("--images", images, "--model", tiny_vlm, "--lens", "logit,embedding", "--layer", "1,3", "--dtype",
                  "float32", "--sample", "4", "--controls", "2", "--out", out)  # fmt: skip
        return lens("evaluate", *common, *args, **options)

    return run


def test_a_model_judges(evaluate, server, tmp_path):
    out, judge = tmp_path / "out", ("--judge", "llm", "--judge-url", server.url, "--judge-model", "m")
    environment = {"env": {"LENSBANK_JUDGE_KEY": KEY}}
    done = evaluate(out, *judge, **environment)
    assert done.exit_code == 2 and "Nothing was sent. Add --yes" in done.stderr and server.requests == []
    assert f"To be sent to {server.url}" in done.stderr and "4 patches of 3 of your images" in done.stderr
    done = evaluate(out, *judge, "--yes", "--max-calls", "3", "--concurrency", "2", **environment)
    assert done.exit_code == 0, done.output
    assert "Note: --max-calls 3 was reached" in done.stderr and len(server.requests) == 3
    done = evaluate(out, *judge, "--yes", "--judge-param", "temperature=0", **environment)
    assert done.exit_code == 0, done.output
    assert {p.name for p in out.iterdir()} == {
        "run.json", "words.jsonl", "judgements.jsonl", "judge-example.json", "table.txt", "table.csv", "table.tex",
        "summary.json", "report.md", "shares.png", "shares.pdf", "shares.svg",
    }  # fmt: skip
    assert (out / "table.txt").read_text() in done.stdout and "Controls" in done.stdout
    assert "share: interpretable" in (out / "table.tex").read_text(encoding="utf-8")
    summary = json.loads((out / "summary.json").read_text())
    assert {row["judged"] for row in summary["results"]} == {4} and summary["settings"]["sample"] == 4
    assert server.requests[-1]["temperature"] == 0 and server.headers[-1]["authorization"] == f"Bearer {KEY}"
    shown = done.output + "".join(p.read_bytes().decode("latin-1") for p in out.iterdir())
    assert KEY not in shown


def test_people_judge(evaluate, images, tmp_path):
    out = tmp_path / "out"
    done = evaluate(out, "--judge", "words")
    assert done.exit_code == 0, done.output
    assert f"lensbank evaluate-labels {out} FILE..." in done.stdout
    for name, label in (("anna", "concrete"), ("ben", "none")):
        with (out / "labels" / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = [{**row, "label": label} for row in csv.DictReader(file)]
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    done = lens("evaluate-labels", out, tmp_path / "anna.csv", tmp_path / "ben.csv")
    assert done.exit_code == 0, done.output
    results = out / "labelled"
    assert {p.name for p in results.iterdir()} == {
        "table.txt",
        "table.csv",
        "table.tex",
        "summary.json",
        "report.md",
        "shares.png",
        "shares.pdf",
        "shares.svg",
    }
    assert "anna and ben" in done.stdout and "50.0 %" in done.stdout
    again = evaluate(out, "--judge", "words")
    assert again.exit_code == 0 and again.stdout == evaluate(out, "--judge", "words").stdout
    assert lens("evaluate-labels", out / "labels", tmp_path / "anna.csv").exit_code == 1
    assert lens("evaluate-labels", out).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--judge", "llm"), "there is no default endpoint"),
        (("--judge", "llm", "--judge-url", "http://localhost:1/v1"), "Give --judge-url and --judge-model"),
        (("--judge", "words", "--judge-url", "http://localhost:1/v1"), "--judge-url has no effect with --judge words"),
        (("--judge", "words", "--yes"), "--yes has no effect with --judge words"),
        (("--controls", "3"), "--controls has no effect with --judge ground-truth"),
        (("--judge", "llm", "--judge-url", "http://x.org/v1", "--judge-model", "m"), "sent unencrypted"),
    ],
)
def test_mistakes_are_noticed_before_a_model_is_loaded(images, tmp_path, arguments, message):
    options = {"env": {"LENSBANK_JUDGE_KEY": KEY}}
    done = lens("evaluate", "--images", images, "--model", "no-such-model", "--lens", "logit", "--out", tmp_path / "o",
                *arguments, **options)  # fmt: skip
    assert done.exit_code == 2 and message in done.stderr and KEY not in done.output
