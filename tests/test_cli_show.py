"""lensbank show: saved readings become pages, tables and figures without a model."""

import hashlib
import json
from dataclasses import replace
from io import BytesIO

import pytest
from click.testing import CliRunner
from page_readings import data_of, image_reading, picture, positions_reading, text_reading

from lensbank.cli import main_group
from lensbank.show.render import to_json


@pytest.fixture
def files(tmp_path):
    """An image, and two readings of it by different prompts."""
    drawn = BytesIO()
    picture().save(drawn, "PNG")
    (tmp_path / "photo.png").write_bytes(drawn.getvalue())
    reading = image_reading(sha256=hashlib.sha256(drawn.getvalue()).hexdigest())
    (tmp_path / "a.json").write_text(to_json([reading]))
    (tmp_path / "b.json").write_text(to_json([replace(reading, prompt="Who?"), text_reading()]))
    return tmp_path


def run(*args):
    result = CliRunner().invoke(main_group, ["show", *map(str, args)])
    return result.exit_code, result.stdout, result.stderr


def test_saved_readings_become_one_page(files):
    out = files / "compare.html"
    code, _, said = run(files / "a.json", files / "b.json", "--image", files / "photo.png", "--out", out)
    assert code == 0 and f"Wrote {out}." in said and "without its image" not in said
    packed = data_of(out.read_text(encoding="utf-8"))
    assert [one["kind"] for one in packed["readings"]] == ["image", "image", "text"]
    assert packed["readings"][1]["prompt"] == "Who?"
    assert packed["pictures"][0].startswith("data:image/") and packed["command"].startswith("lensbank show")


def test_readings_may_come_through_a_pipe(files):
    text = (files / "a.json").read_text()
    done = CliRunner().invoke(main_group, ["show", "-", "--format", "table"], input=text)
    assert done.exit_code == 0 and done.stdout == run(files / "a.json", "--format", "table")[1]


def test_without_the_image_it_says_so_and_draws_all_the_same(files):
    out = files / "plain.html"
    code, _, said = run(files / "a.json", "--out", out)
    assert code == 0 and "photo.png is drawn without its image" in said
    assert data_of(out.read_text(encoding="utf-8"))["readings"][0]["images"][0]["picture"] is None


def test_each_image_of_a_prompt_is_found_by_its_digest(files):
    picture((120, 180), (40, 60)).save(files / "tall.png")
    paths = [files / "photo.png", files / "tall.png"]
    reading = positions_reading()
    shas = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    images = tuple(replace(image, sha256=sha) for image, sha in zip(reading.images, shas, strict=True))
    (files / "two.json").write_text(to_json([replace(reading, images=images)]))
    out = files / "two.html"
    given = [option for path in reversed(paths) for option in ("--image", path)]
    assert run(files / "two.json", *given, "--out", out)[0] == 0
    packed = data_of(out.read_text(encoding="utf-8"))
    assert [image["picture"] for image in packed["readings"][0]["images"]] == [0, 1] and len(packed["pictures"]) == 2
    said = run(files / "two.json", *given[2:], "--out", out)[2]
    assert "tall.png is drawn without its image" in said and "photo.png is drawn" not in said


def test_tables_figures_and_json(files):
    code, shown, _ = run(files / "a.json", "--format", "table")
    assert code == 0 and "Layer 8" in shown and "r2c3L8" in shown
    assert run(files / "a.json", "--format", "json")[1] == (files / "a.json").read_text() + "\n"
    figure = files / "figure.png"
    assert run(files / "a.json", "--image", files / "photo.png", "--format", "png", "--out", figure)[0] == 0
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_shown_is_refused(files):
    other = files / "other.png"
    picture((40, 21)).save(other)
    (files / "odd.json").write_text('{"version": 9, "readings": []}')
    (files / "none.json").write_text("[1, 2")
    (files / "old.json").write_text(json.dumps({**json.loads((files / "a.json").read_text()), "version": 1}))
    for args, expected, what in [
        ([files / "a.json", "--image", other], 2, "does not belong to any of the readings"),
        ([files / "a.json", "--format", "png"], 2, "photo.png was not given"),
        ([files / "odd.json"], 1, "version 9"),
        ([files / "none.json"], 1, "is not JSON"),
        ([files / "missing.json"], 1, "cannot be read"),
        ([], 2, "Missing argument"),
    ]:
        out = files / f"x.{'png' if 'png' in args else 'html'}"
        code, _, said = run(*args, "--out", out)
        assert (code, what in said) == (expected, True), said
        assert not out.exists()
    assert run(files / "old.json", "--format", "table")[0] == 0
    assert run(files / "a.json", "--format", "json", "--out", files / "a.json")[0] == 2  # no input is replaced
