"""The paper's connector VLMs: conversion, and the converted model against plain torch functions."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
import yaml
from connector_reference import picture, reference
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_connectors import ADDITIONAL, DIM, ROWS, VISION, parts, published_tensors, settings
from tiny_models import N_LAYERS

from lensbank.models.connectors.convert import convert
from lensbank.models.families import connector as family
from lensbank.models.loading import load_model
from lensbank.models.states import visual_states
from lensbank.models.visual.patches import token_strings
from lensbank.models.visual_tokens import prepare_image
from lensbank.schemas.errors import InputError, ModelError, UsageError

ALL = [(llm, encoder) for llm in ("llama", "qwen2", "olmo2") for encoder in ("clip", "siglip", "dinov2")]
SIZES = [(70, 40), (40, 93), (31, 31)]


def photo(width=70, height=40, seed=0):
    """Smooth enough that one grey level is little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Parts and converted directory of a pair, made when first asked for."""
    known = {}

    def get(llm, encoder, tied=False):
        key = (llm, encoder, tied)
        if key not in known:
            root = tmp_path_factory.mktemp("connector")
            folders = parts(root, llm, encoder, tied)
            done = convert(folders[0], str(folders[1]), str(folders[2]), root / "model")
            known[key] = folders, done, load_model(str(root / "model"), dtype="float32", need_vision=True)
        return known[key]

    return get


@pytest.mark.parametrize(("llm", "encoder"), ALL)
def test_every_pair_does_what_the_description_says(made, llm, encoder):
    """All nine: states at every layer and logits against the published files through plain functions."""
    folders, _, loaded = made(llm, encoder)
    question = "Is there a dog?"
    ids = loaded.tokenizer(" " + question, add_special_tokens=False)["input_ids"]
    for size in SIZES[:2]:
        visual = prepare_image(loaded, photo(*size), question)
        pixels = visual.inputs["pixel_values"][0].permute(1, 2, 0)
        first = 0 if llm == "llama" else 3  # <s>, or the end-of-text token where there is no <s>
        positions, states, logits, _ = reference(photo(*size), ids, first, *folders, llm, pixels)
        assert visual.inputs["input_ids"].shape[1] == len(states[0])
        rows = [token.index for token in visual.tokens]
        assert set(rows) <= set(positions)
        ours = visual_states(loaded, visual, range(N_LAYERS + 1))
        for layer in range(N_LAYERS + 1):
            torch.testing.assert_close(ours[layer], states[layer][rows], rtol=1e-3, atol=2e-4)
        with torch.inference_mode():
            torch.testing.assert_close(loaded.model(**visual.inputs).logits[0], logits, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("encoder", ["clip", "siglip", "dinov2"])
@pytest.mark.parametrize("size", [*SIZES, (400, 30), (1, 1)])
def test_pixels_are_those_of_the_encoder_s_own_resizing(made, encoder, size):
    """SigLIP's by hand, to rounding; the others against PIL's filters, which are within a grey level or two."""
    _, _, loaded = made("llama", encoder)
    processor = loaded.processor.image_processor
    kind = {"clip": "openai", "siglip": "siglip", "dinov2": "dino"}[encoder]
    pixels, codes = processor(photo(*size))
    plain = (pixels * processor._std + processor._mean).permute(1, 2, 0).numpy() * 255
    if size == (400, 30):  # PIL keeps 8 bits between its two passes
        assert np.abs(plain - picture(photo(*size), kind, processor.size)[0] * 255).max() < 4
        return
    expected, mask = picture(photo(*size), kind, processor.size)
    assert np.abs(plain - expected * 255).max() < (1.01 if encoder == "siglip" else 2.01)
    assert np.abs(plain - expected * 255).mean() < 0.5
    share = mask.reshape(processor.grid, 8, processor.grid, 8).mean((1, 3)).flatten()
    assert codes.tolist() == [1 if s == 0 else 0 if s == 1 else 2 for s in share]


def test_siglip_does_not_average_what_it_skips(made):
    """Stripes finer than the picture: an antialiased resize would make them grey."""
    _, _, loaded = made("llama", "siglip")
    stripes = np.zeros((200, 200, 3), dtype=np.uint8)
    stripes[:, ::5] = 255
    pixels, _ = loaded.processor.image_processor(Image.fromarray(stripes))
    assert pixels.abs().min() > 0.9  # black or white


def test_clip_fits_the_image_into_padding_that_is_left_out(made):
    _, _, loaded = made("llama", "clip")
    visual = prepare_image(loaded, photo(400, 100), None)
    kinds = [token.kind for token in visual.layout]
    assert (kinds.count("padding"), kinds.count("newline")) == (8, 4)
    assert (kinds.count("start"), kinds.count("end")) == (1, 1)
    assert sorted({(token.row) for token in visual.tokens}) == [1, 2]
    assert visual.tokens[0].box.y0 == 0 and visual.tokens[-1].box.y1 == 100
    assert any("see only padding" in note for note in visual.notes)


def test_square_images_may_lose_a_row_to_single_precision(made):
    """As in training: 32 / 27 * 27 is a hair below 32."""
    _, _, loaded = made("llama", "clip")
    processor = loaded.processor.image_processor
    sides = [processor.frame(n, n).height for n in range(1, 200)]
    assert set(sides) <= {31, 32}
    expected = [int(np.float32(n) * (np.float32(32) / np.float32(n))) for n in range(1, 200)]
    assert sides == expected


def test_the_sequence_begins_as_in_training(made):
    for llm, first in (("llama", "<s>"), ("qwen2", "<|im_end|>")):
        _, _, loaded = made(llm, "clip")
        visual = prepare_image(loaded, photo(), "What is it?")
        assert visual.prompt == "<|image|> What is it?"
        strings = token_strings(loaded, family.FAMILY, visual.inputs["input_ids"][0].tolist())
        assert strings[:3] == (first, "<im_start>", "<im_patch>")
        assert strings[6:8] == ("<im_col>", "<im_patch>")
        assert strings.count("<im_col>") == 4
        assert strings[22] == "<im_end>"
        assert "".join(strings[23:]).replace("Ġ", " ") == " What is it?"


@pytest.mark.parametrize("tied", [False, True])
def test_a_bank_of_the_language_model_fits(made, tied):
    """Weights and tokenizer are the language model's own: nothing has to be ingested twice."""
    folders, _, loaded = made("qwen2", "clip", tied)
    text = load_model(str(folders[1]), dtype="float32")
    assert loaded.weights == text.weights
    assert loaded.tokenizer_fingerprint == text.tokenizer_fingerprint
    assert (loaded.lm.unembed.weight is loaded.lm.embed_tokens.weight) == tied
    assert loaded.tokenizer.chat_template is None


