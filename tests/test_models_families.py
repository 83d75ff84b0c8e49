"""What must hold for every family of VLMs: real transformers classes and processors, tiny random weights."""

import copy
import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import N_LAYERS, SENTENCES
from tiny_vlms import TINY
from transformers.utils.import_utils import is_torchvision_available

from lensbank.ingest.corpus import read_corpora
from lensbank.ingest.options import IngestOptions
from lensbank.ingest.pipeline import run
from lensbank.models.answers import answered, given_answer
from lensbank.models.capture import capture_hidden_states
from lensbank.models.files.grids import grid_of
from lensbank.models.loading import load_model
from lensbank.models.positions import prompt_positions
from lensbank.models.states import sequence_states, visual_states
from lensbank.models.visual.patches import image_features, token_positions, unpadded
from lensbank.models.visual.prompting import image_prompt
from lensbank.models.visual_tokens import family_of, locate, prepare_image, prepare_images, process
from lensbank.query.pipeline import QueryOptions, QuerySession
from lensbank.schemas.errors import ModelError
from lensbank.store.opening import open_store

SIZES = {
    "square": (160, 160),
    "wide": (300, 100),
    "tall": (90, 260),
    "tiny": (3, 2),
    "one": (1, 1),
    "huge": (1500, 900),
}
WIDTH, HEIGHT = 240, 150
# Families whose grid is told by settings alone.
TOLD = ("fast_vlm", "llava", "paligemma", "paligemma2")


@pytest.fixture(params=[name for name, vlm in TINY.items() if is_torchvision_available() or not vlm.torchvision])
def name(request):
    return request.param


@pytest.mark.skipif(
    not is_torchvision_available(), reason="not run: families with torchvision only (`make test-torchvision`)"
)
def test_families_whose_processors_exist_with_torchvision_only_are_among_those_tested():
    """Reported as skipped where they are not."""


@pytest.fixture
def loaded(models, name):
    return models(name)


