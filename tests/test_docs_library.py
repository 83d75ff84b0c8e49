"""docs/library.md runs as it stands: every block, top to bottom, in one namespace."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from evaluation_fixtures import write_coco
from PIL import Image
from tiny_models import SENTENCES

import lensbank

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "library.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def notebook(tiny_vlm, tmp_path_factory):
    """What the blocks print and leave behind: namespace, outputs, folder."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("notebook")
        patch.chdir(folder)
        (folder / "my-vlm").symlink_to(tiny_vlm)
        (folder / "captions.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
        (folder / "photos" / "sub").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for name, size in (("photo.jpg", (60, 90)), ("photos/a.png", (10, 40)), ("photos/sub/b.png", (30, 30))):
            Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
        write_coco(folder / "photos" / "annotations.json")
        printed = []
        names = {"print": lambda *things: printed.append(" ".join(map(str, things)))}
        for number, block in enumerate(BLOCKS, 1):
            exec(compile(block, f"docs/library.md, block {number}", "exec"), names)  # our own documentation
        yield names, "\n".join(printed), folder


def test_blocks_do_what_they_say(notebook):
    names, printed, folder = notebook
    assert len(BLOCKS) >= 6
    banks = [info.record.identity for info in names["store"].list()]
    assert [(bank.kind, bank.layer) for bank in banks] == [("text", 1), ("text", 2), ("image", 1), ("image", 2)]
    assert "photo.jpg" in printed and "Layer 1" in printed and "Stored" in printed
    with Image.open(folder / "figure.png") as drawn:
        assert drawn.width > 500 and drawn.height > 200
    assert "</html>" in (folder / "report.html").read_text(encoding="utf-8")
    for name in ("layers.png", "shares.png", "leap.png", "results/shares.png"):
        with Image.open(folder / name) as plot:
            assert np.asarray(plot.convert("L")).std() > 5, name
    assert json.loads((folder / "results" / "summary.json").read_text(encoding="utf-8")) == names["summary"]


def test_a_reading_is_the_command_s(notebook):
    names, _, folder = notebook
    reading = names["reading"]
    assert [layer.layer for layer in reading.layers] == [0, 1, 2] and reading.search.bank_layers == (1, 2)
    assert reading.search.lenses == ("latent", "logit", "embedding")
    assert all(neighbor.is_word for found in names["answers"]["latent"].found[1] for neighbor in found)


def test_layers_plot_shows_the_shares(notebook):
    """Rows are query layers; the numbers in them are shares of neighbours, which sum to 100."""
    reading = notebook[0]["reading"]
    figure = lensbank.plot_layers(reading)
    (axes,) = figure.axes
    shades = np.asarray(axes.images[0].get_array())
    assert shades.shape == (3, 2) and shades.sum(1) == pytest.approx(1)
    found = [n.bank_layer for token in reading.layers[1].tokens for n in token.neighbors]
    assert shades[1, 0] == pytest.approx(found.count(1) / len(found))


def test_everything_gathered_is_there_and_documented():
    for name in lensbank.__all__:
        assert getattr(lensbank, name).__doc__
        if inspect.isfunction(getattr(lensbank, name)):
            assert f"lensbank.{name}(" in TEXT, name
