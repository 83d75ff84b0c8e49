"""What a person reads of an evaluation: table, report and plots, from the summary alone."""

import csv
import json
import re
import sys
from itertools import pairwise

import pytest
from evaluation_fixtures import CAR, DOG, TRUCK, annotated, said, thing

from lensbank.evaluate.coverage import Coverage
from lensbank.evaluate.example_pictures import draw_examples
from lensbank.evaluate.plots import draw, require_matplotlib
from lensbank.evaluate.report import percent, to_markdown, to_table
from lensbank.evaluate.run import write_outputs
from lensbank.evaluate.summary import Evaluated, ground_truth_summary
from lensbank.schemas.errors import UsageError

SETTINGS = {
    "model": {"id": "a-model", "revision": None, "weights": "f" * 64, "tokenizer": "e" * 64, "dtype": "float32"},
    "banks": [{"layer": n, "rows": 1234, "corpora": [{"name": "lines.txt"}]} for n in (2, 8)],
    "layers": [0, 8],
    "lenses": ["latent", "logit"],
    "top_k": 5,
    "where": ["is_word=true"],
    "distinct": None,
    "exact": True,
    "prompt": None,
    "sample": None,
    "seed": 0,
    "random_vectors": 8,
}


def summary_of(street_words, yard_words, **changes):
    images = [
        annotated("a", thing(DOG, 0, 0, 20, 10), group="street"),
        annotated("b", thing(CAR, 0, 0, 20, 10), group="street"),
        annotated("c", thing(TRUCK, 0, 0, 20, 10), group="yard"),
    ]
    banks = {0: (((2, 8)),) * 4, 8: ((8, 8),) * 4}
    words = [
        said("a", street_words, ("x",), bank_layers=banks),
        said("b", street_words, ("x",), bank_layers=banks),
        said("c", yard_words, ("x",), bank_layers=banks),
    ]
    covered = (Coverage("fire truck", 2), Coverage("dog", 40), Coverage("car", 41))
    return ground_truth_summary(Evaluated("ground-truth", SETTINGS, images, words, covered, ("A note.",), **changes))


@pytest.fixture
def summary():
    dogs = ["dog", "dog", "x", "x"]
    nothing = ["x"] * 4
    return summary_of(
        {0: {"latent": nothing, "logit": dogs}, 8: {"latent": dogs, "logit": nothing}},
        {0: {"latent": nothing, "logit": nothing}, 8: {"latent": ["truck"] * 4, "logit": nothing}},
    )


def test_the_summary_holds_every_figure(summary):
    rows = {(r["group"], r["lens"], r["layer"]): r for r in summary["results"]}
    assert len(rows) == 2 * 2 * 2
    assert rows["street", "latent", 8]["shares"]["concrete"]["value"] == 0.5
    assert rows["street", "latent", 8]["controls"]["shuffled"]["value"] == 0.5  # the dog image's words on the car's: 0
    assert rows["yard", "latent", 8]["shares"]["concrete"]["value"] == 0
    assert rows["yard", "latent", 8]["shares"]["loose"]["value"] == 1
    leads = {(r["group"], r["layer"]): r for r in summary["leads"]}
    assert leads["street", 0]["lead"]["value"] == -0.5 and leads["street", 8]["lead"]["value"] == 0.5
    means = {(r["group"], r["lens"]): r for r in summary["means"]}
    assert means["street", "latent"]["concrete"]["value"] == 0.25
    assert summary["leap"] == {"query_layers": [0, 8], "bank_layers": [2, 8], "shares": [[0.5, 0.5], [0.0, 1.0]]}
    assert summary["groups"][0] == {"group": "street", "images": 2, "things": 2}
    assert any("fewer than 5 contexts for 1 of 3 concepts" in n and "fire truck (2)" in n for n in summary["notes"])
    assert any("too narrow" in note and "street (2), yard (1)" in note for note in summary["notes"])
    assert rows["yard", "latent", 8]["controls"]["shuffled"] is None  # it has no other image
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_the_table_is_aligned(summary):
    lines = to_table(summary).split("\n")
    assert lines[0] == "street (2 images)"
    first = next(number for number, line in enumerate(lines) if line.startswith("LatentLens"))
    head = lines[2:first]  # titles of several words stand below each other
    assert head[-1].index("layer") == lines[first].index("0") and "50.0 % (0 to 100)" in to_table(summary)
    assert "shuffled" in head[-1] and "loose" in head[-1]
    assert max(map(len, lines)) <= 100  # what has no room goes on below
    assert [line.split()[:2] for line in lines if line.startswith("LogitLens")].count(["LogitLens", "0"]) == 4
    assert "loose" not in "".join(to_table(summary_of(["dog"] * 4, ["x"] * 4)).split("\n")[2:5])