def blocks(width=WIDTH, height=HEIGHT, seed=0):
    """A picture that is different everywhere and survives being made smaller."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (max(1, height // 10), max(1, width // 10), 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.NEAREST)).copy()


def shown(loaded, pixels, prompt=None):
    return prepare_image(loaded, Image.fromarray(pixels), prompt)


def first_states(loaded, pixels):
    """What enters the first block at each visual token."""
    return visual_states(loaded, shown(loaded, pixels), [0])[0]


def invert(pixels, box):
    x0, y0, x1, y1 = (round(value) for value in dataclasses.astuple(box))
    changed = pixels.copy()
    changed[y0:y1, x0:x1] = 255 - changed[y0:y1, x0:x1]
    return changed


def moved_most(loaded, visual, before, pixels):
    """For each view that noticed, its token whose first state changed most."""
    change = (first_states(loaded, pixels) - before).norm(dim=-1)
    found = {}
    for view in visual.views:
        members = [number for number, token in enumerate(visual.tokens) if token.view == view.index]
        most = max(members, key=lambda number: change[number])
        if change[most] > 0.05 * change.max():
            found[view.index] = visual.tokens[most]
    return found


@pytest.mark.parametrize("size", SIZES)
def test_as_many_visual_tokens_as_the_model_makes(loaded, name, size):
    visual = shown(loaded, blocks(*SIZES[size]))
    if len(visual.tokens) == 1 and not TINY[name].one_token:
        with pytest.raises(ModelError, match="failed on the image: split_with_sizes expects"):
            visual_states(loaded, visual, [0])
        return
    features = image_features(loaded, visual.inputs)
    pooled = features.pooler_output
    count = sum(part.numel() // part.shape[-1] for part in (pooled if isinstance(pooled, list | tuple) else [pooled]))
    positions = token_positions(loaded, visual.inputs)
    assert len(positions) == count
    assert {token.index for token in visual.tokens} <= set(positions)
    cells = Counter((token.view, token.row, token.col) for token in visual.tokens)
    assert set(cells.values()) == {1}
    told = grid_of(Path(loaded.source))
    assert told is None or [told] == [(view.rows, view.cols) for view in visual.views]
    assert (told is not None) == (name in TOLD)
    padding = sum(token.kind == "padding" for token in visual.layout)
    assert len(cells) + padding == sum(view.rows * view.cols for view in visual.views)
    layout = {token.index for token in visual.layout}
    assert not layout & {token.index for token in visual.tokens}
    assert set(positions) <= layout | {token.index for token in visual.tokens}


@pytest.mark.parametrize("size", SIZES)
def test_boxes_lie_in_the_image_and_follow_rows_and_columns(loaded, size):
    width, height = SIZES[size]
    visual = shown(loaded, blocks(width, height))
    for token in visual.tokens:
        assert 0 <= token.box.x0 < token.box.x1 <= width
        assert 0 <= token.box.y0 < token.box.y1 <= height
    for view in visual.views:
        boxes = {(t.row, t.col): t.box for t in visual.tokens if t.view == view.index}
        for (row, col), box in boxes.items():
            if (row, col + 1) in boxes:
                assert box.x1 <= boxes[row, col + 1].x0
            if (row + 1, col) in boxes:
                assert box.y1 <= boxes[row + 1, col].y0
            assert view.box.x0 <= box.x0 and box.x1 <= view.box.x1
            assert view.box.y0 <= box.y0 and box.y1 <= view.box.y1


def test_pixels_under_a_patch_move_its_own_token_most(loaded):
    """Geometry by intervention, in every view: change what a box covers, and see which token notices."""
    pixels = blocks()
    visual = shown(loaded, pixels)
    before = first_states(loaded, pixels)
    rng = np.random.default_rng(0)
    for view in visual.views:
        members = [token for token in visual.tokens if token.view == view.index]
        for number in rng.choice(len(members), min(len(members), 3 if len(visual.views) > 2 else 10), replace=False):
            token = members[number]
            found = moved_most(loaded, visual, before, invert(pixels, token.box))[view.index]
            assert found == token, f"changing {token.box} moved {found.row},{found.col}, not {token.row},{token.col}"


@pytest.mark.parametrize(("right", "bottom"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_marked_corner_lands_in_its_corner_of_the_grid(loaded, right, bottom):
    grey = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
    visual = shown(loaded, grey)
    view = visual.views[0]
    corner = next(
        token
        for token in visual.tokens
        if (token.view, token.row, token.col) == (0, view.rows - 1 if bottom else 0, view.cols - 1 if right else 0)
    )
    width, height = (corner.box.x1 - corner.box.x0) * 0.6, (corner.box.y1 - corner.box.y0) * 0.6
    x = round(view.box.x1 - width if right else view.box.x0)
    y = round(view.box.y1 - height if bottom else view.box.y0)
    marked = grey.copy()
    marked[y : y + round(height), x : x + round(width)] = (255, 0, 0)
    found = moved_most(loaded, visual, first_states(loaded, grey), marked)
    assert found[0] == corner
    for token in found.values():  # where another view saw it, it saw it there
        assert token.box.x0 <= x + width and x <= token.box.x1
        assert token.box.y0 <= y + height and y <= token.box.y1


def test_layers_are_the_blocks_own_outputs(loaded):
    """Layer 0 is what enters block 1; layer k is what block k gives when it is called again by hand."""
    visual = shown(loaded, blocks(), "Is it a dog?")
    calls = []
    handles = [
        block.register_forward_pre_hook(lambda _m, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
        for block in loaded.lm.blocks
    ]
    states = visual_states(loaded, visual, range(N_LAYERS + 1))
    for handle in handles:
        handle.remove()
    rows = [token.index for token in visual.tokens]
    torch.testing.assert_close(states[0], calls[0][0][0][0, rows], rtol=0, atol=0)
    assert len(calls) == len(loaded.lm.blocks) == N_LAYERS
    with torch.inference_mode():
        for layer, (block, (args, kwargs)) in enumerate(zip(loaded.lm.blocks, calls, strict=True), 1):
            output = block(*args, **kwargs)
            output = output[0] if isinstance(output, tuple) else output
            torch.testing.assert_close(states[layer], output[0, rows])


def test_states_and_logits_are_those_of_an_unhooked_forward_pass(loaded):
    visual = shown(loaded, blocks(), "Is it a dog?")
    states = visual_states(loaded, visual, range(N_LAYERS + 1))
    with torch.inference_mode():
        plain = loaded.model(**visual.inputs, output_hidden_states=True, use_cache=False)
    rows = [token.index for token in visual.tokens]
    for layer in range(N_LAYERS):
        torch.testing.assert_close(states[layer], plain.hidden_states[layer][0, rows])
    torch.testing.assert_close(loaded.lm.final_norm(states[N_LAYERS]), plain.hidden_states[N_LAYERS][0, rows])
    torch.testing.assert_close(loaded.lm.logits(states[N_LAYERS]), plain.logits[0, rows])
    assert states[N_LAYERS].std() > 0


def test_layer_zero_is_the_connector_s_output_in_grid_order(loaded, name):
    visual = shown(loaded, blocks())
    pooled = image_features(loaded, visual.inputs).pooler_output
    made = torch.cat([part.reshape(-1, part.shape[-1]) for part in pooled])
    if TINY[name].adds_to is not None:
        made = made + TINY[name].adds_to(loaded)
    order = token_positions(loaded, visual.inputs)
    rows = [order.index(token.index) for token in visual.tokens]
    torch.testing.assert_close(visual_states(loaded, visual, [0])[0], made[rows])


def ask_about_two(loaded, name, question):
    """A prompt with two images."""
    parts = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": question}]
    template = loaded.processor.chat_template
    if template is None:
        return TINY[name].image * 2 + question
    return loaded.tokenizer.apply_chat_template(
        [{"role": "user", "content": parts}], chat_template=template, tokenize=False
    )


def states_of(loaded, inputs, layers):
    with torch.inference_mode(), capture_hidden_states(loaded.lm, layers) as captured:
        loaded.model(**inputs, use_cache=False)
    return captured


def rows_of(inputs, sample, placement):
    index = torch.tensor([token.index for token in placement.tokens])
    return unpadded(inputs, sample).nonzero().flatten()[index]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_of_two_images_gives_each_its_own_tokens(loaded, side):
    one, other = Image.fromarray(blocks(seed=1)), Image.fromarray(blocks(90, 200, seed=2))
    texts = ["What?", "Is there a dog on the old brick house?"]
    tokenizer = loaded.tokenizer, loaded.processor.tokenizer
    before = [each.padding_side for each in tokenizer]
    for each in tokenizer:
        each.padding_side = side
    try:
        prompts = [image_prompt(loaded, text, family_of(loaded).separator) for text in texts]
        inputs = process(loaded, [[one], [other]], prompts)
    finally:
        for each, was in zip(tokenizer, before, strict=True):
            each.padding_side = was
    assert not inputs["attention_mask"].bool().all()
    together = states_of(loaded, inputs, [0, N_LAYERS])
    placements = locate(loaded, inputs, [[one.size], [other.size]])
    for sample, (image, text) in enumerate(zip((one, other), texts, strict=True)):
        alone = prepare_image(loaded, image, text)
        [placement] = placements[sample]
        assert placement.tokens == alone.tokens
        assert placement.views == alone.views
        expected = visual_states(loaded, alone, [0, N_LAYERS])
        rows = rows_of(inputs, sample, placement)
        for layer in (0, N_LAYERS):
            torch.testing.assert_close(together[layer][sample, rows], expected[layer], rtol=2e-4, atol=2e-5)


def test_several_images_in_one_prompt(loaded, name):
    if not TINY[name].several:
        return  # seen in another way: tests/test_models_families_special.py
    one, other = Image.fromarray(blocks(seed=1)), Image.fromarray(blocks(90, 200, seed=2))
    inputs = process(loaded, [[one, other]], [ask_about_two(loaded, name, "What?")])
    [[first, second]] = locate(loaded, inputs, [[one.size, other.size]])
    captured = states_of(loaded, inputs, [0])[0]
    assert [view.index for view in (*first.views, *second.views)] == list(range(len(first.views) + len(second.views)))
    for placement, image in ((first, one), (second, other)):
        alone = prepare_image(loaded, image)
        assert [(t.row, t.col, t.box) for t in placement.tokens] == [(t.row, t.col, t.box) for t in alone.tokens]
        assert [(v.kind, v.rows, v.cols, v.box) for v in placement.views] == [
            (v.kind, v.rows, v.cols, v.box) for v in alone.views
        ]
        seen, expected = captured[0, rows_of(inputs, 0, placement)], visual_states(loaded, alone, [0])[0]
        torch.testing.assert_close(seen, expected, rtol=2e-4, atol=2e-5)  # sums in another order, as in a batch
    assert max(token.index for token in first.tokens) < min(token.index for token in second.tokens)


def test_a_batch_of_prompts_with_unequal_numbers_of_images(loaded, name):
    if not TINY[name].several:
        return  # seen in another way: tests/test_models_families_special.py
    pictures = [Image.fromarray(blocks(*size, seed=i)) for i, size in enumerate([(240, 150), (90, 200), (120, 120)])]
    prompts = [ask_about_two(loaded, name, "What?"), image_prompt(loaded, "Is it a dog?", family_of(loaded).separator)]
    inputs = process(loaded, [pictures[:2], pictures[2:]], prompts)
    sizes = [[picture.size for picture in pictures[:2]], [pictures[2].size]]
    placements = locate(loaded, inputs, sizes)
    assert [len(found) for found in placements] == [2, 1]
    captured = states_of(loaded, inputs, [0])[0]
    placed = [(0, placements[0][0]), (0, placements[0][1]), (1, placements[1][0])]
    for picture, (sample, placement) in zip(pictures, placed, strict=True):
        alone = prepare_image(loaded, picture)
        assert [(t.row, t.col, t.box) for t in placement.tokens] == [(t.row, t.col, t.box) for t in alone.tokens]
        expected = visual_states(loaded, alone, [0])[0]
        torch.testing.assert_close(captured[sample, rows_of(inputs, sample, placement)], expected, rtol=2e-4, atol=2e-5)


@pytest.fixture
def pair():
    """Images of different size and shape."""
    return [Image.fromarray(blocks(seed=1)), Image.fromarray(blocks(90, 200, seed=2))]


def test_every_state_of_a_prompt_and_an_answer_is_that_of_a_plain_generation(loaded, pair):
    """Hidden states as transformers gives them of a cached generation, step by step; what is given, likewise."""
    visual = prepare_images(loaded, pair, "A dog, an old house?")
    layers, length = range(N_LAYERS + 1), visual.inputs["input_ids"].shape[1]
    found = answered(loaded, visual.inputs, layers, 4, 2)
    with torch.inference_mode():
        plain = loaded.model.generate(
            **visual.inputs,
            max_new_tokens=5,
            do_sample=False,
            return_dict_in_generate=True,
            output_hidden_states=True,
            output_logits=True,
        )
    assert found.emitted == tuple(plain.sequences[0, length:].tolist()) and found.ids == found.emitted[:-1]
    steps = [torch.cat([step[layer][0] for step in plain.hidden_states]) for layer in layers]
    assert len(steps[0]) == length + 4
    for layer in range(N_LAYERS):
        torch.testing.assert_close(found.states[layer], steps[layer], rtol=0, atol=0)
    torch.testing.assert_close(loaded.lm.final_norm(found.states[N_LAYERS]), steps[N_LAYERS])
    logits = loaded.lm.logits(found.states[N_LAYERS][length - 1 :])
    torch.testing.assert_close(logits, torch.cat(plain.logits))
    assert tuple(logits.argmax(-1).tolist()) == found.emitted  # LogitLens names what is said, at every position
    given = given_answer(loaded, visual.inputs, layers, found.ids, 2)
    assert (given.ids, given.emitted) == (found.ids, found.emitted)
    for layer in layers:
        torch.testing.assert_close(given.states[layer], found.states[layer], rtol=1e-4, atol=2e-5)
    alone = sequence_states(loaded, visual.inputs, [N_LAYERS], range(length))
    torch.testing.assert_close(alone[N_LAYERS], found.states[N_LAYERS][:length], rtol=1e-4, atol=2e-5)


def test_every_position_has_its_kind_and_the_prompt_s_their_characters(loaded, pair):
    visual = prepare_images(loaded, pair, "A dog, an old house?")
    texts = prompt_positions(loaded, visual)
    ids = visual.inputs["input_ids"][0].tolist()
    assert sorted([t.index for t in texts] + [t.index for t in visual.tokens]) == list(range(len(ids)))
    assert [text.token_id for text in texts] == [ids[text.index] for text in texts]
    prompt = [text for text in texts if text.kind == "prompt"]
    seen = [visual.prompt[text.start : text.end] for text in prompt]
    assert "".join(seen).endswith(
        "Adog,anoldhouse?" if "assistant" not in visual.prompt else "Adog,anoldhouse?assistant"
    )
    for text, shown_ in zip(prompt, seen, strict=True):
        assert shown_ == loaded.tokenizer.decode([text.token_id]).strip()
    assert {"<s>", "<|im_start|>", "<|im_end|>"} & {text.label for text in texts} <= {
        text.label for text in texts if text.kind == "special"
    }


def test_each_patch_of_each_image_has_its_own_image(loaded, pair):
    """By intervention: pixels of one image under a patch move that patch of that image most, and no other image's."""
    visual = prepare_images(loaded, pair, "A dog?")
    of = [visual.views[token.view].image for token in visual.tokens]
    assert of == sorted(of) and set(of) == {0, 1}
    before = visual_states(loaded, visual, [0])[0]
    for number, image in enumerate(pair):
        own = [place for place, one in enumerate(of) if one == number]
        for token in (visual.tokens[own[0]], visual.tokens[own[-1]], visual.tokens[own[len(own) // 2]]):
            assert 0 <= token.box.x0 < token.box.x1 <= image.width and 0 <= token.box.y0 < token.box.y1 <= image.height
            changed = list(pair)
            changed[number] = Image.fromarray(invert(np.asarray(image), token.box))
            moved = (visual_states(loaded, prepare_images(loaded, changed, "A dog?"), [0])[0] - before).norm(dim=-1)
            in_view = [place for place in own if visual.tokens[place].view == token.view]
            assert visual.tokens[max(in_view, key=lambda place: moved[place])] == token
            assert moved[[place for place, one in enumerate(of) if one != number]].max() < 1e-5


def test_without_a_chat_template_the_same_patches(loaded):
    bare = dataclasses.replace(loaded, processor=copy.copy(loaded.processor), tokenizer=copy.copy(loaded.tokenizer))
    bare.processor.chat_template = bare.tokenizer.chat_template = None
    pixels = blocks()
    one, other = shown(loaded, pixels), shown(bare, pixels)
    assert len(other.prompt) < len(one.prompt) or loaded.processor.chat_template is None
    assert [(t.view, t.row, t.col, t.box) for t in one.tokens] == [(t.view, t.row, t.col, t.box) for t in other.tokens]
    torch.testing.assert_close(visual_states(loaded, one, [0])[0], visual_states(bare, other, [0])[0])


def test_what_is_asked_after_the_image_matters_only_where_the_family_says_so(loaded, name):
    first, second = (
        visual_states(loaded, shown(loaded, blocks(), text), [N_LAYERS])[N_LAYERS]
        for text in ("A dog?", "Two cats and a tree.")
    )
    assert torch.allclose(first, second, rtol=1e-4, atol=1e-5) == TINY[name].causal


def test_bfloat16_gives_the_same_directions(saved, loaded, name):
    coarse = load_model(str(saved(name)), dtype="bfloat16", need_vision=True)
    pixels = blocks()
    exact = visual_states(loaded, shown(loaded, pixels), [0, N_LAYERS])
    for layer, states in visual_states(coarse, shown(coarse, pixels), [0, N_LAYERS]).items():
        assert states.dtype == torch.float32
        assert torch.cosine_similarity(states, exact[layer]).min() > 0.98
    assert [t.box for t in shown(coarse, pixels).tokens] == [t.box for t in shown(loaded, pixels).tokens]


def test_eager_and_sdpa_attention_agree(saved, name):
    states = []
    for kind in TINY[name].kinds:
        loaded = load_model(str(saved(name)), dtype="float32", need_vision=True)
        attending = loaded.model if TINY[name].attention else loaded.lm.module
        attending.set_attn_implementation(kind)
        assert loaded.lm.module.config._attn_implementation == kind
        states.append(visual_states(loaded, shown(loaded, blocks()), [0, N_LAYERS]))
    for layer in (0, N_LAYERS):
        torch.testing.assert_close(states[0][layer], states[-1][layer], rtol=1e-3, atol=1e-5)


def test_from_a_corpus_to_an_image_s_neighbours(loaded, tmp_path):
    """The VLM's own language model makes the bank; the image is read through it."""
    corpus, image = tmp_path / "corpus.txt", tmp_path / "image.png"
    corpus.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    Image.fromarray(blocks()).save(image)
    settings = IngestOptions(layers=(1, 2), max_contexts=5, seed=0, vector_dtype="float32", batch_tokens=None)
    with read_corpora([str(corpus)]) as read, open_store(str(tmp_path / "store"), create=True) as store:
        run(loaded, read, store, settings)
        with QuerySession(store, loaded, QueryOptions(layers=(0, 2), top_k=3)) as session:
            reading = session.image(image)
    assert [layer.layer for layer in reading.layers] == [0, 2]
    for token in reading.layers[1].tokens:
        assert len(token.neighbors) == 3
        assert 0 <= token.box.x0 < token.box.x1 <= WIDTH
        assert 0 <= token.box.y0 < token.box.y1 <= HEIGHT
