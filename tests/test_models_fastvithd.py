"""FastVLM with the tower it is published with, FastViTHD: its real size (123 M parameters), random weights.

Needs timm, and timm needs torchvision: `make test-torchvision`.
"""

import numpy as np
import pytest
import torch
from test_models_families import blocks, first_states, invert, shown
from tiny_models import tiny_tokenizer
from tiny_vlms import TEXT, chat_template, save
from transformers import CLIPImageProcessorPil, FastVlmConfig, FastVlmForConditionalGeneration, LlavaProcessor
from transformers.utils.import_utils import is_timm_available

from lensbank.models.loading import load_model

pytestmark = pytest.mark.skipif(not is_timm_available(), reason="not run: needs timm (`make test-torchvision`)")


def wake(tower):
    """Signals of a useful size, each from the pixels under it: random convolutions would spread and fade them."""
    for module in tower.modules():
        if isinstance(module, torch.nn.Conv2d):
            start, stride = module.kernel_size[0] // 2, module.stride[0]
            torch.nn.init.zeros_(module.weight)
            part = module.weight.data[..., start : start + stride, start : start + stride]
            part.copy_(torch.randn_like(part) * (2 / (part[0].numel())) ** 0.5)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.reset_parameters()
            module.reset_running_stats()
    for name, parameter in tower.named_parameters():
        if "gamma" in name or "layer_scale" in name:
            torch.nn.init.constant_(parameter, 0.1)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    torch.manual_seed(0)
    config = FastVlmConfig(text_config=dict(**TEXT, model_type="qwen2"), image_token_id=4, image_token_index=4)
    assert config.vision_config.architecture == "fastvit_mci3"
    model = FastVlmForConditionalGeneration(config)
    wake(model.model.vision_tower)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 1024}, crop_size={"height": 1024, "width": 1024}, do_normalize=False
        ),
        tokenizer=tiny_tokenizer(),
        patch_size=64,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=chat_template("<image>"),
    )
    folder = save(tmp_path_factory.mktemp("fastvithd") / "model", model, processor)
    return load_model(str(folder), dtype="float32", need_vision=True)


def test_each_of_16_by_16_tokens_belongs_to_its_64_pixels(loaded):
    """The tower's last stages have attention, so now and then another token moves more: 4 of 5 must be right."""
    pixels = blocks(800, 600)
    visual = shown(loaded, pixels)
    [view] = visual.views
    assert (view.rows, view.cols) == (16, 16)
    before = first_states(loaded, pixels)
    right = 0
    for number in np.random.default_rng(0).choice(256, 5, replace=False):
        change = (first_states(loaded, invert(pixels, visual.tokens[number].box)) - before).norm(dim=-1)
        right += int(change.argmax()) == number
    assert right >= 4
