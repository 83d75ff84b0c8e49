"""The estimate of what an image takes, beside what torch allocates."""

import dataclasses

import pytest
import torch
from PIL import Image
from test_models_families import blocks
from tiny_models import DIM, VOCAB, save_fastvlm, save_llava
from tiny_vlms import TINY
from transformers import CLIPImageProcessorPil

from benchmarks.compare_memory import peak
from lensbank.models.answers import answered, given_answer
from lensbank.models.loading import load_model
from lensbank.models.machine.memory import estimate_memory
from lensbank.models.states import visual_states
from lensbank.models.visual_tokens import prepare_image
from lensbank.schemas.inspection import MemoryEstimate

ALL = range(4)


def larger_llava(folder):
    """256 patches through a tower and a language model of width 32: activations outweigh what torch needs besides."""
    side = {"height": 128, "width": 128}
    images = CLIPImageProcessorPil(size={"shortest_edge": 128}, crop_size=side)
    return save_llava(folder, image_processor=images, image_size=128)


@pytest.mark.parametrize("kind", ["llava", "qwen3_vl", "fast_vlm"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_measured_peak_is_within_the_estimate_and_not_far_below(tmp_path, kind, dtype):
    make = {"llava": larger_llava, "qwen3_vl": TINY["qwen3_vl"].save, "fast_vlm": save_fastvlm}[kind]
    loaded = load_model(str(make(tmp_path / "model")), dtype=dtype)
    loaded.lm.module.config.max_position_embeddings = 4096
    visual = prepare_image(loaded, Image.fromarray(blocks(240, 240)))
    needed = estimate_memory(loaded, visual.inputs, len(visual.tokens), ALL)
    measured = peak(loaded.device, lambda: visual_states(loaded, visual, ALL))
    assert 0.2 * (needed.activations + needed.states) < measured <= needed.activations + needed.states


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("generated", [True, False])
def test_an_answer_needs_a_cache_and_keeps_every_state(tmp_path, dtype, generated):
    loaded = load_model(str(larger_llava(tmp_path / "model")), dtype=dtype)
    loaded.lm.module.config.max_position_embeddings = 4096
    inputs = prepare_image(loaded, Image.fromarray(blocks(240, 240))).inputs
    needed = estimate_memory(loaded, inputs, 256, ALL, 64, generated)
    without = estimate_memory(loaded, inputs, 256, ALL)
    assert (needed.cache > 0) is generated and ("cache of the answer" in str(needed)) is generated
    assert needed.total > without.total and without.cache == 0

    def ask():
        return answered(loaded, inputs, ALL, 64) if generated else given_answer(loaded, inputs, ALL, [5] * 64)

    found = []
    measured = peak(loaded.device, lambda: found.append(ask()))
    assert len(found[-1].ids) == 64, "another answer than the estimate is of"
    expected = needed.total - needed.weights
    assert 0.2 * expected < measured <= expected


def test_weights_and_states_are_exact(tmp_path):
    loaded = load_model(str(TINY["paligemma2"].save(tmp_path / "model")), dtype="bfloat16")
    visual = prepare_image(loaded, Image.fromarray(blocks()))
    one, more = (estimate_memory(loaded, visual.inputs, len(visual.tokens), layers) for layers in ([1], [1, 2, 3]))
    tensors = [*loaded.model.parameters(), *loaded.model.buffers()]
    assert one.weights == sum(t.numel() * t.element_size() for t in tensors)  # a tied head counts once
    length = visual.inputs["input_ids"].shape[1]
    assert one.states == 32 * (length * 2 + len(visual.tokens) * 4)
    assert more.states == 3 * one.states
    assert more.activations == one.activations


def test_eager_attention_needs_more(tmp_path):
    loaded = load_model(str(TINY["llava"].save(tmp_path / "model")), dtype="float32")
    visual = prepare_image(loaded, Image.fromarray(blocks()))
    flat = estimate_memory(loaded, visual.inputs, 16, [1])
    loaded.model.set_attn_implementation("eager")
    assert estimate_memory(loaded, visual.inputs, 16, [1]).activations > flat.activations


def test_of_weights_on_disk_only_the_largest_counts(tmp_path):
    import json

    from lensbank.models.machine.large import LargeModel, onto_disk

    plain = load_model(str(TINY["llava"].save(tmp_path / "model")), dtype="float32")
    (tmp_path / "map.json").write_text(json.dumps(onto_disk(plain.model, "model.language_model.layers.0")))
    spread = load_model(plain.source, dtype="float32", large=LargeModel(device_map=str(tmp_path / "map.json")))
    visual = prepare_image(plain, Image.fromarray(blocks()))
    whole, part = (estimate_memory(loaded, visual.inputs, 16, [1]) for loaded in (plain, spread))
    kept = sum(p.numel() * 4 for p in plain.lm.blocks[0].parameters())
    assert kept + VOCAB * DIM * 4 <= part.weights < whole.weights / 2
    assert dataclasses.replace(part, weights=0) == dataclasses.replace(whole, weights=0)


@pytest.mark.parametrize(
    ("count", "said"), [(100, "100 bytes"), (1536, "1.5 KB"), (3 * 2**20, "3.1 MB"), (5 * 2**29, "2.7 GB")]
)
def test_for_people(count, said):
    assert str(MemoryEstimate(count, 0, 0)) == f"about {said}: weights {said}, activations 0 bytes, kept states 0 bytes"


def test_without_pictures_there_is_no_tower(tmp_path):
    loaded = load_model(str(TINY["llava"].save(tmp_path / "model")), dtype="float32")
    text = estimate_memory(loaded, {"input_ids": torch.ones(1, 20, dtype=torch.int64)}, 0, [1])
    assert 0 < text.activations < 100_000
