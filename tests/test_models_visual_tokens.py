import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import CHAT_TEMPLATE, DIM, N_LAYERS, llama_config, save_fastvlm, save_llava, save_text_model
from tiny_vlms import TINY, VIT
from transformers import LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from lensbank.models.families import generic, single
from lensbank.models.loading import load_model
from lensbank.models.states import visual_states
from lensbank.models.visual.patches import Shown, image_features
from lensbank.models.visual_tokens import FAMILIES, prepare_image
from lensbank.schemas.errors import ImageError, LayerError, ModelError, StateError, UnsupportedModelError
from lensbank.schemas.results import PixelBox, View

WIDTH, HEIGHT = 200, 120


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One model per family; FastVLM with a grid of 3 rows and 5 columns."""
    folder = tmp_path_factory.mktemp("models")
    save_fastvlm(folder / "fastvlm", size={"height": 96, "width": 160})
    save_llava(folder / "llava")
    return {name: load_model(str(folder / name), dtype="float32", need_vision=True) for name in ("fastvlm", "llava")}


@pytest.fixture(scope="module")
def picture():
    """Not square, and different everywhere."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def features(loaded, pixels):
    """The connector's outputs, `[n_visual, dim]`, from the model's own vision side."""
    inputs = prepare_image(loaded, Image.fromarray(pixels)).inputs
    pooled = image_features(loaded, inputs).pooler_output
    return torch.cat(list(pooled)) if isinstance(pooled, list | tuple) else pooled[0]


@pytest.mark.parametrize(("family", "grid"), [("fastvlm", (3, 5)), ("llava", (4, 4))])
def test_pixels_under_a_patch_move_its_own_token_most(models, picture, family, grid):
    """Geometry by intervention: change what a box covers, and see which token notices."""
    loaded = models[family]
    visual = prepare_image(loaded, Image.fromarray(picture))
    assert [(token.row, token.col) for token in visual.tokens] == list(np.ndindex(grid))
    before = features(loaded, picture)
    for number, token in enumerate(visual.tokens):
        x0, y0, x1, y1 = (round(value) for value in dataclasses.astuple(token.box))
        changed = picture.copy()
        changed[y0:y1, x0:x1] = 255 - changed[y0:y1, x0:x1]
        moved = (features(loaded, changed) - before).norm(dim=-1)
        assert int(moved.argmax()) == number, f"box of {token} moved token {int(moved.argmax())}"