def test_only_olmo_s_tokens_are_rows_of_its_own_embedding(made):
    """Its tokenizer is padded to fewer tokens than the model has embeddings: the published settings say so."""
    for llm, first, own in (("olmo2", ROWS - 20, True), ("llama", ROWS, False)):
        folders, done, loaded = made(llm, "dinov2")
        config = loaded.model.config
        assert config.image_start_token_id == first
        ids = torch.tensor([config.image_token_id])
        rows = load_file(folders[1] / "model.safetensors")["model.embed_tokens.weight"]
        new = published_tensors()["transformer.wte.new_embedding"]
        expected = rows[first + 2] if own else new[2]
        torch.testing.assert_close(loaded.model.embed(ids)[0], expected, rtol=0, atol=0)
        assert any("not trained with the connector" in note for note in done.notes) == own
        assert done.notes == tuple(config.source["notes"])


def test_what_training_changed_is_written_and_said(made):
    _, done, loaded = made("llama", "clip")
    assert loaded.lm.module.config.rms_norm_eps == 1e-6
    assert "rms_norm_eps of the language model was 1e-05" in done.notes[0]
    assert made("qwen2", "clip")[1].notes == ()


def test_dinov2_s_positions_are_interpolated_once_as_in_training(made):
    """transformers' own interpolation takes another scale and gives other values."""
    folders, _, loaded = made("llama", "dinov2")
    old = load_file(folders[2] / "model.safetensors")["embeddings.position_embeddings"]
    new = loaded.model.vision_tower.embeddings.position_embeddings
    assert old.shape == (1, 37, VISION) and new.shape == (1, 17, VISION)
    torch.testing.assert_close(new[:, 0], old[:, 0], rtol=0, atol=0)
    plain = torch.nn.functional.interpolate(
        old[:, 1:].reshape(1, 6, 6, VISION).permute(0, 3, 1, 2), size=(4, 4), mode="bicubic"
    )
    assert (new[0, 1:] - plain.permute(0, 2, 3, 1).reshape(16, VISION)).abs().max() > 1e-3


