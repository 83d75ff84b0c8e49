"""What single families do that others do not."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_models_families import blocks, first_states, invert, moved_most, rows_of, shown, states_of
from tiny_models import N_LAYERS, save_llava
from tiny_vlms import TINY, save_glm4v
from transformers import SiglipImageProcessorPil
from transformers.utils.import_utils import is_torchvision_available

from lensbank.models.capture import capture_hidden_states
from lensbank.models.loading import load_model
from lensbank.models.states import visual_states
from lensbank.models.visual_tokens import locate, prepare_image, process
from lensbank.schemas.errors import ModelError, UnsupportedModelError


def with_images(loaded, **settings):
    """The same model with other settings of its image processor."""
    import copy

    processor = copy.copy(loaded.processor)
    processor.image_processor = copy.deepcopy(loaded.processor.image_processor)
    for name, value in settings.items():
        setattr(processor.image_processor, name, value)
    return dataclasses.replace(loaded, processor=processor)


def every_patch_moves_its_token(loaded, pixels, every=1):
    visual = shown(loaded, pixels)
    before = first_states(loaded, pixels)
    for token in visual.tokens[::every]:
        assert moved_most(loaded, visual, before, invert(pixels, token.box))[token.view] == token


def test_the_large_grid_of_llava_next_has_newlines_and_leaves_padding_out(models):
    """240 x 100 px into 96 x 32: the picture is 77 px wide, so the model drops one column of patches on either side."""
    visual = shown(models("llava_next"), blocks(240, 100))
    assert [(view.kind, view.rows, view.cols) for view in visual.views] == [("thumbnail", 4, 4), ("image", 4, 10)]
    newlines = [token.index for token in visual.layout if token.kind == "newline"]
    rows = [[t.index for t in visual.tokens if (t.view, t.row) == (1, row)] for row in range(4)]
    assert newlines == [row[-1] + 1 for row in rows]
    assert visual.views[1].box.x1 - visual.views[1].box.x0 == pytest.approx(240, abs=2)


def test_a_thread_of_an_image_leaves_llava_next_only_newlines(models):
    visual = shown(models("llava_next"), blocks(4, 300))
    assert [view.kind for view in visual.views] == ["thumbnail"]
    assert [token.kind for token in visual.layout] == ["newline"] * 12
    assert visual_states(models("llava_next"), visual, [1])[1].shape[0] == 16


def test_resolutions_on_which_model_and_processor_disagree_are_refused(models):
    other = with_images(models("llava_next"), image_grid_pinpoints=[[32, 64], [64, 32]])
    with pytest.raises(UnsupportedModelError, match="different image_grid_pinpoints"):
        shown(other, blocks())


def test_a_large_grid_of_onevision_is_made_coarser(models):
    """108 x 108 px would be 12 x 12 patches (less padding); at most two pictures' worth are kept."""
    loaded = models("llava_onevision")
    visual = shown(loaded, blocks(300, 290))
    assert (visual.views[1].rows, visual.views[1].cols) == (5, 5)
    boxes = [t.box for t in visual.tokens if (t.view, t.row) == (1, 0)]
    assert boxes[0].x0 == 0
    # The last patch of a tile ends before the tile does: 32 of 36 px.
    assert boxes[-1].x1 == pytest.approx(300 * 104 / 108, abs=2)
    every_patch_moves_its_token(loaded, blocks(300, 290), every=3)