def test_the_report_reads(summary):
    report = to_markdown(summary, ["shares.png"])
    assert report.startswith("# Evaluation of a-model\n")
    assert "3 images, query layers 0, 8, LatentLens, LogitLens, 5 words per visual token." in report
    assert "LatentLens searched bank layers 2, 8, 1,234 rows each, of lines.txt." in report
    assert "(shares.png)" in report and "(leap.png)" not in report
    assert "No lens is ahead at layer 0, 8" in report  # two images tell nothing
    assert "median 40; fewest: fire truck 2, dog 40, car 41" in " ".join(report.split())
    assert "filters: is_word=true" in report and "* A note." in report
    for table in re.findall(r"(?:^\|.*\n)+", report, re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1
    prose = [line for line in report.split("\n") if not line.startswith(("|", "!"))]
    assert max(map(len, prose)) <= 100


def test_the_report_leads_with_a_sentence_and_its_interval(summary):
    first = " ".join(to_markdown(summary).split("\n\n")[1].split())
    assert first.startswith(
        "**street: at layer 8, its best of 2, LatentLens names the thing under 50.0 % (0 to 100) of 4 object patches; "
        "the chance level (the same words on other images) is 50.0 %. LogitLens"
    )
    assert "at layer 0. The best layers were chosen on the same images.**" in first


def test_each_concept_has_its_share_at_the_best_layer(summary):
    rows = {(r["group"], r["lens"], r["concept"]): r for r in summary["concepts"]}
    assert rows["street", "latent", "dog"]["layer"] == 8
    counted = {key[2]: (row["patches"], row["named"]) for key, row in rows.items() if key[:2] == ("street", "latent")}
    assert counted == {"dog": (2, 2), "car": (2, 0)}
    report = to_markdown(summary)
    assert "## By concept" in report and "### yard" in report
    assert re.search(r"^\| dog \| 2 \| ", report, re.MULTILINE)


def test_best_words_are_told_apart_by_their_gap(tmp_path):
    """Right where the gap is large; one patch without a gap, and the second word of one is right."""
    images = [annotated(name, thing(DOG, 0, 0, 40, 10)) for name in "abcdefghijkl"]
    gaps = [[0.01 * n, 0.1 + 0.01 * n, 0.2 + 0.01 * n, 0.3 + 0.01 * n] for n in range(12)]
    gaps[0][3] = None
    words = [
        said(image.name, ["x dog", "x", "dog" if n % 2 else "x", "dog"], ("x",), gaps=gaps[n])
        for n, image in enumerate(images)
    ]
    settings = {**SETTINGS, "layers": [8], "lenses": ["latent"]}
    summary = ground_truth_summary(Evaluated("ground-truth", settings, images, words))
    rows = summary["gaps"]
    assert [(row["part"], row["lens"], row["layer"], row["group"]) for row in rows] == [
        (n, "latent", 8, "all images") for n in (1, 2, 3, 4)
    ]
    assert sum(row["patches"] for row in rows) == 47 and sum(row["right"] for row in rows) == 6 + 11
    assert [row["right"] for row in rows[:2]] == [0, 0]
    assert rows[3]["share"]["value"] > 0.9 and 0 < rows[3]["share"]["low"] < rows[3]["share"]["value"]
    assert rows[0]["gap_from"] == 0.0 and rows[3]["gap_to"] == pytest.approx(0.41)
    assert all(one["gap_to"] < other["gap_from"] for one, other in pairwise(rows))
    write_outputs(summary, tmp_path)
    with (tmp_path / "gaps.csv").open(encoding="utf-8", newline="") as file:
        kept = list(csv.DictReader(file))
    assert [float(row["share_low"]) for row in kept] == [row["share"]["low"] for row in rows]
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Which words to believe" in report
    assert f"| LatentLens | 8 | {rows[3]['gap_from']:.3f} to 0.410 | {rows[3]['patches']} | " in report


def test_equal_gaps_are_not_cut_apart():
    images = [annotated(name, thing(DOG, 0, 0, 40, 10)) for name in "ab"]
    words = [said(name, ["dog", "x", "x", "x"], ("x",), gaps=[0.5, 0.1, 0.1, 0.1]) for name in "ab"]
    settings = {**SETTINGS, "layers": [8], "lenses": ["latent"]}
    rows = ground_truth_summary(Evaluated("ground-truth", settings, images, words))["gaps"]
    assert [(row["gap_from"], row["gap_to"], row["patches"], row["right"]) for row in rows] == [
        (0.1, 0.1, 6, 0),
        (0.5, 0.5, 2, 2),
    ]


def test_without_baselines_there_is_no_table_of_gaps(summary, tmp_path):
    assert summary["gaps"] == [] and "Which words to believe" not in to_markdown(summary)
    write_outputs(summary, tmp_path)
    assert not (tmp_path / "gaps.csv").exists()


def test_hits_and_misses_are_shown_as_pictures(summary, tmp_path):
    from PIL import Image

    (street, _) = summary["examples"]
    assert (street["lens"], street["layer"]) == ("latent", 8)
    assert len(street["hits"]) == 2 and len(street["misses"]) == 2
    assert street["hits"][0]["named"] == street["hits"][0]["things"] and not street["misses"][0]["named"]
    image = tmp_path / "photo.png"
    Image.new("RGB", (200, 200), "#00ff00").save(image)
    paths = {street[kind][0]["image"]: image for kind in ("hits", "misses")}
    draw_examples(street, paths, tmp_path)
    for name in ("hits.png", "misses.png"):
        with Image.open(tmp_path / name) as drawn:
            colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 24)}
            assert {(0, 255, 0), (0x16, 0x15, 0x0F), (255, 255, 255)} <= colours
    report = to_markdown(summary, (), [("hits", street, "hits.png"), ("misses", street, "misses.png")])
    assert "## Hits and misses" in report and "![Hits of LatentLens at layer 8, street](hits.png)" in report
    draw_examples({**street, "hits": []}, paths, tmp_path)  # a picture of an earlier run does not stay
    assert not (tmp_path / "hits.png").exists()