def test_safetensors_and_pickled_weights_are_read_alike(made, tmp_path):
    """Published connectors are pickled and some language models are, too; tied weights are then there twice."""
    folders, _, loaded = made("qwen2", "clip", True)
    (tmp_path / "c").mkdir()
    save_file(published_tensors(), tmp_path / "c" / "connector.safetensors")
    shutil.copy(folders[0] / "config.yaml", tmp_path / "c")
    shutil.copytree(folders[1], tmp_path / "llm")
    weights = load_file(tmp_path / "llm" / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    torch.save(weights, tmp_path / "llm" / "pytorch_model.bin")
    (tmp_path / "llm" / "model.safetensors").unlink()
    done = convert(tmp_path / "c", str(tmp_path / "llm"), str(folders[2]), tmp_path / "model")
    index = json.loads((done.folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == done.bytes
    assert set(index["weight_map"].values()) == {path.name for path in done.folder.glob("*.safetensors")}
    again = load_model(str(done.folder), dtype="float32", need_vision=True)
    assert again.weights == loaded.weights
    assert again.lm.unembed.weight is again.lm.embed_tokens.weight


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


def test_a_checkpoint_that_would_run_code_is_refused(made, tmp_path, capsys):
    folders, _, _ = made("llama", "clip")
    checkpoint = tmp_path / "c"
    shutil.copytree(folders[0], checkpoint)
    torch.save({**published_tensors(), "extra": Bomb()}, checkpoint / "connector.pt", pickle_module=pickle)
    with pytest.raises(InputError, match=r"holds more than tensors and plain containers.*print.*No code in it was run"):
        convert(checkpoint, str(folders[1]), str(folders[2]), tmp_path / "model")
    assert "boom" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [checkpoint]


def broken(name, value, section=None):
    def change(folder):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (config["model"][section] if section else config["model"])[name] = value
        (folder / "config.yaml").write_text(yaml.safe_dump(config))

    return change


def retensored(change):
    def write(folder):
        tensors = published_tensors()
        change(tensors)
        torch.save(tensors, folder / "connector.pt")

    return write


def written(text):
    return lambda folder: (folder / "config.yaml").write_text(text)


LAUGHS = "model:\n  a0: &a0 [x, x]\n" + "".join(f"  a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 20))
W1 = "vision_backbone.image_projector.w1.weight"
REFUSED = {
    "another projector": (broken("image_projector", "linear"), r"image_projector: linear.*have mlp"),
    "tiles": (broken("crop_mode", "overlap-and-resize-c2"), "crop_mode: overlap"),
    "another encoder": (broken("image_model_type", "openvision2", "vision_backbone"), "openvision2"),
    "no settings": (
        lambda folder: (folder / "config.yaml").write_text("- 1\n"),
        "not the configuration of a connector",
    ),
    "no yaml": (lambda folder: (folder / "config.yaml").write_text("a: [\n"), "cannot be read as YAML"),
    "unsafe yaml": (
        lambda folder: (folder / "config.yaml").write_text("model: !!python/object/apply:os.getcwd []\n"),
        "cannot be read as YAML.*python/object",
    ),
    "deep yaml": (written("[" * 50_000), "cannot be read as YAML: maximum recursion"),
    "deep yaml in blocks": (written("- " * 50_000), "cannot be read as YAML: maximum recursion"),
    "yaml that multiplies itself": (written(LAUGHS), r"cannot be read as YAML: it uses YAML aliases"),
    "yaml in itself": (written("model: &a {vision_backbone: *a}"), r"cannot be read as YAML: it uses YAML aliases"),
    "long yaml": (written("model: " + "x" * 300_000), "more than 262,144 bytes"),
    "infinite": (broken("additional_vocab_size", float("inf")), "not the configuration of a connector: OverflowError"),
    "patches of nothing": (
        broken("image_patch_size", 0, "vision_backbone"),
        "not the configuration of a connector: ZeroDivisionError",
    ),
    "thousands of digits": (broken("additional_vocab_size", "9" * 5000), "not the configuration of a connector"),
    "no weights": (lambda folder: (folder / "connector.pt").unlink(), r"no connector\.pt.*hf download"),
    "half a file": (
        lambda folder: (folder / "connector.pt").write_bytes((folder / "connector.pt").read_bytes()[:900]),
        r"not a file of torch\.save",
    ),
    "a tensor missing": (retensored(lambda t: t.pop(W1)), "lacks .*w1.weight"),
    "a tensor too many": (retensored(lambda t: t.update(more=torch.ones(1))), "holds more; expected"),
    "another shape": (
        retensored(lambda t: t.update({W1: torch.ones(3, 3)})),
        r"connector\.w1\.weight is torch\.float32 \(3, 3\); expected \(48, 48\)",
    ),
    "no floats": (retensored(lambda t: t.update({W1: torch.ones(48, 48, dtype=torch.int64)})), "torch.int64"),
    "wider": (broken("d_model", 64), f"hidden_size is {DIM}, expected 64"),
    "another rotation": (broken("rope_theta", 1e4), "rope_theta is 500000.0, expected 10000.0"),
    "another activation": (
        broken("image_mlp_activations", "gelu", "vision_backbone"),
        "hidden_act is quick_gelu, expected gelu",
    ),
    "deeper": (broken("image_num_layers", 14, "vision_backbone"), "has 10 blocks; the connector reads block 13"),
    "ids of words": (broken("vocab_size", 7), "special tokens begin at id 7"),
    "ids nowhere": (broken("vocab_size", ROWS + ADDITIONAL), "special tokens begin at id"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_such_connector_is_refused_in_a_sentence(made, tmp_path, what):
    folders, _, _ = made("llama", "clip")
    change, message = REFUSED[what]
    shutil.copytree(folders[0], tmp_path / "c")
    change(tmp_path / "c")
    with pytest.raises((ModelError, InputError), match=message) as caught:
        convert(tmp_path / "c", str(folders[1]), str(folders[2]), tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("model*"))


def test_parts_that_are_something_else_are_refused(made, tmp_path):
    llama, clip, other = made("llama", "clip")[0], made("llama", "clip")[0], made("llama", "siglip")[0]
    for llm, vision, message in (
        (clip[2], clip[2], "expected a causal language model"),
        (llama[1], other[2], "'siglip_vision_model' model; the connector was trained with 'clip_vision_model'"),
        ("./nowhere", clip[2], "There is no model directory ./nowhere"),
        (llama[1], tmp_path / "none", "There is no model directory"),
    ):
        with pytest.raises(ModelError, match=message):
            convert(clip[0], str(llm), str(vision), tmp_path / "model")
    (tmp_path / "model").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        convert(clip[0], str(llama[1]), str(clip[2]), tmp_path / "model")


def test_a_language_model_with_a_file_missing_leaves_nothing_behind(made, tmp_path):
    folders, _, _ = made("llama", "clip")
    shutil.copytree(folders[1], tmp_path / "llm")
    weights = load_file(tmp_path / "llm" / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "llm" / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 tensors of the model are not in any of the files; .*up_proj"):
        convert(folders[0], str(tmp_path / "llm"), str(folders[2]), tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["llm"]


def test_the_nine_read_the_layers_that_the_paper_names():
    """hidden_states 22 and 15 of CLIP, 26 and 19 of SigLIP, 23 and 16 of DINOv2."""
    from lensbank.models.connectors.checkpoint import _recipe

    for encoder, blocks, expected in (("clip", 23, (22, 15)), ("siglip", 27, (26, 19)), ("dinov2", 24, (23, 16))):
        model = settings("llama", encoder)["model"]
        model["vision_backbone"]["image_num_layers"] = blocks
        assert _recipe(model, None).vision_layers == expected
