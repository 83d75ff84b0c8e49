"""Training: packed sequences mean what they say, the projector becomes FastVLM's, the schedule follows the clock."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from demo.lean import LeanLlama
from demo.packing import ROWS, SEQ, Packer, patches_under
from demo.projector import Projector, apply_projector, read_projector, write_projector
from demo.scenes import COLOURS, compose
from demo.sprites import Concept, Sprite
from demo.trainer import Schedule

VOCAB = 300


class Words:
    """A tokenizer of whole words and marks; the same word has the same id with and without a blank."""

    def __init__(self):
        self.ids = {}

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        parts = text.replace("\n", " \n ").replace(".", " .").replace(",", " ,").split(" ")
        return {"input_ids": [self.ids.setdefault(p, len(self.ids) + 1) % VOCAB for p in parts if p] or [0]}


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(0)
    art = np.full((40, 40, 4), 255, np.uint8)
    sprites = [Sprite(Concept(word, (), {}), "plain", art) for word in ("dog", "cat", "bus", "key", "owl")]
    return [compose(rng, sprites)[1] for _ in range(12)]


@pytest.fixture(scope="module")
def lean():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    return LeanLlama(model, torch.float32), torch.randn(VOCAB, 32)


def states(lean, embedded, positions, bias):
    cosines, sines = lean.rotary(positions, torch.float32)
    with torch.inference_mode():
        return lean(embedded, cosines, sines, bias)


@pytest.mark.parametrize("regions", [False, True])
def test_packed_captions_are_computed_as_if_alone(scenes, lean, regions):
    model, table = lean
    batch = Packer(Words(), scenes, seed=5).pack(regions)
    assert batch.ids.shape == (ROWS, SEQ)
    embedded = table[batch.ids]
    torch.manual_seed(1)
    row, column, _, _ = batch.visual.T
    embedded[row, column] = torch.randn(len(row), 32)
    packed = states(model, embedded, batch.positions, batch.bias.float())
    checked = 0
    for line in range(ROWS):
        for start, end in branches_of(batch, line):
            # What a caption's tokens may see, in their order: the mask's own row of the last of them.
            seen = torch.where(batch.bias[line, 0, end - 1] == 0)[0]
            assert seen[-1] == end - 1 and (batch.positions[line, seen].diff() > 0).all()
            causal = torch.zeros(1, 1, len(seen), len(seen)).masked_fill(
                torch.ones(len(seen), len(seen)).triu(1).bool(), -1e4
            )
            alone = states(model, embedded[line, seen][None], batch.positions[line, seen][None], causal)
            torch.testing.assert_close(alone[0, start - end :], packed[line, start:end], rtol=1e-4, atol=1e-4)
            # Nothing of another picture, nothing of another caption.
            visual = batch.visual[(row == line) & torch.isin(column, seen)]
            assert len(visual[:, 2].unique()) == 1
            checked += 1
    assert checked > ROWS


def branches_of(batch, line):
    """(start, end) of each run of labels; a branch begins where the position falls back."""
    labelled = (batch.labels[line] >= 0).tolist()
    positions = batch.positions[line].tolist()
    runs, start = [], None
    for i in range(SEQ + 1):
        inside = i < SEQ and labelled[i]
        if start is not None and (not inside or positions[i] != positions[i - 1] + 1):
            runs.append((start, i))
            start = None
        if inside and start is None:
            start = i
    return runs


def test_labels_are_the_next_tokens_of_captions_of_the_picture_shown(scenes):
    words = Words()
    packer = Packer(words, scenes, seed=2)
    batch = packer.pack(False)
    text = {number % VOCAB: word for word, number in words.ids.items()}
    objects = {concept.concept.word for scene in scenes for concept in scene.objects}
    for line in range(ROWS):
        for start, end in branches_of(batch, line):
            labels, inputs = batch.labels[line, start:end].tolist(), batch.ids[line, start:end].tolist()
            assert labels[:-1] == inputs[1:]
            assert text[labels[-1]] == "<|im_end|>"
            seen = torch.where(batch.bias[line, 0, end - 1] == 0)[0]
            shown = batch.visual[(batch.visual[:, 0] == line) & torch.isin(batch.visual[:, 1], seen)][0, 2]
            there = {thing.concept.word for thing in scenes[shown].objects}
            said = {text[i].lower().strip(":;?") for i in labels}
            assert said & objects <= there and said & there


def test_visual_tokens_keep_their_positions(scenes):
    batch = Packer(Words(), scenes, seed=3).pack(False)
    first = batch.visual[batch.visual[:, 0] == 0]
    before = int(first[0, 1])  # the prefix's length
    positions = batch.positions[first[:, 0], first[:, 1]]
    assert torch.equal(positions, before + first[:, 3])
    for thing in scenes[int(first[0, 2])].objects:
        own = first[first[:, 2] == first[0, 2]][:, 3].tolist()
        assert set(own) & set(patches_under(scenes[int(first[0, 2])], thing))


def test_the_trained_projector_becomes_fastvlms_layers(tmp_path):
    torch.manual_seed(0)
    projector = Projector(torch.randn(1280), torch.rand(1280) + 0.5, 16, 0.14)
    x = torch.randn(3, 49, 1280) * 2 + 1
    with torch.no_grad():
        free, log_rms = projector(x, 0.0)
        held, _ = projector(x, 1.0)
    torch.testing.assert_close(apply_projector(projector.plain(), x), free, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(held.pow(2).mean(-1).sqrt(), torch.full((3, 49), 0.14), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(free, held * log_rms.exp(), rtol=1e-3, atol=1e-4)
    write_projector(projector.plain(), tmp_path / "p.safetensors")
    again = apply_projector(read_projector(tmp_path / "p.safetensors"), x)
    torch.testing.assert_close(again, free, rtol=0.1, atol=0.03)  # bfloat16
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


def test_schedule_follows_the_clock():
    schedule = Schedule(minutes=100)
    assert schedule.regions(0) and not schedule.regions(3.5)
    assert schedule.hold(0) == 1 and schedule.hold(15) == 1 and schedule.hold(100) == 0
    assert 0 < schedule.hold(25) < 1
    rates = [schedule.rate(minute) for minute in (0.5, 25, 50, 75, 100)]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.05 * rates[0]
    assert schedule.rate(0) < 0.1 * rates[0]


def test_scenes_place_things_apart_and_inside():
    art = np.full((30, 20, 4), 255, np.uint8)
    sprites = [Sprite(Concept(word, (), {}), "plain", art) for word in "abcdefgh"]
    rng = np.random.default_rng(4)
    for width, height in [(224, 224), (320, 224), (224, 336)] * 20:
        image, scene = compose(rng, sprites, width, height)
        assert image.size == (width, height) == (scene.width, scene.height)
        assert scene.background in COLOURS and 1 <= len(scene.objects) <= 4
        assert len({thing.concept.word for thing in scene.objects}) == len(scene.objects)
        for thing in scene.objects:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        for i, a in enumerate(scene.objects):
            for b in scene.objects[i + 1 :]:
                across = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
                down = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
                assert across <= 2 or down <= 2


def test_the_same_seed_draws_the_same_scene():
    art = np.arange(30 * 20 * 4, dtype=np.uint8).reshape(30, 20, 4)
    sprites = [Sprite(Concept(word, (), {}), "plain", art) for word in "abcdefgh"]
    (one, first), (two, second) = (compose(np.random.default_rng(9), sprites) for _ in range(2))
    assert first == second and one.tobytes() == two.tobytes()
    assert compose(np.random.default_rng(10), sprites)[1] != first