def test_shares_are_shown_in_percent():
    assert percent({"value": 0.412, "low": 0.384, "high": 0.449}) == "41.2 %"
    assert percent({"value": 0.412, "low": 0.384, "high": 0.449}, True) == "41.2 % (38 to 45)"
    assert percent({"value": 0.002, "low": 0, "high": 0.0093}, True) == "0.2 % (0.0 to 0.9)"
    assert percent(None) == "-"


def test_untrusted_names_are_harmless(summary):
    evil = "evil\x1b[2J\u202e |<script>x</script>|![](http://x)"
    summary["groups"][0]["group"] = summary["results"][0]["group"] = evil
    summary["notes"] = summary["coverage"][0]["concept"] = summary["settings"]["model"]["id"] = evil
    summary["notes"] = [evil]
    table, report = to_table(summary), to_markdown(summary)
    for shown in (table, report):
        assert not {"\x1b", "\u202e"} & set(shown)
    assert "<script" not in report.replace("\\<", "") and "![" not in report and "\\|" in report


def test_plots_are_drawn(summary, tmp_path):
    from PIL import Image

    assert draw(summary, tmp_path) == ["shares.png", "leap.png"]
    for stem in ("shares", "leap"):
        assert (tmp_path / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
        assert "<text" in (tmp_path / f"{stem}.svg").read_text()  # text stays text
    before = (tmp_path / "leap.pdf").read_bytes(), (tmp_path / "leap.svg").read_bytes()
    draw(summary, tmp_path)
    assert before == ((tmp_path / "leap.pdf").read_bytes(), (tmp_path / "leap.svg").read_bytes())
    for name in ("shares.png", "leap.png"):
        with Image.open(tmp_path / name) as plot:
            assert plot.width > 300 and len(plot.convert("RGB").getcolors(1 << 24)) > 20
    alone = {**summary, "leap": {"query_layers": [], "bank_layers": [], "shares": []}}
    assert draw(alone, tmp_path) == ["shares.png"]


def test_without_matplotlib_everything_else_is_written(summary, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'lensbank\[evaluate\]'"):
        require_matplotlib()
    table, lacking = write_outputs(summary, tmp_path)
    assert "lensbank[evaluate]" in lacking and not list(tmp_path.glob("*.png"))
    assert (tmp_path / "table.txt").read_text() == table + "\n"
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert "![" not in (tmp_path / "report.md").read_text()
