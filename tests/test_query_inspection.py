import json
from io import BytesIO

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_models import N_LAYERS
from tiny_vlms import TINY

from lensbank.cli import main_group
from lensbank.models.loading import load_model
from lensbank.models.visual_tokens import FAMILIES, prepare_image
from lensbank.query.images import open_image
from lensbank.query.inspection import inspect_image
from lensbank.show.inspection_picture import MARGIN, SIDE, TITLE, draw_inspection
from lensbank.show.inspection_text import inspection_text


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (75, 120, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    """A family with two views, newlines between the rows of one."""
    folder = TINY["llava_next"].save(tmp_path_factory.mktemp("models") / "llava_next")
    return load_model(str(folder), dtype="float32", need_vision=True)


def run(*arguments):
    return CliRunner().invoke(main_group, list(map(str, arguments)), catch_exceptions=False)


def test_the_command_prints_and_draws(tiny_vlm, photo, tmp_path):
    picture = tmp_path / "patches.png"
    done = run("inspect", photo, "--model", tiny_vlm, "--dtype", "float32", "--picture", picture)
    assert done.exit_code == 0
    assert "LlamaModel: 3 blocks, width 32" in done.stdout
    assert "view 0, rows 0 to 2, columns 0 to 2" in done.stdout
    with Image.open(picture) as drawn:
        assert drawn.size[0] == SIDE + 2 * MARGIN


def test_the_map_names_every_position_once(tiled, photo):
    found = inspect_image(tiled, open_image(photo), "A dog?")
    text = inspection_text(found, 100)
    lines = text[text.index("Sequence") :].splitlines()[1:]
    spans = [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0].replace("-", "").isdigit()]
    covered = []
    for span in spans:
        first, _, last = span.partition("-")
        covered += range(int(first), int(last or first) + 1)
    assert covered == list(range(len(found.strings)))
    assert "newline after each row" in text
    assert f"Layer 1 to {N_LAYERS}" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_json_holds_what_a_query_uses(tiled, photo):
    facts = json.loads(inspect_image(tiled, open_image(photo), "A dog?").to_json())
    with Image.open(photo) as image:
        shown = prepare_image(tiled, image.convert("RGB"), "A dog?")
    assert facts["prompt"] == shown.prompt
    assert len(facts["sequence"]) == shown.inputs["input_ids"].shape[1]
    assert [(t["index"], t["view"], t["row"], t["col"]) for t in facts["visual_tokens"]] == [
        (t.index, t.view, t.row, t.col) for t in shown.tokens
    ]
    assert {t["kind"] for t in facts["layout_tokens"]} == {"newline"}
    assert all(facts["sequence"][t["index"]] == "<image>" for t in facts["visual_tokens"])
    assert facts["family"] == {
        "model_type": "llava_next", "known": True, "layer_zero": "the connector's output"}  # fmt: skip
    assert facts["blocks"][0]["first"] == 1
    assert facts["blocks"][-1]["last"] == N_LAYERS


def test_the_picture_has_a_line_where_each_patch_begins(tiled, photo):
    found = inspect_image(tiled, open_image(photo))
    drawn = np.asarray(Image.open(BytesIO(draw_inspection(found, open_image(photo).image))).convert("RGB")).astype(int)
    scale = SIDE / 120
    for token in found.tokens:
        if token.view == 0:
            x, y = MARGIN + token.box.x0 * scale, MARGIN + TITLE + (token.box.y0 + token.box.y1) / 2 * scale
            around = drawn[round(y), round(x) - 2 : round(x) + 3].sum(axis=-1)
            assert around.min() == 0, f"no line left of patch {token.row},{token.col}"


def test_a_guessed_grid_is_called_one(tiny_vlm, photo, tmp_path, monkeypatch):
    monkeypatch.delitem(FAMILIES, "fast_vlm")
    done = run("inspect", photo, "--model", tiny_vlm, "--picture", tmp_path / "p.png")
    said = " ".join(done.stdout.split())  # lines wrap where the terminal ends
    assert "fast_vlm (no file in models/families/ knows it: one square grid is assumed)" in said
    assert "Note" in done.stdout


def test_a_prompt_cannot_repaint_the_terminal(tiny_vlm, photo, tmp_path):
    done = run("inspect", photo, "--model", tiny_vlm, "--picture", tmp_path / "p.png", "--prompt", "a\x1b[2Jb")
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout


def test_a_text_only_model_has_nothing_to_inspect(tiny_llm, photo, tmp_path):
    done = run("inspect", photo, "--model", tiny_llm, "--picture", tmp_path / "p.png")
    assert done.exit_code == 1
    assert "text-only model" in done.stderr
    assert not (tmp_path / "p.png").exists()