@pytest.mark.parametrize("family", ["fastvlm", "llava"])
@pytest.mark.parametrize(("right", "bottom"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_marked_corner_lands_in_its_corner_of_the_grid(models, family, right, bottom):
    loaded = models[family]
    grey = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
    visual = prepare_image(loaded, Image.fromarray(grey))
    view = visual.views[0]
    # The corner of what the model sees: LLaVA's processor crops the sides away.
    x = round(view.box.x1) - 14 if right else round(view.box.x0)
    y = round(view.box.y1) - 14 if bottom else round(view.box.y0)
    marked = grey.copy()
    marked[y : y + 14, x : x + 14] = (255, 0, 0)
    moved = (features(loaded, marked) - features(loaded, grey)).norm(dim=-1)
    token = visual.tokens[int(moved.argmax())]
    assert (token.row, token.col) == (view.rows - 1 if bottom else 0, view.cols - 1 if right else 0)
    assert token.box.x0 <= x + 7 < token.box.x1
    assert token.box.y0 <= y + 7 < token.box.y1


def test_fastvlm_sees_the_whole_image(models, picture):
    visual = prepare_image(models["fastvlm"], Image.fromarray(picture))
    assert visual.views == (View(0, "image", 3, 5, PixelBox(0, 0, WIDTH, HEIGHT)),)
    assert visual.tokens[0].box == PixelBox(0, 0, 40, 40)
    assert visual.tokens[-1].box == PixelBox(160, 80, 200, 120)
    assert visual.notes == ()


def test_boxes_account_for_a_crop(models, picture):
    """200 x 120 becomes 53 x 32, of which columns 10 to 41 are kept."""
    visual = prepare_image(models["llava"], Image.fromarray(picture))
    box = visual.views[0].box
    assert (box.x0, box.x1) == (pytest.approx(10 * WIDTH / 53), pytest.approx(42 * WIDTH / 53))
    assert (box.y0, box.y1) == (0, HEIGHT)
    assert visual.tokens[0].box.x0 == box.x0
    assert visual.tokens[-1].box.x1 == box.x1
    assert visual.notes == ("The model's processor crops the image: the model sees 60% of it.",)


@pytest.mark.parametrize("family", ["fastvlm", "llava"])
def test_layer_zero_is_the_connector_s_output_in_grid_order(models, picture, family):
    loaded = models[family]
    visual = prepare_image(loaded, Image.fromarray(picture))
    states = visual_states(loaded, visual, [0])
    torch.testing.assert_close(states[0], features(loaded, picture))


@pytest.mark.parametrize("family", ["fastvlm", "llava"])
def test_states_are_those_of_the_model_s_own_forward_pass(models, picture, family):
    loaded = models[family]
    visual = prepare_image(loaded, Image.fromarray(picture), "Is it a dog?")
    states = visual_states(loaded, visual, range(N_LAYERS + 1))
    with torch.inference_mode():
        expected = loaded.model(**visual.inputs, output_hidden_states=True).hidden_states
    rows = (visual.inputs["input_ids"][0] == 4).nonzero().flatten()
    assert [token.index for token in visual.tokens] == rows.tolist()
    for layer in range(N_LAYERS):
        assert states[layer].shape == (len(visual.tokens), DIM)
        torch.testing.assert_close(states[layer], expected[layer][0, rows])
    torch.testing.assert_close(loaded.lm.final_norm(states[N_LAYERS]), expected[N_LAYERS][0, rows])


def test_padding_on_the_left_changes_neither_indices_nor_states(models, picture):
    loaded = models["fastvlm"]
    visual = prepare_image(loaded, Image.fromarray(picture))
    expected = visual_states(loaded, visual, [0, 2])
    inputs = dict(visual.inputs)
    inputs["input_ids"] = torch.cat([torch.ones(1, 3, dtype=torch.long), inputs["input_ids"]], dim=1)
    inputs["attention_mask"] = torch.cat([torch.zeros(1, 3, dtype=torch.long), inputs["attention_mask"]], dim=1)
    padded = dataclasses.replace(visual, inputs=inputs)
    states = visual_states(loaded, padded, [0, 2])
    torch.testing.assert_close(states[0], expected[0])
    torch.testing.assert_close(states[2], expected[2], rtol=1e-4, atol=1e-5)


def test_what_is_asked_after_the_image_does_not_change_its_tokens(models, picture):
    loaded = models["fastvlm"]
    one, other = (prepare_image(loaded, Image.fromarray(picture), text) for text in ("A dog?", "Two cats and a tree."))
    assert one.prompt != other.prompt
    first, second = (visual_states(loaded, visual, [3])[3] for visual in (one, other))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["fastvlm", "llava"])
@pytest.mark.parametrize("prompt", [None, "Is it a dog?"])
def test_the_prompt_is_what_the_model_saw(models, picture, family, prompt):
    loaded = models[family]
    visual = prepare_image(loaded, Image.fromarray(picture), prompt)
    seen = loaded.tokenizer.decode(visual.inputs["input_ids"][0])
    assert re.sub(r"(<image>)+", "<image>", seen) == "<s>" + visual.prompt
    assert seen.count("<image>") == len(visual.tokens)


def test_a_template_that_writes_the_bos_token_gets_no_second_one(models, picture, tmp_path):
    folder = shutil.copytree(models["fastvlm"].source, tmp_path / "bos")
    (folder / "chat_template.jinja").write_text("{{ bos_token }}" + CHAT_TEMPLATE)
    loaded = load_model(str(folder), dtype="float32")
    visual = prepare_image(loaded, Image.fromarray(picture))
    assert visual.prompt.startswith("<s><|im_start|>")
    assert (visual.inputs["input_ids"][0] == 0).sum() == 1


@pytest.mark.parametrize("family", ["fastvlm", "llava"])
def test_bfloat16_states_come_back_as_float32(models, picture, family):
    exact = models[family]
    loaded = load_model(exact.source, dtype="bfloat16")
    image = Image.fromarray(picture)
    states = visual_states(loaded, prepare_image(loaded, image), [1])[1]
    assert states.dtype == torch.float32
    expected = visual_states(exact, prepare_image(exact, image), [1])[1]
    assert torch.cosine_similarity(states, expected).min() > 0.99


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_colour_modes_are_converted(models, picture, mode):
    visual = prepare_image(models["fastvlm"], Image.fromarray(picture).convert(mode))
    assert visual.inputs["pixel_values"].shape == (1, 3, 96, 160)


def test_patches_of_padding_are_left_out(picture, tmp_path):
    """LLaVA's processor can pad to a square: rows above and below a wide image hold no picture."""
    processor = LlavaImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_pad=True, do_center_crop=True
    )
    loaded = load_model(str(save_llava(tmp_path / "padded", image_processor=processor)), dtype="float32")
    visual = prepare_image(loaded, Image.fromarray(picture[:90, :]))
    assert [token.row for token in visual.tokens] == [1] * 4 + [2] * 4
    assert [token.index for token in visual.tokens] == list(range(5, 13))
    assert visual.tokens[0].box == PixelBox(0, 0, 50, 45)
    assert visual.notes == ("8 of 16 visual tokens see only padding and are left out.",)
    states = visual_states(loaded, visual, [0])[0]
    torch.testing.assert_close(states, features(loaded, picture[:90, :])[4:12])