def test_onevision_sees_several_images_untiled_and_padded(models):
    loaded = models("llava_onevision")
    one, other = Image.fromarray(blocks(200, 100, seed=1)), Image.fromarray(blocks(60, 120, seed=2))
    inputs = process(loaded, [[one, other]], ["<image>\n<image>\nWhat?"])
    [[first, second]] = locate(loaded, inputs, [[one.size, other.size]])
    assert [(v.index, v.kind, v.rows, v.cols) for v in (*first.views, *second.views)] == [
        (0, "image", 4, 4), (1, "image", 4, 4)]  # fmt: skip
    # The wide image is padded above and below, the tall one on both sides: the first patches see only that.
    assert {token.row for token in first.tokens} == {1, 2, 3}
    assert {token.col for token in second.tokens} == {1, 2, 3}
    assert first.tokens[0].box.y0 == second.tokens[0].box.x0 == 0
    assert [token.kind for token in first.layout].count("newline") == 1
    before = states_of(loaded, inputs, [0])[0][0]
    for placement, image, number in ((first, one, 0), (second, other, 1)):
        for token in placement.tokens[:: max(1, len(placement.tokens) // 4)]:
            pair = [one, other]
            pair[number] = Image.fromarray(invert(np.asarray(image), token.box))
            after = states_of(loaded, process(loaded, [pair], ["<image>\n<image>\nWhat?"]), [0])[0][0]
            rows = rows_of(inputs, 0, placement)
            change = (after - before)[rows].norm(dim=-1)
            assert placement.tokens[int(change.argmax())] == token


@pytest.mark.parametrize(("size", "tiles"), [((240, 100), 3), ((100, 200), 2), ((250, 250), 2)])
def test_gemma_s_pan_and_scan_crops(models, size, tiles):
    loaded = with_images(
        models("gemma3"),
        do_pan_and_scan=True,
        pan_and_scan_min_crop_size=50,
        pan_and_scan_max_num_crops=3,
        pan_and_scan_min_ratio_to_activate=1.0,
    )
    loaded.processor.images_kwargs = {}  # transformers' defaults switch it off again
    pixels = blocks(*size)
    visual = shown(loaded, pixels)
    assert [view.kind for view in visual.views] == ["image", *["tile"] * (tiles if size != (240, 100) else 2)]
    covered = sum((v.box.x1 - v.box.x0) * (v.box.y1 - v.box.y0) for v in visual.views[1:])
    assert covered == size[0] * size[1]
    every_patch_moves_its_token(loaded, pixels, every=5)


@pytest.mark.parametrize("name", ["idefics3", "smolvlm"])
def test_idefics_without_splitting_sees_one_picture(models, name):
    loaded = with_images(models(name), do_image_splitting=False)
    visual = shown(loaded, blocks())
    assert [(view.kind, view.rows, view.cols) for view in visual.views] == [("image", 4, 4)]
    every_patch_moves_its_token(loaded, blocks())


@pytest.mark.parametrize("size", [(31, 95), (97, 64), (1023, 257), (129, 128)])
@pytest.mark.parametrize("name", ["idefics3", "internvl"])
def test_tiles_of_odd_sizes(models, name, size):
    """Sizes at which roundings could part."""
    visual = shown(models(name), blocks(*size))
    tiles = [view for view in visual.views if view.kind == "tile"]
    assert sum((v.box.x1 - v.box.x0) * (v.box.y1 - v.box.y0) for v in tiles) == pytest.approx(size[0] * size[1])


def test_internvl_without_tiles(models):
    visual = shown(with_images(models("internvl"), max_patches=1), blocks())
    assert [(view.kind, view.rows, view.cols) for view in visual.views] == [("image", 4, 4)]


def test_deepstack_adds_features_after_the_blocks_that_it_is_said_to(models):
    """Layer k is what block k put out; what block k + 1 reads is that plus the features, at visual tokens only."""
    loaded = models("qwen3_vl")
    visual = shown(loaded, blocks())
    entered = []
    handle = loaded.lm.blocks[1].register_forward_pre_hook(lambda _module, args: entered.append(args[0]))
    states = visual_states(loaded, visual, [1, 2])
    handle.remove()
    rows = [token.index for token in visual.tokens]
    with torch.inference_mode():
        features = loaded.model.get_image_features(visual.inputs["pixel_values"], visual.inputs["image_grid_thw"])
    [[added]] = features.deepstack_features
    assert TINY["qwen3_vl"].deepstack == 1
    assert added.norm(dim=-1).min() > 0
    torch.testing.assert_close(entered[0][0, rows], states[1] + added)
    assert any(note.startswith("DeepStack") for note in visual.notes)


def test_glm_4_6v_is_read_as_glm_4_1v_is(tmp_path):
    from transformers import Glm46VConfig, Glm46VForConditionalGeneration, Glm46VImageProcessorPil, Glm46VProcessor

    kinds = Glm46VConfig, Glm46VForConditionalGeneration, Glm46VProcessor, Glm46VImageProcessorPil
    loaded = load_model(str(save_glm4v(tmp_path / "model", kinds)), dtype="float32", need_vision=True)
    assert loaded.model.config.model_type == "glm46v"
    visual = shown(loaded, blocks())
    assert [(view.kind, view.rows, view.cols) for view in visual.views] == [("image", 5, 8)]
    assert [token.kind for token in visual.layout] == ["start", "end"]
    assert not any("no file in models/families/" in note for note in visual.notes)
    every_patch_moves_its_token(loaded, blocks(), every=3)


@pytest.mark.parametrize("name", ["qwen2_vl", "glm4v"])
def test_frames_of_a_video_are_refused(models, name):
    visual = shown(models(name), blocks())
    frames = {**visual.inputs, "image_grid_thw": visual.inputs["image_grid_thw"] * torch.tensor([2, 1, 1])}
    with pytest.raises(UnsupportedModelError, match="its processor returned 2 frames; expected one image"):
        locate(models(name), frames, [[(240, 150)]])


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
def test_paligemma_reads_a_text_forwards_and_a_prompt_both_ways(models, saved, kind):
    loaded = load_model(str(saved("paligemma")), dtype="float32")
    loaded.model.set_attn_implementation(kind)
    ids = torch.tensor([[7, 8, 9, 10, 11]])
    with torch.inference_mode():
        with capture_hidden_states(loaded.lm, [N_LAYERS]) as whole:
            loaded.lm.module(input_ids=ids, use_cache=False)
        with capture_hidden_states(loaded.lm, [N_LAYERS]) as start:
            loaded.lm.module(input_ids=ids[:, :3], use_cache=False)
    torch.testing.assert_close(whole[N_LAYERS][:, :3], start[N_LAYERS])
    # With an image, transformers' own mask rules: what it gives is not changed by reading texts forwards.
    visual = shown(loaded, blocks())
    forwards = visual_states(loaded, visual, [N_LAYERS])[N_LAYERS]
    for part in loaded.lm.module.modules():
        if hasattr(part, "is_causal"):
            part.is_causal = False
    torch.testing.assert_close(visual_states(loaded, visual, [N_LAYERS])[N_LAYERS], forwards)
    assert any("both directions" in note for note in visual.notes)


def test_paligemma_s_prompt_has_no_newline_between_image_and_question(models):
    loaded = models("paligemma")
    visual = shown(loaded, blocks(), "What?")
    assert visual.prompt == "<image>What?"
    text = loaded.tokenizer.decode(visual.inputs["input_ids"][0])
    assert text == "<image>" * 16 + "<s>What?\n"


def test_patches_that_end_before_the_picture_does(tmp_path):
    """SigLIP at 384 px has 27 x 27 patches of 14: 6 px belong to none. Here 36 px and patches of 8."""
    images = SiglipImageProcessorPil(size={"height": 36, "width": 36})
    folder = save_llava(tmp_path / "siglip", image_processor=images, image_size=36)
    settings = folder / "processor_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "num_additional_image_tokens": 1}))
    loaded = load_model(str(folder), dtype="float32")
    visual = shown(loaded, blocks(180, 90))
    assert (visual.views[0].rows, visual.views[0].cols) == (4, 4)
    assert visual.tokens[-1].box.x1 == pytest.approx(180 * 32 / 36)
    assert visual.tokens[5].box == dataclasses.replace(visual.tokens[5].box, x0=40, x1=80, y0=20, y1=40)
    assert visual.notes == (
        "The patches do not cover the whole picture: 21.0% of it, at the right and the bottom, is in no patch.",
    )
    every_patch_moves_its_token(loaded, blocks(180, 90))


def test_a_processor_that_exists_with_torchvision_only_says_so(models, saved, tmp_path):
    if is_torchvision_available():
        pytest.skip("torchvision is installed")
    folder = tmp_path / "mistral3"
    folder.mkdir()
    for file in saved("llava").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({**settings, "processor_class": "PixtralProcessor"}))
    with pytest.raises(ModelError, match="processor of .* needs torchvision, which is not installed"):
        load_model(str(folder), need_vision=True)


def test_the_largest_family_table_knows_each_type_once():
    from lensbank.models.visual_tokens import FAMILIES

    assert set(FAMILIES) >= {
        "llava", "fast_vlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_next", "llava_onevision", "idefics3",
        "smolvlm", "gemma3", "paligemma", "internvl", "mistral3", "molmo2",
    }  # fmt: skip


def test_an_image_that_the_processor_refuses(models):
    with pytest.raises(ModelError, match="aspect ratio must be smaller than 200"):
        prepare_image(models("qwen2_vl"), Image.new("RGB", (900, 2)))
