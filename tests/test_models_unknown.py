"""Architectures that no file knows: read as one grid where an experiment bears that out, refused where it does not."""

import pytest
import torch
from odd_vlms import ODD, save_vipllava
from test_models_families import blocks, first_states, invert, moved_most, shown
from tiny_models import save_llava

from lensbank.models.families import generic
from lensbank.models.loading import load_model
from lensbank.schemas.errors import ModelError, UnsupportedModelError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            made[name] = str(ODD[name](tmp_path_factory.mktemp("odd") / "model"))
        return made[name]

    return get


def test_patches_in_rows_are_read_and_announced(folders):
    loaded = load_model(folders("vipllava"), dtype="float32", need_vision=True)
    pixels = blocks()
    visual = shown(loaded, pixels)
    assert visual.notes[0] == (
        "lensbank has no file for the family 'vipllava' in models/families/ and assumes that its visual tokens are a "
        "grid, row by row."
    )
    before = first_states(loaded, pixels)
    for token in visual.tokens[::3]:
        assert moved_most(loaded, visual, before, invert(pixels, token.box))[0] == token


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("idefics2", "1, 1, 3, 32, 32"),
        ("idefics2, split", "1, 5, 3, 32, 32"),
        ("llava_next_video", "1, 3, 3, 32, 32"),
        ("mllama", "1, 1, 2, 3, 32, 32"),
    ],
)
def test_what_is_not_one_picture_is_refused_with_a_way_out(folders, name, shape):
    """A Perceiver resampler, tiles, cross-attention (where the image is no part of the sequence)."""
    loaded = load_model(folders(name), dtype="float32", need_vision=True)
    expected = (
        rf"its processor returned pixel_values of shape \({shape}\); expected one picture \[1, 3, height, width\]"
    )
    with pytest.raises(UnsupportedModelError, match=expected) as caught:
        shown(loaded, blocks())
    assert "docs/adding-a-model.md" in caught.value.hint


def test_a_q_former_in_front_of_the_prompt_is_refused(folders):
    with pytest.raises(UnsupportedModelError, match="Blip2ForConditionalGeneration cannot read text without an image"):
        load_model(folders("blip2"), dtype="float32", need_vision=True)


def test_a_model_that_hears_and_does_not_see(folders):
    with pytest.raises(ModelError, match=r"text-only model|no language model that transformers knows"):
        load_model(folders("qwen2_audio"), dtype="float32", need_vision=True)


@pytest.mark.parametrize("order", ["columns", "reversed", "queries"])
def test_patches_in_another_order_and_learned_queries_are_refused(tmp_path, monkeypatch, order):
    """Sixteen tokens each, which could be taken for a grid of 4 x 4."""
    loaded = load_model(str(save_vipllava(tmp_path / "model")), dtype="float32")
    real = generic.image_features
    attention = torch.randn(16, 16, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)

    def reordered(loaded, inputs):
        found = real(loaded, inputs)
        rows = found.pooler_output.reshape(4, 4, -1)
        if order == "queries":
            return attention @ found.pooler_output
        rows = rows.transpose(0, 1) if order == "columns" else rows.flip(0, 1)
        return rows.reshape(1, 16, -1)

    monkeypatch.setattr(generic, "image_features", reordered)
    with pytest.raises(UnsupportedModelError, match="the tokens at those places did not change most"):
        shown(loaded, blocks())


def test_the_experiment_is_made_once_per_model(tmp_path, monkeypatch):
    loaded = load_model(str(save_vipllava(tmp_path / "model")), dtype="float32")
    shown(loaded, blocks())
    monkeypatch.setattr(generic, "image_features", None)
    shown(loaded, blocks(100, 40))


def test_the_experiment_passes_where_a_family_is_known(tmp_path):
    loaded = load_model(str(save_llava(tmp_path / "model")), dtype="bfloat16")
    visual = shown(loaded, blocks())
    plan = generic.plan(loaded, visual.inputs, type("Shown", (), {"size": (240, 150), "number": 0})())
    assert (len(plan.grids[0].rows), len(plan.grids[0].cols)) == (4, 4)
    assert torch.isfinite(plan.grids[0].pixels).all()