def test_a_text_only_model_is_refused(tmp_path):
    loaded = load_model(str(save_text_model(tmp_path / "text")), dtype="float32")
    with pytest.raises(ModelError, match="text is a text-only model; expected a model that can be shown images"):
        prepare_image(loaded, Image.new("RGB", (10, 10)))


def test_counts_that_differ_are_an_error_with_both(models, picture, tmp_path):
    folder = shutil.copytree(models["fastvlm"].source, tmp_path / "wrong")
    settings = folder / "processor_config.json"
    settings.write_text(settings.read_text().replace('"patch_size": 32', '"patch_size": 16'))
    loaded = load_model(str(folder), dtype="float32")
    with pytest.raises(
        UnsupportedModelError, match="placed 60 visual tokens, but the model makes 15 from its pictures"
    ):
        prepare_image(loaded, Image.fromarray(picture))


@pytest.fixture
def unknown(monkeypatch):
    """LLaVA as if no file knew it."""
    monkeypatch.delitem(FAMILIES, "llava")


def save_full(folder, in_processor=True):
    """With the class token kept there are 17 features."""
    save_llava(folder)
    for name in ("config.json", "processor_config.json")[: 1 + in_processor]:
        path = folder / name
        text = path.read_text()
        path.write_text(text.replace('select_strategy": "default"', 'select_strategy": "full"'))
    return load_model(str(folder), dtype="float32")


def test_a_class_token_in_front_of_the_patches_is_none_of_them(models, tmp_path, picture):
    loaded = save_full(tmp_path / "class")
    image = Image.fromarray(picture)
    shown, plain = prepare_image(loaded, image), prepare_image(models["llava"], image)
    assert [(t.index - 1, t.row, t.col, t.box) for t in shown.tokens] == [
        (t.index, t.row, t.col, t.box) for t in plain.tokens
    ]
    assert [(token.index, token.kind) for token in shown.layout] == [(plain.tokens[0].index, "class")]
    # The same weights: what a patch enters the language model as is the same, whether or not a token precedes it.
    assert torch.equal(visual_states(loaded, shown, [0])[0], visual_states(models["llava"], plain, [0])[0])


def test_a_class_token_that_cannot_be_told_is_refused(tmp_path, picture):
    loaded = save_full(tmp_path / "class")
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(FAMILIES, "llava")
        with pytest.raises(
            UnsupportedModelError, match="17 visual tokens of a 32 x 32 picture do not form a square grid"
        ):
            prepare_image(loaded, Image.fromarray(picture))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "_CLASS", ("no such name",))
        with pytest.raises(
            UnsupportedModelError, match="its vision tower has 16 patches, but returns 17 tokens.*'default'"
        ):
            prepare_image(loaded, Image.fromarray(picture))


def test_a_processor_that_does_not_count_the_class_token_is_named(tmp_path, picture):
    loaded = save_full(tmp_path / "class", in_processor=False)
    with pytest.raises(UnsupportedModelError, match="placed 16 .* makes 17 .*vision_feature_select_strategy"):
        prepare_image(loaded, Image.fromarray(picture))


def strategy(folder, value, *files):
    """A family's tiny model with another vision_feature_select_strategy."""
    for name in files:
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**settings, "vision_feature_select_strategy": value}))
    return load_model(str(folder), dtype="float32")


@pytest.mark.parametrize("files", [("config.json", "processor_config.json"), ("config.json",)])
def test_class_tokens_among_tiles_are_refused_for_what_they_are(tmp_path, picture, files):
    """transformers cannot join such tiles: the processor's counts are not what is wrong."""
    loaded = strategy(TINY["llava_next"].save(tmp_path / "next"), "full", *files)
    with pytest.raises(UnsupportedModelError, match="'full' keeps the class token .* beside the patches of every tile"):
        prepare_image(loaded, Image.fromarray(picture))


@pytest.mark.parametrize("files", [("config.json", "processor_config.json"), ("config.json",)])
def test_a_patch_that_is_dropped_as_if_it_were_a_class_token_is_missed(tmp_path, picture, files):
    loaded = strategy(TINY["llava_onevision"].save(tmp_path / "one"), "default", *files)
    with pytest.raises(UnsupportedModelError, match="drops the first token .* which has no class token"):
        prepare_image(loaded, Image.fromarray(picture))


def test_a_patch_that_is_dropped_is_missed_in_a_single_picture_too(tmp_path, picture):
    torch.manual_seed(0)
    tower = SiglipVisionConfig(**VIT, image_size=32, patch_size=8, vision_use_head=False)
    folder = save_llava(tmp_path / "siglip")
    config = LlavaConfig(vision_config=tower, text_config=llama_config(), image_token_index=4)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    with pytest.raises(UnsupportedModelError, match="drops the first token .* which has no class token"):
        prepare_image(load_model(str(folder), dtype="float32"), Image.fromarray(picture))
    strategy(folder, "full", "config.json", "processor_config.json")
    processor = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({**processor, "num_additional_image_tokens": 0}))
    loaded = load_model(str(folder), dtype="float32")
    shown = prepare_image(loaded, Image.fromarray(picture))
    assert [(token.row, token.col) for token in shown.tokens] == list(np.ndindex(4, 4))


def test_tiles_of_an_unknown_family_are_refused(models):
    inputs = {"input_ids": torch.full((1, 16), 4), "pixel_values": torch.zeros(1, 4, 3, 32, 32)}
    with pytest.raises(UnsupportedModelError, match=r"shape \(1, 4, 3, 32, 32\).*docs/adding-a-model.md"):
        generic.plan(models["llava"], inputs, Shown((64, 64)))


def test_a_family_without_a_file_says_so(models, picture, unknown):
    visual = prepare_image(models["llava"], Image.fromarray(picture))
    assert [(token.row, token.col) for token in visual.tokens] == list(np.ndindex(4, 4))
    assert visual.notes[0] == (
        "lensbank has no file for the family 'llava' in models/families/ and assumes that its visual tokens are a "
        "grid, row by row."
    )


def test_a_layer_that_does_not_exist(models, picture):
    visual = prepare_image(models["fastvlm"], Image.fromarray(picture))
    with pytest.raises(LayerError, match=r"Layer 4 does not exist.*0 .* to 3"):
        visual_states(models["fastvlm"], visual, [0, 4])


def test_a_prompt_beyond_the_model_s_length(models, picture):
    with pytest.raises(
        ImageError, match=r"and the prompt are \d+ tokens long; fastvlm accepts up to 128.*image smaller"
    ):
        prepare_image(models["fastvlm"], Image.fromarray(picture), "dogs " * 200)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_states_are_an_error(models, picture, value):
    loaded = load_model(models["fastvlm"].source, dtype="bfloat16")
    with torch.no_grad():
        loaded.lm.blocks[1].mlp.down_proj.weight[0, 0] = value
    visual = prepare_image(loaded, Image.fromarray(picture))
    assert visual_states(loaded, visual, [0, 1]).keys() == {0, 1}
    with pytest.raises(StateError, match=r"patch 0,0 at layer 2 is NaN.*15 of 15.*bfloat16.*--dtype float32"):
        visual_states(loaded, visual, [1, 2])


def test_states_of_zero_are_an_error(models, picture):
    loaded = load_model(models["fastvlm"].source, dtype="float32")
    with torch.no_grad():
        for parameter in loaded.model.model.multi_modal_projector.parameters():
            parameter.zero_()
    visual = prepare_image(loaded, Image.fromarray(picture))
    with pytest.raises(StateError, match="at layer 0 is NaN, infinite or zero"):
        visual_states(loaded, visual, [0])


@pytest.mark.parametrize(
    "error",
    [RuntimeError("a torchvision operator"), ZeroDivisionError("by zero"), ImportError("torchvision"), IndexError()],
)
def test_whatever_a_processor_fails_with_is_said_of_the_processor(models, picture, monkeypatch, error):
    """torchvision's raise RuntimeError; others fail in ways of their own."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(type(models["llava"].processor), "__call__", fail)
    with pytest.raises(ModelError, match="The processor of llava failed on the image: .*every image fails") as caught:
        prepare_image(models["llava"], Image.fromarray(picture))
    assert type(caught.value) is ModelError and (str(error) or type(error).__name__) in caught.value.message
